"""Whether the clusters are alive and do what the table says.

A cluster whose processes all exist may still hang: when a worker that holds the queue's lock is killed, its successors
wait for that lock for ever. So what counts as life is work that went all the way through the queue into a worker's
record: the heartbeat job of each cluster, once a minute, or any other run.
"""

from datetime import datetime, timedelta

from django.db.models import Max
from django.utils import timezone

from librarian.common.inbox import report_error
from librarian.common.jobtable import (
    BOX_GRACE_SECONDS,
    BULK_CLUSTER,
    DEFAULT_CLUSTER,
    cluster_workers,
    get_job,
    longest_box_seconds,
)
from librarian.common.models import Category, JobRun, RunOutcome, Severity
from librarian.common.runs import is_over
from librarian.common.timetable import overdue_since

HEARTBEATS = {DEFAULT_CLUSTER: "heartbeat", BULK_CLUSTER: "heartbeat_bulk"}  # cluster -> its job, once a minute
LATE_AFTER_SECONDS = 180.0  # a cluster with a free worker that has shown no work for so long is not well


def beat() -> dict[str, int]:
    """Show that this cluster takes and does work, and report what did not run although due."""
    late = overdue_since()
    for name, since in late.items():
        _report_overdue(name, since)
    return {"overdue_jobs": len(late)}


def last_sign_of_life(cluster: str) -> datetime | None:
    """When a worker of the cluster last took or finished something; None if it did not within the longest time box."""
    window = timezone.now() - timedelta(seconds=longest_box_seconds(BULK_CLUSTER) + 2 * BOX_GRACE_SECONDS)
    recent = JobRun.objects.filter(started_at__gte=window, cluster=cluster).exclude(outcome=RunOutcome.LOST)
    times = recent.aggregate(began=Max("started_at"), ended=Max("finished_at"))
    return max((at for at in times.values() if at is not None), default=None)


def is_busy(cluster: str) -> bool:
    """True if every worker of the cluster is at work on something that may still take its time."""
    running = JobRun.objects.filter(cluster=cluster, outcome=RunOutcome.RUNNING)
    return sum(not is_over(run) for run in running) >= cluster_workers(cluster)


def _report_overdue(name: str, since: datetime) -> None:
    job = get_job(name)
    report_error(
        severity=Severity.ERROR,
        category=Category.CONFIGURATION,
        code="job_overdue",
        message=f"The job {name} has not run although it was due at {since:%Y-%m-%d %H:%M:%S} UTC. Why there is such a "
        f"job: {job.why}",
        remedy=f"See whether the job cluster {job.cluster} runs and what its workers are busy with (Jobs page), then "
        f"`manage.py sync_schedules`; `manage.py run_jobs {name}` runs it here and now.",
        caller=job.caller,
    )
