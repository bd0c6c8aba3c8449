"""`run_jobs` and `sync_schedules`: each job once, with options, exit code by outcome."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.models import Schedule

from librarian.common.jobtable import forget_job, get_job, register_jobs
from librarian.common.models import JobRun, JobSetting
from librarian.common.runs import claim_run
from librarian.schedules import JOBS
from tests.jobs import work

pytestmark = pytest.mark.django_db


def run_jobs(*arguments):
    out, err = StringIO(), StringIO()
    code = 0
    try:
        call_command("run_jobs", *arguments, stdout=out, stderr=err)
    except SystemExit as leaving:
        code = leaving.code
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def only_test_jobs():
    """A table of three jobs, in the place of the real one."""
    for job in [*JOBS, *work.JOBS]:
        forget_job(job.name)
    register_jobs([job for job in work.JOBS if job.name in ("test_succeed", "test_fail", "test_note")])
    yield
    for job in JOBS:
        forget_job(job.name)
    work.forget()
    register_jobs([*JOBS, *work.JOBS])


def test_a_job_runs_here_and_now_with_its_options(tmp_path):
    code, out, _ = run_jobs("test_note", "--option", f"path={tmp_path / 'a'}", "--option", 'text="by hand"')
    assert code == 0
    assert '{"noted": 1}' in out
    assert (tmp_path / "a").read_text().endswith(" by hand\n")
    run = JobRun.objects.get()
    assert (run.job, run.trigger, run.outcome, run.cluster) == ("test_note", "command", "succeeded", "")


def test_without_a_name_every_job_that_is_switched_on_runs_once(only_test_jobs):
    JobSetting.objects.create(job="test_note", enabled=False)
    code, out, err = run_jobs()
    assert code == 1
    assert sorted(JobRun.objects.values_list("job", "outcome")) == [
        ("test_fail", "failed"),
        ("test_succeed", "succeeded"),
    ]
    assert "test_succeed" in out
    assert "seven is not even" in err


def test_a_job_somebody_is_at_is_skipped_with_an_exit_code_of_its_own():
    claim_run(get_job("test_succeed"), target="", trigger="schedule", asked_by="", cluster="default")
    code, out, _ = run_jobs("test_succeed")
    assert code == 3
    assert "skipped" in out


def test_an_age_limit_reaches_the_job():
    long_ago = timezone.now() - timedelta(days=2)
    JobRun.objects.create(job="x", trigger="schedule", outcome="failed", started_at=long_ago, finished_at=long_ago)
    code, _, _ = run_jobs("forget_old_rows", "--older-than", "36h")
    assert code == 0
    assert not JobRun.objects.filter(job="x").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "no job called nonsense"),
        (["test_succeed", "--option", "colour=red"], "no option colour"),
        (["test_succeed", "--older-than", "1h"], "no option older_than_seconds"),
        (["--older-than", "soon"], "no age"),
        (["--option", "red"], "no option"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(arguments, words):
    with pytest.raises(CommandError, match=words):
        run_jobs(*arguments)
    assert not JobRun.objects.exists()


def test_the_list_names_every_job():
    _, out, _ = run_jobs("--list")
    assert all(job.name in out for job in JOBS)


def test_schedules_are_made_by_command():
    out = StringIO()
    call_command("sync_schedules", stdout=out)
    assert "made" in out.getvalue()
    assert Schedule.objects.filter(name="heartbeat").exists()
    assert JobRun.objects.get().trigger == "command"
