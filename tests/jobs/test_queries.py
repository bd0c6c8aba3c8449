"""What pages and endpoints read about jobs and errors."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from librarian.common.inbox import clear_error, report_error
from librarian.common.jobs import run_job
from librarian.common.jobtable import all_jobs, get_job
from librarian.common.models import JobRun, JobSetting
from librarian.common.runs import claim_run, close_run
from librarian.common.timetable import change_job, sync_schedules
from librarian.operations import queries

pytestmark = pytest.mark.django_db


def view(name):
    return next(view for view in queries.jobs() if view.job.name == name)


def test_jobs_show_last_run_next_run_and_switch():
    sync_schedules()
    assert [view.job for view in queries.jobs()] == all_jobs()
    assert view("test_succeed").last_run is None
    run_job("test_succeed", trigger="command")
    change_job(job="write_root", enabled=False, every_seconds=None, actor=None)
    assert (view("test_succeed").last_run.outcome, view("test_succeed").is_running) == ("succeeded", False)
    assert view("test_succeed").next_run is not None
    assert (view("write_root").enabled, view("write_root").next_run) == (False, None)
    claim_run(get_job("test_succeed"), target="", trigger="schedule", asked_by="", cluster="")
    assert view("test_succeed").is_running


def test_jobs_can_be_shown_before_the_site_was_ever_started():
    assert view("write_root").enabled
    assert view("write_root").next_run is None


def test_an_overdue_job_shows_since_when():
    sync_schedules()
    JobSetting.objects.update(changed_at=timezone.now() - timedelta(hours=1))
    assert view("heartbeat").overdue_since is not None


def test_a_cluster_without_a_sign_of_life_is_late_unless_all_its_workers_are_busy():
    states = {view.name: view for view in queries.clusters()}
    assert (states["bulk"].late, states["bulk"].last_seen) == (True, None)
    workers = settings.Q_CLUSTER["ALT_CLUSTERS"]["bulk"]["workers"]
    claims = [
        claim_run(get_job("verify_events"), target=str(number), trigger="schedule", asked_by="", cluster="bulk")
        for number in range(workers)
    ]
    JobRun.objects.update(started_at=timezone.now() - timedelta(hours=1))
    states = {view.name: view for view in queries.clusters()}
    assert (states["bulk"].late, states["bulk"].busy) == (False, True)
    close_run(*claims[0], outcome="succeeded")
    states = {view.name: view for view in queries.clusters()}
    assert (states["bulk"].late, states["bulk"].busy) == (False, False)


def test_open_errors_and_counts():
    first = report_error(severity="critical", category="configuration", code="a", message="x")
    report_error(severity="warning", category="configuration", code="b", message="x")
    cleared = report_error(severity="warning", category="configuration", code="c", message="x")
    clear_error(error=cleared, cleared_by="ada")
    report_error(severity="critical", category="configuration", code="a", message="x")
    assert [error.code for error in queries.open_errors()] == ["a", "b"]
    assert queries.open_errors()[0].pk == first.pk
    assert queries.open_error_counts() == {"critical": 1, "error": 0, "warning": 1, "info": 0}


def test_the_jobs_page_costs_the_same_number_of_queries_with_many_runs(django_assert_max_num_queries):
    sync_schedules()
    moment = timezone.now()
    JobRun.objects.bulk_create(
        JobRun(job=job.name, trigger="schedule", outcome="succeeded", started_at=moment, finished_at=moment)
        for job in all_jobs()
        for _ in range(30)
    )
    # settings, runs, schedules; of the overdue ones: settings, last start, and one short look per job
    with django_assert_max_num_queries(6):
        queries.jobs()
