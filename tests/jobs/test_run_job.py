"""One run of a job: its record, its outcome, what it leaves in the inbox."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from django_q.exceptions import TimeoutException

from librarian.common import jobs, leases
from librarian.common.errors import InvalidRequest, LostRace, NotFound
from librarian.common.jobtable import Job, forget_job, get_job, register_jobs
from librarian.common.models import ErrorRecord, JobLease, JobRun, SiteFact
from librarian.common.runs import claim_run, lose_dead_runs
from tests.jobs import work

pytestmark = pytest.mark.django_db


def run(name, **options):
    return jobs.run_job(name, trigger="command", options=options)


def test_a_success_is_recorded_with_its_numbers_and_gives_the_lease_back():
    record = run("test_succeed")
    assert (record.outcome, record.summary) == ("succeeded", {"done": 1, "share": "nan"})
    assert record.finished_at >= record.started_at
    assert JobLease.objects.get(job="test_succeed").holder == ""


def test_a_failure_lands_in_the_inbox_with_its_remedy_and_a_success_clears_it(monkeypatch):
    record = run("test_fail")
    assert record.outcome == "failed"
    assert "seven is not even" in record.error
    assert "Traceback" in record.error
    error = ErrorRecord.objects.get()
    assert (error.code, error.severity, error.caller) == ("job_failed", "error", "job:test_fail")
    assert "seven is not even" in error.message
    assert "run_jobs test_fail" in error.remedy

    run("test_fail")
    assert ErrorRecord.objects.get().count == 2

    monkeypatch.setitem(get_job("test_fail").__dict__, "callable", work.succeed)
    run("test_fail")
    error.refresh_from_db()
    assert (error.cleared_by, error.cleared_at is not None) == ("job:test_fail", True)


def test_an_error_of_our_own_keeps_its_remedy_and_kind():
    run("test_away")
    error = ErrorRecord.objects.get()
    assert (error.remedy, error.severity, error.category) == ("Mount /tape.", "warning", "data_availability")


def test_a_job_whose_function_is_missing_fails_and_says_so():
    assert "nothing_there" in run("test_missing").error
    assert ErrorRecord.objects.get().code == "job_failed"


def test_a_time_box_ends_the_work_and_the_cluster_replaces_the_worker(tmp_path):
    quick = Job("test_quick", "tests.jobs.work.overrun", 60, "default", 1, "A test.")
    register_jobs([quick])
    try:
        with pytest.raises(TimeoutException):
            jobs.perform("test_quick", f'{{"options": {{"folder": "{tmp_path}"}}}}')
    finally:
        forget_job("test_quick")
    record = JobRun.objects.get()
    assert (record.outcome, record.cluster) == ("timed_out", "default")
    assert "not done within 1 s" in record.error
    assert ErrorRecord.objects.get().code == "job_timed_out"
    assert JobLease.objects.get().holder == ""


def test_the_clusters_own_timeout_is_recorded_and_passed_on():
    with pytest.raises(SystemExit):
        run("test_leave")
    assert JobRun.objects.get().outcome == "timed_out"
    assert ErrorRecord.objects.get().code == "job_timed_out"


def test_a_job_that_somebody_runs_is_skipped_and_that_is_recorded(tmp_path):
    claim_run(get_job("test_note"), target="", trigger="schedule", asked_by="", cluster="default")
    record = run("test_note", path=str(tmp_path / "noted"))
    assert (record.outcome, record.finished_at is not None) == ("skipped", True)
    assert not (tmp_path / "noted").exists()
    assert not ErrorRecord.objects.exists()


def test_the_same_job_on_another_target_is_not_held_up(tmp_path):
    claim_run(get_job("test_note"), target="store a", trigger="schedule", asked_by="", cluster="")
    path = str(tmp_path / "noted")
    other = jobs.run_job("test_note", target="store b", trigger="command", options={"path": path})
    assert other.outcome == "succeeded"


def test_a_worker_that_wakes_up_after_it_was_taken_for_dead_changes_nothing(monkeypatch):
    """It slept through its lease; another took over; what it writes last is refused and its run stays lost."""

    def sleep_through(**options):
        JobLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        claim_run(job, target="", trigger="schedule", asked_by="", cluster="default")
        with pytest.raises(LostRace):
            write()
        return {"done": 1}

    @transaction.atomic
    def write():
        SiteFact.objects.create(key="result", value="of the sleeper")
        leases.guard_job()

    job = get_job("test_note")
    monkeypatch.setitem(job.__dict__, "callable", sleep_through)
    record = run("test_note")
    assert record.outcome == "lost"
    assert record.summary == {}
    assert not SiteFact.objects.filter(key="result").exists()
    assert JobRun.objects.get(outcome="running").fencing == record.fencing + 1
    assert JobLease.objects.get().fencing == record.fencing + 1
    assert JobLease.objects.get().holder != ""


def test_a_live_run_is_not_called_lost_and_one_beyond_its_time_is():
    record, _ = claim_run(get_job("test_note"), target="", trigger="schedule", asked_by="", cluster="default")
    assert lose_dead_runs() == []
    JobRun.objects.update(started_at=timezone.now() - timedelta(hours=1))
    assert [lost.pk for lost in lose_dead_runs()] == [record.pk]
    assert JobRun.objects.get().outcome == "lost"
    assert JobLease.objects.get().holder == ""


def test_a_delivery_that_a_later_run_has_fulfilled_is_dropped(tmp_path):
    wish = f'{{"options": {{"path": "{tmp_path / "noted"}"}}}}'
    before = timezone.now().isoformat()
    for _ in range(3):
        jobs.perform("test_note", wish, before)
    assert JobRun.objects.count() == 1
    jobs.perform("test_note", wish, timezone.now().isoformat())
    assert JobRun.objects.count() == 2


def test_a_schedule_of_a_job_that_is_gone_is_reported():
    jobs.perform("test_removed")
    assert ErrorRecord.objects.get().code == "unknown_job"


def test_an_unknown_job_or_option_is_refused():
    with pytest.raises(NotFound):
        run("test_removed")
    with pytest.raises(NotFound):
        jobs.queue_job("test_removed")
    with pytest.raises(InvalidRequest, match="no option colour"):
        jobs.queue_job("test_note", options={"colour": "red"})


@pytest.mark.parametrize("amount", ["x", -1, "-1", None, True, [], {}, 1e999, "nan"])
def test_an_age_limit_that_is_none_is_refused_before_the_job_is_queued(amount):
    with pytest.raises(InvalidRequest, match="older_than_days of the job forget_finished_uploads must be a number"):
        jobs.queue_job("forget_finished_uploads", options={"older_than_days": amount})
    for fine in (0, 2.5, "30"):
        jobs.queue_job("forget_finished_uploads", options={"older_than_days": fine})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"every_seconds": 45}, "every 45 s"),
        ({"every_seconds": 0}, "every 0 s"),
        ({"every_seconds": 30 * 24 * 3600}, "14 days"),
        ({"cluster": "night"}, "no cluster night"),
        ({"time_box_seconds": 900}, "does not fit"),
        ({"time_box_seconds": 0}, "does not fit"),
    ],
)
def test_a_row_that_no_cluster_could_run_is_refused(change, fault):
    row = {"name": "test_odd", "function": "x.y", "every_seconds": 60, "cluster": "default"}
    row |= {"time_box_seconds": 60, "why": "A test.", **change}
    with pytest.raises(ValueError, match=fault):
        register_jobs([Job(**row)])


def test_two_jobs_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two jobs"):
        register_jobs([Job("test_note", "x.y", 60, "default", 60, "A test.")])
