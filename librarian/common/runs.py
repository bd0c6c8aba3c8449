"""The record of jobs: one JobRun per run, from its first moment to its outcome.

    (claim) ──► running ──► succeeded | failed | timed out      written by the worker that runs it
       │            └─────► lost                                written by whoever finds its worker dead
       └──► skipped                                             somebody alive is at it already

Every move out of `running` is a compare-and-set, so a run that was called lost stays lost when its worker wakes up.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from librarian.common.identity import is_dead, own_identity
from librarian.common.inbox import clear_from, report_error
from librarian.common.jobtable import BOX_GRACE_SECONDS, BULK_CLUSTER, Job, all_jobs, longest_box_seconds
from librarian.common.leases import Lease, acquire
from librarian.common.models import Category, JobLease, JobRun, RunOutcome, Severity
from librarian.common.texts import storable, storable_data

RUN_CODES = ("job_failed", "job_timed_out", "job_lost", "job_overdue")
GIVE_UP_AFTER = 3  # runs lost one after the other, after which a job waits for its next turn
ERROR_CHARACTERS = 20_000


def claim_run(job: Job, *, target: str, trigger: str, asked_by: str, cluster: str) -> tuple[JobRun, Lease | None]:
    """Take the job's lease and record the run, or record that it was skipped because somebody alive holds it.

    Runs of holders that this one replaces are closed as lost in the same transaction.
    """
    facts = {"job": job.name, "target": target, "trigger": trigger, "asked_by": asked_by, "cluster": cluster}
    facts["worker"] = own_identity()
    with transaction.atomic():
        lease = acquire(job=job.name, target=target, seconds=job.time_box_seconds + BOX_GRACE_SECONDS)
        if lease is None:
            now = timezone.now()
            skipped = JobRun.objects.create(**facts, outcome=RunOutcome.SKIPPED, started_at=now, finished_at=now)
            return skipped, None
        for replaced in _running(job.name, target).filter(fencing__lt=lease.fencing):
            _lose(replaced)
        return JobRun.objects.create(**facts, fencing=lease.fencing), lease


def close_run(run: JobRun, lease: Lease, *, outcome: RunOutcome, summary: Any = None, error: str = "") -> bool:
    """Write how a run ended and give its lease back; False if it had been called lost meanwhile, which stays."""
    with transaction.atomic():
        closed = _close(run, outcome=outcome, summary=storable_data(summary or {}), error=error)
        lease.release()
        if closed and outcome == RunOutcome.SUCCEEDED:
            clear_from(caller=caller_of(run), codes=RUN_CODES, cleared_by=caller_of(run))
    run.refresh_from_db()
    return closed


def lose_dead_runs() -> list[JobRun]:
    """Close every run whose worker has ended or whose lease is over, and return those closed here.

    Safe at any time, from any process: a run is only called lost when its worker is certainly dead or had its time.
    """
    lost = []
    for run in JobRun.objects.filter(outcome=RunOutcome.RUNNING).order_by("pk"):
        if not is_over(run):
            continue
        with transaction.atomic():
            if _lose(run):
                lost.append(run)
    return lost


def is_over(run: JobRun) -> bool:
    """True if an open run cannot be going on any more: its worker has ended, or its lease ran out long enough ago."""
    return is_dead(run.worker) or timezone.now() > latest_end(run)


def latest_end(run: JobRun) -> datetime:
    """When a run has ended for certain: its time box and the cluster's grace are over."""
    return run.started_at + timedelta(seconds=box_seconds(run) + 2 * BOX_GRACE_SECONDS)


def box_seconds(run: JobRun) -> int:
    """Time box of a run's job; the longest there is for a job that the table no longer has."""
    known = {job.name: job.time_box_seconds for job in all_jobs()}
    return known.get(run.job, longest_box_seconds(BULK_CLUSTER))


def should_run_again(run: JobRun) -> bool:
    """Whether a lost run is worth repeating at once: the job exists, and it did not kill its workers time and again."""
    if run.job not in {job.name for job in all_jobs()}:
        return False
    latest = JobRun.objects.filter(job=run.job, target=run.target).exclude(outcome=RunOutcome.SKIPPED)
    outcomes = list(latest.order_by("-started_at").values_list("outcome", flat=True)[:GIVE_UP_AFTER])
    return RunOutcome.RUNNING not in outcomes and outcomes != [RunOutcome.LOST] * GIVE_UP_AFTER


def caller_of(run: JobRun) -> str:
    """How reports about a run name their caller: job, and target if it has one."""
    return f"job:{run.job}" + (f":{run.target}" if run.target else "")


def _running(job: str, target: str) -> QuerySet[JobRun]:
    return JobRun.objects.filter(job=job, target=target, outcome=RunOutcome.RUNNING)


def _close(run: JobRun, *, outcome: RunOutcome, summary: Any = None, error: str = "") -> bool:
    """Compare-and-set out of `running`. A clock that went back must not make a run end before it began."""
    return bool(
        JobRun.objects.filter(pk=run.pk, outcome=RunOutcome.RUNNING).update(
            outcome=outcome,
            finished_at=max(timezone.now(), run.started_at),
            summary=summary or {},
            error=storable(error, ERROR_CHARACTERS),
        )
    )


def _lose(run: JobRun) -> bool:
    """Close one run as lost, free its lease unless a successor has it, and report. Inside a transaction."""
    message = f"The worker that ran {run.job} since {run.started_at:%Y-%m-%d %H:%M:%S} UTC ended without an outcome."
    if not _close(run, outcome=RunOutcome.LOST, error=message):
        return False
    JobLease.objects.filter(job=run.job, target=run.target, fencing=run.fencing, holder=run.worker).update(
        holder="", expires_at=None
    )
    report_error(
        severity=Severity.WARNING,
        category=Category.PROGRAMMING,
        code="job_lost",
        message=message,
        remedy="It is run again by itself. If this repeats, look in the log of the job cluster and at the machine's "
        "memory: a worker ends so when it is killed.",
        caller=caller_of(run),
    )
    return True
