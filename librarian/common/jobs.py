"""Running a job: once at a time, in its time box, with its outcome on record and its troubles in the inbox.

`run_job` runs it here and now; `queue_job` asks a cluster to; `perform` is what a cluster calls. Delivered twice, at
the same time or later, a job runs once (design section 10: the queue may deliver a task again while it runs).
"""

import json
import logging
import traceback
from datetime import datetime
from typing import Any

from django.db import close_old_connections, connection
from django.utils import timezone
from django_q.conf import Conf
from django_q.exceptions import TimeoutException
from django_q.tasks import async_task

from librarian.common.errors import (
    ArchiveError,
    ContentMismatch,
    Misconfigured,
    NotFound,
    StoreFull,
    StoreUnavailable,
    Unavailable,
)
from librarian.common.inbox import report_error
from librarian.common.jobtable import BOX_GRACE_SECONDS, Job, get_job
from librarian.common.leases import Lease, holding
from librarian.common.models import Category, JobRun, RunOutcome, Severity
from librarian.common.runs import caller_of, claim_run, close_run
from librarian.common.timebox import TimeBoxExceeded, time_box

log = logging.getLogger(__name__)

BY_SCHEDULE, BY_PERSON, BY_COMMAND = "schedule", "person", "command"
PERFORM = "librarian.common.jobs.perform"
_CATEGORIES: tuple[tuple[type[Exception], Category], ...] = (
    (StoreFull, Category.STORE_FULL),
    (StoreUnavailable, Category.DATA_AVAILABILITY),
    (Unavailable, Category.DATA_AVAILABILITY),
    (ContentMismatch, Category.DATA_INTEGRITY),
    (Misconfigured, Category.CONFIGURATION),
    (OSError, Category.CONFIGURATION),
)


def run_job(
    name: str,
    *,
    target: str = "",
    trigger: str,
    asked_by: str = "",
    options: dict[str, Any] | None = None,
    cluster: str = "",
) -> JobRun:
    """Run a job in this process and return its record, whose outcome says how it ended.

    Parameters
    ----------
    name : str
        A job of the table; NotFound otherwise.
    target : str
        What it works on, for a job that runs once per target.
    trigger : str
        `schedule`, `person` or `command`.
    asked_by : str
        Who wanted it, when a person did.
    options : dict, optional
        Keyword options on top of the table's; InvalidRequest for one that the job does not take.
    cluster : str
        The cluster whose worker this is, if it is one.
    """
    job = get_job(name)
    wanted = {**job.options, **(options or {})}
    run, lease = claim_run(job, target=target, trigger=trigger, asked_by=asked_by, cluster=cluster)
    if lease is None:
        return run
    try:
        with holding(lease):
            summary = _work(job, wanted)
    except TimeBoxExceeded as error:
        _settle(run, lease, RunOutcome.TIMED_OUT, error, f"The job {name} was ended: {error}.")
    except SystemExit as error:  # django-q ends a task so when its own timeout comes first
        _settle(run, lease, RunOutcome.TIMED_OUT, error, f"The cluster ended the job {name}: {error}.")
        raise
    except KeyboardInterrupt as error:
        _settle(run, lease, RunOutcome.FAILED, error, f"The job {name} was interrupted.", report=False)
        raise
    except Exception as error:
        _settle(run, lease, RunOutcome.FAILED, error, f"The job {name} failed: {_sentence(error)}")
    else:
        if not close_run(run, lease, outcome=RunOutcome.SUCCEEDED, summary=summary):
            log.warning("%s finished after it had been taken for dead; its run %s stays lost", name, run.pk)
    return run


def queue_job(
    name: str, *, target: str = "", trigger: str = BY_PERSON, asked_by: str = "", options: dict[str, Any] | None = None
) -> None:
    """Ask the job's cluster to run it as soon as a worker is free.

    The wish is a row of the queue: inside a transaction it is made and undone with the rest. Raises NotFound and
    InvalidRequest (an option that the job does not take).
    """
    job = get_job(name)
    if options:
        job.check_options(options)
    wish = {"trigger": trigger, "target": target, "asked_by": asked_by, "options": options or {}}
    async_task(PERFORM, name, json.dumps(wish), timezone.now().isoformat(), q_options=task_options(job))


def task_options(job: Job) -> dict[str, Any]:
    """What the queue must know of a job: its cluster and when to end it, should its own box not do so."""
    return {
        "cluster": job.cluster,
        "timeout": job.time_box_seconds + BOX_GRACE_SECONDS,
        "group": job.name,
        "task_name": job.name,
    }


def perform(name: str, wish: str = "{}", due: str = "") -> None:
    """Run a job for a cluster. Returns nothing: the record is the JobRun.

    Parameters
    ----------
    name : str
        A job of the table; one that has left it is reported.
    wish : str
        JSON object: trigger, target, asked_by, options.
    due : str
        ISO 8601. When the run was wanted; a run of the same kind that began later has fulfilled it, so a delivery that
        waited or came again is dropped, and no flood follows a downtime.
    """
    wanted = {"trigger": BY_SCHEDULE, "target": "", "asked_by": "", "options": {}, **json.loads(wish)}
    if due and _was_fulfilled(name, wanted, datetime.fromisoformat(due)):
        log.info("%s wanted at %s has been run since; this delivery is dropped", name, due)
        return
    try:
        run = run_job(name, cluster=Conf.CLUSTER_NAME, **wanted)
    except NotFound as error:
        report_error(
            severity=Severity.WARNING,
            category=Category.CONFIGURATION,
            code="unknown_job",
            message=error.reason,
            remedy="Run `manage.py sync_schedules`: a schedule of an earlier version is left over.",
            caller=f"job:{name}",
        )
        return
    if run.outcome == RunOutcome.TIMED_OUT:
        # Whatever was cut off may have left threads and open files: let the cluster replace this worker.
        raise TimeoutException(run.error.splitlines()[0])


def _work(job: Job, options: dict[str, Any]) -> Any:
    """Call the job's function in its box."""
    job.check_options(options)
    with time_box(job.time_box_seconds):
        return job.callable(**options)


def _settle(
    run: JobRun, lease: Lease, outcome: RunOutcome, error: BaseException, message: str, *, report: bool = True
) -> None:
    """Record a bad end and report it. The connection is made anew: the work may have been cut off in mid-statement."""
    if not connection.in_atomic_block:
        connection.close() if outcome == RunOutcome.TIMED_OUT else close_old_connections()
    text = message + "\n\n" + "".join(traceback.format_exception(error))
    if not close_run(run, lease, outcome=outcome, error=text) or not report:
        return
    passing = isinstance(error, ArchiveError) and error.passing
    report_error(
        severity=Severity.WARNING if passing else Severity.ERROR,
        category=next((category for kind, category in _CATEGORIES if isinstance(error, kind)), Category.PROGRAMMING),
        code="job_timed_out" if outcome == RunOutcome.TIMED_OUT else "job_failed",
        message=message,
        remedy=_remedy(run, outcome, error),
        caller=caller_of(run),
    )


def _sentence(error: Exception) -> str:
    return error.reason if isinstance(error, ArchiveError) else f"{type(error).__name__}: {error}"


def _remedy(run: JobRun, outcome: RunOutcome, error: BaseException) -> str:
    if isinstance(error, ArchiveError):
        return error.suggested_remedy
    if outcome == RunOutcome.TIMED_OUT:
        return (
            f"What it had done is kept and it goes on at its next run. If this repeats, see what it waits for "
            f"(a slow store, a locked database) while `manage.py run_jobs {run.job}` runs."
        )
    return (
        f"It is tried again at its next run; `manage.py run_jobs {run.job}` tries it now. The Jobs page has the whole "
        f"error text of this run, which a report of the fault should quote."
    )


def _was_fulfilled(name: str, wanted: dict[str, Any], due: datetime) -> bool:
    done = (RunOutcome.SUCCEEDED, RunOutcome.FAILED, RunOutcome.TIMED_OUT)
    since = JobRun.objects.filter(job=name, started_at__gte=due, outcome__in=done)
    return since.filter(target=wanted["target"], trigger=wanted["trigger"]).exists()
