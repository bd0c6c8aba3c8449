"""Staff admin of jobs and errors: run now, switch, time, clear; the queue's own pages are not there."""

import json

import pytest
from django.contrib import admin
from django.urls import reverse
from django_q.models import Failure, OrmQ, Schedule, Success
from django_q.signing import SignedPackage

from accounts.levels import Level
from librarian.common import jobs
from librarian.common.inbox import report_error
from librarian.common.models import AuditEntry, ErrorRecord, JobRun, JobSetting
from librarian.common.timetable import sync_schedules
from tests.make import make_user

pytestmark = pytest.mark.django_db

LIST = "admin:common_jobsetting_changelist"


@pytest.fixture
def staff(client):
    client.force_login(make_user("ada", level=Level.ADMIN), backend="django.contrib.auth.backends.ModelBackend")
    return client


def act(staff, action, *names):
    keys = list(JobSetting.objects.filter(job__in=names).values_list("pk", flat=True))
    return staff.post(reverse(LIST), {"action": action, "_selected_action": keys}, follow=True)


def test_the_list_shows_every_job_even_before_the_first_start(staff):
    page = staff.get(reverse(LIST)).content.decode()
    assert "test_succeed" in page
    assert "write_root" in page
    assert "signed root" in page


def test_run_now_queues_the_job_for_its_cluster_under_the_name_of_who_asked(staff):
    sync_schedules()
    answer = act(staff, "run_now", "test_succeed")
    assert "Queued" in answer.content.decode()
    row = OrmQ.objects.get()
    assert row.key == "bulk"
    task = SignedPackage.loads(row.payload)
    assert all(isinstance(argument, str) for argument in task["args"])
    assert json.loads(task["args"][1])["asked_by"] == "ada"
    assert task["ack_failure"] is True
    assert jobs.perform(*task["args"], **task["kwargs"]) is None
    run = JobRun.objects.get()
    assert (run.job, run.outcome, run.trigger, run.asked_by) == ("test_succeed", "succeeded", "person", "ada")
    assert AuditEntry.objects.get(action="run_job").subject == "test_succeed"


def test_switching_off_and_on(staff):
    sync_schedules()
    act(staff, "switch_off", "write_root", "test_succeed")
    assert not Schedule.objects.filter(name__in=["write_root", "test_succeed", "test_succeed/2"]).exists()
    act(staff, "switch_on", "write_root")
    assert Schedule.objects.filter(name="write_root").exists()


def test_another_cadence(staff):
    sync_schedules()
    url = reverse("admin:common_jobsetting_change", args=[JobSetting.objects.get(job="write_root").pk])
    refused = staff.post(url, {"enabled": "on", "every_seconds": "45"})
    assert "every 45 s" in refused.content.decode()
    assert staff.post(url, {"enabled": "on", "every_seconds": "7200"}).status_code == 302
    assert Schedule.objects.get(name="write_root").minutes == 120
    assert JobSetting.objects.get(job="write_root").changed_by == "ada"


def test_an_error_is_cleared_by_name(staff):
    error = report_error(severity="error", category="configuration", code="odd", message="odd")
    url = reverse("admin:common_errorrecord_changelist")
    staff.post(url, {"action": "clear", "_selected_action": [error.pk]})
    assert ErrorRecord.objects.get().cleared_by == "ada"
    assert AuditEntry.objects.get().action == "clear_error"


@pytest.mark.parametrize("page", ["jobrun", "joblease", "errorrecord", "auditentry"])
def test_machine_written_rows_are_shown_and_not_edited(staff, page):
    report_error(severity="error", category="configuration", code="odd", message="odd")
    jobs.run_job("test_succeed", trigger="command")
    sync_schedules()
    assert staff.get(reverse(f"admin:common_{page}_changelist")).status_code == 200
    assert staff.get(reverse(f"admin:common_{page}_add")).status_code == 403


def test_who_is_not_staff_runs_nothing(client):
    sync_schedules()
    client.force_login(make_user("bob", level=Level.READWRITE), backend="django.contrib.auth.backends.ModelBackend")
    act(client, "run_now", "write_root")
    assert not OrmQ.objects.exists()


@pytest.mark.database_independent
def test_the_pages_of_the_queue_itself_are_not_there():
    assert not any(admin.site.is_registered(model) for model in (Failure, OrmQ, Schedule, Success))
