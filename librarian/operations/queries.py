"""Reads about the running of the site: jobs and how they did, troubles that are open. For pages and endpoints."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, QuerySet
from django.utils import timezone

from librarian.common.heartbeat import LATE_AFTER_SECONDS, is_busy, last_sign_of_life
from librarian.common.jobtable import CLUSTERS, Job, all_jobs
from librarian.common.models import ErrorRecord, JobRun, JobSetting, RunOutcome, Severity
from librarian.common.timetable import every_seconds, last_runs, next_runs, overdue_since


@dataclass(frozen=True, slots=True)
class JobView:
    """One job of the table as people see it. `overdue_since` is None for a job that runs as it should."""

    job: Job
    enabled: bool
    every_seconds: int
    last_run: JobRun | None
    next_run: datetime | None
    overdue_since: datetime | None

    @property
    def is_running(self) -> bool:
        """True while a worker is at it."""
        return self.last_run is not None and self.last_run.outcome == RunOutcome.RUNNING


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One job cluster: when it last showed life, whether all its workers are busy, and whether that is too long ago."""

    name: str
    last_seen: datetime | None
    busy: bool
    late: bool


def jobs() -> list[JobView]:
    """Every job of the table with its last run, next run and whether it is overdue, in the order of the table."""
    settings = {setting.job: setting for setting in JobSetting.objects.all()}
    runs, upcoming, overdue = last_runs(), next_runs(), overdue_since()
    views = []
    for job in all_jobs():
        setting = settings.get(job.name)
        views.append(
            JobView(
                job=job,
                enabled=setting is None or setting.enabled,
                every_seconds=every_seconds(job, setting),
                last_run=runs.get(job.name),
                next_run=upcoming.get(job.name),
                overdue_since=overdue.get(job.name),
            )
        )
    return views


def runs_of(job: str) -> QuerySet[JobRun]:
    """Runs of one job, latest first."""
    return JobRun.objects.filter(job=job).order_by("-started_at", "-pk")


def clusters() -> list[ClusterView]:
    """Both job clusters and whether they are alive."""
    late = timezone.now() - timedelta(seconds=LATE_AFTER_SECONDS)
    views = []
    for name in CLUSTERS:
        seen, busy = last_sign_of_life(name), is_busy(name)
        views.append(ClusterView(name, seen, busy, late=not busy and (seen is None or seen < late)))
    return views


def open_errors() -> QuerySet[ErrorRecord]:
    """Troubles nobody has cleared, the latest first."""
    return ErrorRecord.objects.filter(cleared_at__isnull=True).order_by("-last_raised_at", "-pk")


def open_error_counts() -> dict[str, int]:
    """Number of open troubles by severity; every severity is there, worst first."""
    found = dict(open_errors().order_by().values_list("severity").annotate(number=Count("pk")))
    return {severity.value: found.get(severity.value, 0) for severity in Severity}
