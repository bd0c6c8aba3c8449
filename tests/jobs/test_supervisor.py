"""The supervisor with real processes: a hung cluster, a dead child, a stop, its own death, a taken port."""

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from django.conf import settings
from django_q.models import OrmQ

from librarian.common.jobs import queue_job
from librarian.common.models import ErrorRecord, JobRun
from tests.jobs.conftest import SETTINGS
from tests.rig.processes import free_port, tail
from tests.rig.servers import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

SITE = ("manage.py", "run_site", "--no-setup")


def cluster_parts(supervisor, name="default"):
    """Leader, guard and the guard's children (workers first) of a job cluster under a supervisor."""
    for leader in psutil.Process(supervisor.pid).children():
        if leader.environ().get("Q_CLUSTER_NAME") == name:
            for guard in leader.children():
                return leader, guard, sorted(guard.children(), key=lambda child: (child.create_time(), child.pid))
    return None


def everything_below(supervisor):
    return psutil.Process(supervisor.pid).children(recursive=True)


def is_gone(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_every_idle_worker_killed_hangs_the_cluster_and_the_queue_drains_again(start, until, tmp_path):
    home = {"LIBRARIAN_HOME": str(tmp_path), "LIBRARIAN_SECRET_KEY": settings.SECRET_KEY}  # the key signs what we queue
    site = start(*SITE, "--only", "jobs", "--late-after", "7", LIBRARIAN_JOB_WORKERS="2", **home)
    until(lambda: "clusters of" in tail(site.log), "both clusters to work", 60)
    leader, guard, children = cluster_parts(site)
    for worker in children[:2]:
        worker.send_signal(signal.SIGKILL)  # one of them waits in the queue, holding its lock
    until(lambda: all(is_gone(worker) for worker in children[:2]), "the workers to be gone")

    before = JobRun.objects.filter(job="heartbeat").count()
    queue_job("heartbeat")
    until(lambda: is_gone(leader), "the supervisor to kill the hung cluster")
    until(lambda: is_gone(guard), "the rest of its group too")
    until(
        lambda: JobRun.objects.filter(job="heartbeat", outcome="succeeded").count() > before, "the queue to drain", 60
    )
    until(lambda: not OrmQ.objects.filter(key="default").exists(), "the delivery to be acknowledged")
    assert ErrorRecord.objects.filter(code="cluster_hung").exists()


def test_a_dead_child_is_started_again_and_a_stop_leaves_nothing_behind(start, until, tmp_path):
    site = start(*SITE, "--only", "jobs", LIBRARIAN_HOME=str(tmp_path))
    until(lambda: "clusters of" in tail(site.log), "both clusters to work", 60)
    leader, guard, children = cluster_parts(site, "bulk")
    leader.send_signal(signal.SIGKILL)
    until(lambda: all(is_gone(part) for part in (leader, guard, *children)), "the rest of its group to be killed")
    until(lambda: cluster_parts(site, "bulk"), "the cluster to be started again")
    assert ErrorRecord.objects.get(code="process_died").severity == "error"

    below = everything_below(site)
    site.send_signal(signal.SIGINT)
    assert site.wait(30) == 0
    until(lambda: all(is_gone(process) for process in below), "every process to be gone")
    assert "Stopped." in tail(site.log)


def test_children_stop_when_the_supervisor_itself_is_killed(start, until, tmp_path):
    site = start(*SITE, "--only", "jobs", LIBRARIAN_HOME=str(tmp_path))
    until(lambda: "clusters of" in tail(site.log), "both clusters to work", 60)
    below = everything_below(site)
    assert len(below) >= 8
    site.send_signal(signal.SIGKILL)
    until(lambda: all(is_gone(process) for process in below), "every process to be gone")


def run_site(tmp_path, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "manage.py", "run_site", *arguments],
        cwd=ROOT,
        env={**os.environ, **SETTINGS, "LIBRARIAN_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.database_independent
def test_a_taken_port_is_named_with_the_way_out_before_anything_is_done(tmp_path):
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        answer = run_site(tmp_path / "home", "--port", str(port), DATABASE_URL=f"sqlite:///{tmp_path}/db")
    assert answer.returncode == 1
    assert f"make run PORT={port + 1}" in answer.stderr
    assert not (tmp_path / "db").exists()
    assert not (tmp_path / "home" / "run").exists()


@pytest.mark.database_independent
def test_a_site_without_a_name_and_without_a_file_to_write_it_to_says_so(tmp_path):
    answer = run_site(tmp_path, "--port", str(free_port()), LIBRARIAN_NAME="", LIBRARIAN_ENV_FILE="none")
    assert answer.returncode == 1
    assert "LIBRARIAN_NAME is not set" in answer.stderr


def test_a_second_supervisor_of_the_same_site_is_refused(start, until, tmp_path):
    site = start(*SITE, "--only", "jobs", LIBRARIAN_HOME=str(tmp_path))
    until(lambda: (tmp_path / "run" / "job-clusters.lock").exists(), "the first to hold its lock")
    until(lambda: f"process {site.pid}" in (tmp_path / "run" / "job-clusters.lock").read_text(), "its name in it")
    answer = run_site(tmp_path, "--no-setup", "--only", "jobs")
    assert answer.returncode == 1
    assert f"runs already: the job clusters, process {site.pid}." in answer.stderr
