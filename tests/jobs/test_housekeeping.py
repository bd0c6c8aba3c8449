"""The sweeper of lost runs and the forgetting of old rows."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from django_q.models import OrmQ, Task

from librarian.common.housekeeping import forget_old_rows, sweep_lost_runs
from librarian.common.inbox import report_error
from librarian.common.models import AuditEntry, ErrorRecord, JobRun

pytestmark = pytest.mark.django_db


def old_run(job="write_root", *, days=0.0, outcome="succeeded", **fields):
    started = timezone.now() - timedelta(days=days)
    ended = None if outcome == "running" else started
    fields = {"trigger": "schedule", "worker": "gone-host:1:a.b.c", **fields}
    return JobRun.objects.create(job=job, outcome=outcome, started_at=started, finished_at=ended, **fields)


def test_a_lost_run_is_queued_again_once_for_its_target():
    old_run("test_note", days=1, outcome="running", target="store a")
    assert sweep_lost_runs() == {"lost_runs": 1, "queued_again": 1}
    assert OrmQ.objects.count() == 1
    assert sweep_lost_runs() == {"lost_runs": 0, "queued_again": 0}


def test_a_job_that_kills_its_workers_time_and_again_waits_for_its_turn():
    for days in (4, 3):
        old_run("test_note", days=days, outcome="lost")
    old_run("test_note", days=2, outcome="running")
    assert sweep_lost_runs() == {"lost_runs": 1, "queued_again": 0}
    assert ErrorRecord.objects.get().code == "job_lost"


def test_what_somebody_ran_by_hand_or_is_no_job_any_more_is_not_repeated():
    old_run("test_note", days=2, outcome="running", trigger="command")
    old_run("test_removed", days=2, outcome="running")
    assert sweep_lost_runs() == {"lost_runs": 2, "queued_again": 0}


def test_old_rows_go_and_younger_ones_open_ones_and_the_audit_stay():
    gone = [old_run(days=31), old_run(days=31, outcome="failed"), old_run("heartbeat", days=3)]
    kept = [old_run(days=29), old_run("heartbeat", days=1), old_run("heartbeat", days=3, outcome="failed")]
    kept.append(old_run(days=40, outcome="running"))
    for age, code in ((91, "old"), (89, "young")):
        error = report_error(severity="error", category="configuration", code=code, message="x")
        error.cleared_at = timezone.now() - timedelta(days=age)
        error.save()
    report_error(severity="error", category="configuration", code="open", message="x")
    ErrorRecord.objects.filter(code="open").update(raised_at=timezone.now() - timedelta(days=400))
    Session.objects.create(session_key="a", expire_date=timezone.now() - timedelta(days=1))
    Session.objects.create(session_key="b", expire_date=timezone.now() + timedelta(days=1))
    AuditEntry.objects.create(actor_name="ada", action="x", subject="y", at=timezone.now() - timedelta(days=4000))
    moment = timezone.now() - timedelta(days=31)
    Task.objects.create(id="x" * 32, name="x", func="x", started=moment, stopped=moment, success=False)

    assert forget_old_rows() == {"runs": len(gone), "errors": 1, "sessions": 1, "queue_notes": 1}
    assert set(JobRun.objects.values_list("pk", flat=True)) == {run.pk for run in kept}
    assert set(ErrorRecord.objects.values_list("code", flat=True)) == {"young", "open"}
    assert AuditEntry.objects.count() == 1


def test_another_age_limit_counts_for_runs_and_errors():
    old_run(days=2)
    assert forget_old_rows(older_than_seconds=86_400)["runs"] == 1
