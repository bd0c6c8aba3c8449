"""When jobs run: the table and what staff changed of it, turned into the schedules that the clusters read.

The clusters look at their schedules twice a minute, and a schedule counts whole minutes; a job whose cadence is not a
whole number of minutes has two schedules, half a beat apart. `JobSetting` has one row per job from the first
`sync_schedules` on.
"""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone
from django_q.models import Schedule

from librarian.common.audit import record_act
from librarian.common.inbox import clear_from
from librarian.common.jobs import BY_COMMAND, PERFORM, task_options
from librarian.common.jobtable import Job, all_jobs, check_cadence, get_job, longest_box_seconds
from librarian.common.models import JobLease, JobRun, JobSetting, RunOutcome

SYNC = "sync_schedules"
_PATIENCE_SECONDS = 120  # the scheduler's half minute, the start of a worker, a busy machine


def sync_schedules() -> dict[str, int]:
    """Make the clusters' schedules equal table and staff settings; return how many were made, changed and removed.

    After a downtime each overdue schedule is set to run once, now; what was missed is not made up for.
    """
    counts = {"made": 0, "changed": 0, "removed": 0}
    with transaction.atomic():
        # One at a time: a schedule's name is not unique in the database.
        JobLease.objects.get_or_create(job=SYNC, target="")
        JobLease.objects.select_for_update().get(job=SYNC, target="")
        settings = _settings_of_all()
        wanted: dict[str, dict[str, Any]] = {}
        for job in all_jobs():
            if settings[job.name].enabled:
                wanted |= _schedules_of(job, settings[job.name])
        kept: set[str] = set()
        for schedule in Schedule.objects.order_by("pk"):
            if schedule.name not in wanted or schedule.name in kept:
                schedule.delete()
                counts["removed"] += 1
                continue
            kept.add(schedule.name)
            counts["changed"] += _adjust(schedule, wanted[schedule.name])
        for name in wanted.keys() - kept:
            Schedule.objects.create(name=name, **wanted[name])
            counts["made"] += 1
    return counts


def change_job(
    *, job: str, enabled: bool, every_seconds: int | None, actor: AbstractBaseUser | None, address: str = ""
) -> JobSetting:
    """Switch a job on or off or give it another cadence (None: the table's); it counts from now on.

    Raises NotFound, and InvalidRequest for a cadence that the clusters cannot keep.
    """
    get_job(job)
    if every_seconds is not None:
        check_cadence(every_seconds)
    by = actor.get_username() if actor is not None else ""
    changes = {"enabled": enabled, "every_seconds": every_seconds, "changed_by": by}
    with transaction.atomic():
        setting, _ = JobSetting.objects.update_or_create(job=job, defaults=changes)
        facts = {"enabled": enabled, "every_seconds": every_seconds}
        record_act(actor=actor, action="change_job", subject=job, facts=facts, address=address)
        if not enabled:
            clear_from(caller=get_job(job).caller, codes=["job_overdue"], cleared_by=by or SYNC)
        sync_schedules()
    return setting


def every_seconds(job: Job, setting: JobSetting | None) -> int:
    """Cadence in force."""
    return setting.every_seconds if setting is not None and setting.every_seconds else job.every_seconds


def next_runs() -> dict[str, datetime]:
    """When each job that is switched on is wanted next."""
    found: dict[str, datetime] = {}
    for schedule in Schedule.objects.filter(func=PERFORM).exclude(next_run=None):
        job = schedule.name.partition("/")[0]
        found[job] = min(schedule.next_run, found.get(job, schedule.next_run))
    return found


def last_runs() -> dict[str, JobRun]:
    """The latest run of each job of the table, leaving out those that were skipped."""
    begun = JobRun.objects.filter(job=OuterRef("job")).exclude(outcome=RunOutcome.SKIPPED).order_by("-started_at")
    latest = JobSetting.objects.annotate(run=Subquery(begun.values("pk")[:1])).values("run")
    return {run.job: run for run in JobRun.objects.filter(pk__in=latest)}


def overdue_since(now: datetime | None = None) -> dict[str, datetime]:
    """Jobs that should have run and did not, with the time since when.

    A job has its cadence, the longest wait for a worker of its cluster and two minutes. The clock of no job starts
    before the site was last started or the job's setting last changed.
    """
    now = now or timezone.now()
    settings = {setting.job: setting for setting in JobSetting.objects.all()}
    started, runs = _last_sync(), last_runs()
    found = {}
    for job in all_jobs():
        setting = settings.get(job.name)
        if setting is None or not setting.enabled:
            continue
        latest = runs.get(job.name)
        if latest is not None and latest.outcome == RunOutcome.RUNNING:
            continue  # at it; whether its worker lives is the sweeper's question
        due = [setting.changed_at, started or setting.changed_at]
        if latest is not None:
            due.append(latest.started_at + timedelta(seconds=every_seconds(job, setting)))
        if max(due) + timedelta(seconds=longest_box_seconds(job.cluster) + _PATIENCE_SECONDS) < now:
            found[job.name] = max(due)
    return found


def _last_sync() -> datetime | None:
    """When the site was last started: the start makes `sync_schedules` run as a command."""
    runs = JobRun.objects.filter(job=SYNC, trigger=BY_COMMAND).order_by("-started_at")
    return runs.values_list("started_at", flat=True).first()


def _settings_of_all() -> dict[str, JobSetting]:
    known = set(JobSetting.objects.values_list("job", flat=True))
    names = [job.name for job in all_jobs()]
    now = timezone.now()
    JobSetting.objects.bulk_create(
        [JobSetting(job=name, changed_at=now) for name in names if name not in known], ignore_conflicts=True
    )
    JobSetting.objects.filter(~Q(job__in=names)).delete()
    return {setting.job: setting for setting in JobSetting.objects.all()}


def _schedules_of(job: Job, setting: JobSetting) -> dict[str, dict[str, Any]]:
    """Name and fields of the one or two schedules of a job."""
    seconds = every_seconds(job, setting)
    minutes, rest = divmod(seconds, 60)
    fields = {
        "func": PERFORM,
        "args": repr((job.name, "{}")),
        "kwargs": repr({"q_options": task_options(job)}),
        "schedule_type": Schedule.MINUTES,
        "minutes": minutes if not rest else seconds * 2 // 60,
        "repeats": -1,
        "cluster": job.cluster,
        "intended_date_kwarg": "due",
    }
    now = timezone.now()
    if not rest:
        return {job.name: {**fields, "next_run": now}}
    half = now + timedelta(seconds=seconds)
    return {job.name: {**fields, "next_run": now}, f"{job.name}/2": {**fields, "next_run": half}}


def _adjust(schedule: Schedule, wanted: dict[str, Any]) -> bool:
    """Bring one schedule to what is wanted; True if it had to change. A next run in reach stays where it is."""
    beat = timedelta(minutes=wanted["minutes"])
    now = timezone.now()
    in_reach = schedule.next_run is not None and now - beat <= schedule.next_run <= now + beat
    changes = dict(wanted) if not in_reach else {key: value for key, value in wanted.items() if key != "next_run"}
    if all(getattr(schedule, field) == value for field, value in changes.items()):
        return False
    for field, value in changes.items():
        setattr(schedule, field, value)
    schedule.save()
    return True
