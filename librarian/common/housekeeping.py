"""Jobs about the jobs themselves: runs whose worker died, rows that would grow for ever."""

from datetime import timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone
from django_q.models import Task

from librarian.common.jobs import BY_COMMAND, queue_job
from librarian.common.jobtable import all_jobs
from librarian.common.models import ErrorRecord, JobRun, RunOutcome
from librarian.common.runs import lose_dead_runs, should_run_again

RUNS_DAYS = 30
FREQUENT_RUNS_DAYS = 2  # successes and skips of what runs more often than hourly
ERRORS_DAYS = 90
_BATCH = 2_000


def sweep_lost_runs() -> dict[str, int]:
    """Close runs whose worker died and queue their jobs again, unless a job has killed its workers time and again.

    What somebody ran by hand stays theirs to repeat.
    """
    lost = lose_dead_runs()
    again = {(run.job, run.target): run for run in lost if run.trigger != BY_COMMAND and should_run_again(run)}
    for run in again.values():
        queue_job(run.job, target=run.target, trigger=run.trigger, asked_by=run.asked_by)
    return {"lost_runs": len(lost), "queued_again": len(again)}


def forget_old_rows(*, older_than_seconds: float | None = None) -> dict[str, int]:
    """Remove rows that have served: runs, ended sessions, cleared errors, the queue's own notes of failed tasks.

    Parameters
    ----------
    older_than_seconds : float, optional
        Another age limit, in seconds, for runs and cleared errors alike.
    """
    now = timezone.now()

    def limit(days: float) -> Any:
        return now - (timedelta(days=days) if older_than_seconds is None else timedelta(seconds=older_than_seconds))

    ended = JobRun.objects.exclude(outcome=RunOutcome.RUNNING)
    frequent = [job.name for job in all_jobs() if job.every_seconds < 3600]
    usual = ended.filter(job__in=frequent, outcome__in=[RunOutcome.SUCCEEDED, RunOutcome.SKIPPED])
    return {
        "runs": _delete(ended.filter(started_at__lt=limit(RUNS_DAYS)))
        + _delete(usual.filter(started_at__lt=limit(FREQUENT_RUNS_DAYS))),
        "errors": _delete(ErrorRecord.objects.filter(cleared_at__lt=limit(ERRORS_DAYS))),
        "sessions": _delete(Session.objects.filter(expire_date__lt=now)),
        "queue_notes": _delete(Task.objects.filter(stopped__lt=limit(RUNS_DAYS))),
    }


def _delete(rows: QuerySet[Any]) -> int:
    """Delete in small transactions, so that nobody waits long for the database. Keys only: rows hold pickles."""
    removed = 0
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:_BATCH]):
        removed += rows.model._default_manager.filter(pk__in=keys)._raw_delete("default")
    return removed
