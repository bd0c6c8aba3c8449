"""What a real cluster does to jobs: delivers twice, loses workers, overruns. Nothing is lost and nothing done twice."""

import os
import signal

import pytest
from django.utils import timezone
from django_q.models import OrmQ, Task

from librarian.common.identity import is_dead, pid_of
from librarian.common.jobs import BY_COMMAND, queue_job
from librarian.common.models import ErrorRecord, JobRun

pytestmark = pytest.mark.django_db(transaction=True)


def runs(job, *outcomes):
    found = JobRun.objects.filter(job=job).order_by("pk")
    return list(found.filter(outcome__in=outcomes) if outcomes else found)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_a_task_delivered_twice_while_it_runs_and_once_after_runs_once(start_cluster, until, tmp_path):
    queue_job("test_wait", asked_by="ada", options={"folder": str(tmp_path)})
    payload = OrmQ.objects.get().payload
    start_cluster()
    until(lambda: lines(tmp_path / "began"), "the job to begin")

    OrmQ.objects.create(key="default", payload=payload, lock=timezone.now())  # what the queue does after its retry time
    until(lambda: runs("test_wait", "skipped"), "the second delivery to be skipped")
    assert len(runs("test_wait", "running")) == 1

    (tmp_path / "go").touch()
    [run] = until(lambda: runs("test_wait", "succeeded"), "the job to end")
    assert (run.summary, run.cluster, run.trigger, run.asked_by) == ({"waited": 1}, "default", "person", "ada")

    OrmQ.objects.create(key="default", payload=payload, lock=timezone.now())
    until(lambda: not OrmQ.objects.exists(), "the third delivery to be dropped")
    assert len(lines(tmp_path / "began")) == 1
    assert len(runs("test_wait")) == 2
    assert not Task.objects.exists()  # the queue keeps no notes of what went well
    assert not ErrorRecord.objects.exists()


def test_a_job_whose_worker_is_killed_is_lost_and_runs_again(start_cluster, until, tmp_path):
    start_cluster(TEST_JOBS_FOLDER=str(tmp_path))
    queue_job("test_wait", trigger="schedule")
    [first] = until(lambda: lines(tmp_path / "began") and runs("test_wait", "running"), "the job to begin")
    os.kill(pid_of(first.worker), signal.SIGKILL)

    (tmp_path / "go").touch()
    until(lambda: is_dead(first.worker), "the worker to be gone")
    queue_job("sweep_lost_runs")
    [lost] = until(lambda: runs("test_wait", "lost"), "the run to be called lost")
    assert lost.pk == first.pk
    [again] = until(lambda: runs("test_wait", "succeeded", "failed"), "the job to run again")
    assert again.fencing > lost.fencing
    assert ErrorRecord.objects.filter(code="job_lost", caller="job:test_wait").count() == 1


def test_a_job_over_its_time_box_ends_with_all_it_started_and_the_cluster_goes_on(start_cluster, until, tmp_path):
    start_cluster(LIBRARIAN_JOB_WORKERS="1")
    queue_job("test_overrun", options={"folder": str(tmp_path)})
    grandchild = int(until(lambda: lines(tmp_path / "grandchild"), "the program to start")[0])
    os.kill(grandchild, 0)

    [run] = until(lambda: runs("test_overrun", "timed_out"), "the job to be ended")
    assert 1.5 < (run.finished_at - run.started_at).total_seconds() < 20
    until(lambda: _is_gone(grandchild), "the program's own child to be killed", 10)
    [error] = until(lambda: list(ErrorRecord.objects.filter(caller="job:test_overrun")), "the error to be told")
    assert (error.code, bool(error.remedy)) == ("job_timed_out", True)

    queue_job("test_note", options={"path": str(tmp_path / "noted")})
    [after] = until(lambda: runs("test_note", "succeeded"), "the next job to run")
    assert after.worker != run.worker  # a worker that was cut off is replaced
    until(lambda: not OrmQ.objects.exists(), "both tasks to be acknowledged")


def test_each_cluster_takes_its_own_jobs(start_cluster, until):
    queue_job("test_succeed", trigger=BY_COMMAND)
    assert OrmQ.objects.get().key == "bulk"
    start_cluster("bulk")
    [run] = until(lambda: runs("test_succeed", "succeeded"), "the bulk cluster to run it")
    assert (run.cluster, run.summary) == ("bulk", {"done": 1, "share": "nan"})


def _is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"
