"""Job clusters and their schedules: at work, and doing what the table and the staff say."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from django.utils import timezone
from django_q.models import Schedule

from librarian.common.findings import Finding, Look, doubts, fails, settled, works
from librarian.common.heartbeat import HEARTBEATS, LATE_AFTER_SECONDS, is_busy, last_sign_of_life
from librarian.common.jobs import PERFORM
from librarian.common.jobtable import all_jobs
from librarian.common.models import JobSetting
from librarian.common.timetable import every_seconds, overdue_since
from librarian.doctor.scope import Scope

GROUP = "jobs"
AHEAD = timedelta(minutes=5)


def examine(scope: Scope) -> Iterator[Look]:
    """From rows alone."""
    yield settled(GROUP, [*_clusters(), *_schedules(), *_overdue()])


def _clusters() -> Iterator[Finding]:
    for cluster in HEARTBEATS:
        subject, last = f"cluster {cluster}", last_sign_of_life(cluster)
        remedy = "Start it: the unit librarian-jobs, or `manage.py run_site`; its log says why it ended."
        if last is None:
            yield fails(subject, "no sign of life", remedy)
            continue
        age = (timezone.now() - last).total_seconds()
        if age < -AHEAD.total_seconds():
            reason = f"its latest sign of life is {-age:.0f} s in the future"
            yield doubts(subject, reason, "Compare the clocks of the machines that run the site.")
        elif age > LATE_AFTER_SECONDS and not is_busy(cluster):
            yield fails(subject, f"its latest sign of life is {age:.0f} s old", remedy)
        else:
            yield works(subject, f"its latest sign of life is {max(0.0, age):.0f} s old")


def _schedules() -> Iterator[Finding]:
    """Compared without being touched: `sync_schedules` would mend them."""
    settings = {setting.job: setting for setting in JobSetting.objects.all()}
    wanted = _wanted(settings)
    present = {
        schedule.name: (schedule.minutes, schedule.cluster) for schedule in Schedule.objects.filter(func=PERFORM)
    }
    wrong = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if wrong:
        named = f"{', '.join(wrong[:5])}{' and others' if len(wrong) > 5 else ''}"
        yield fails("schedules", f"{len(wrong)} are not as the table says: {named}", "Run `manage.py sync_schedules`.")
    else:
        yield works("schedules", f"{len(present)}, as the table says")
    off = sorted(job.name for job in all_jobs() if (found := settings.get(job.name)) and not found.enabled)
    if off:
        yield doubts("jobs switched off", ", ".join(off), "Switch them on in the staff admin (Job settings).")


def _wanted(settings: Mapping[str, JobSetting]) -> dict[str, tuple[int, str]]:
    """Minutes and cluster by name; what beats twice in a minute or at half minutes has two schedules."""
    found = {}
    for job in all_jobs():
        setting = settings.get(job.name)
        if setting is not None and not setting.enabled:
            continue
        minutes, rest = divmod(every_seconds(job, setting), 60)
        if rest:
            minutes = every_seconds(job, setting) * 2 // 60
            found[f"{job.name}/2"] = (minutes, job.cluster)
        found[job.name] = (minutes, job.cluster)
    return found


def _overdue() -> Iterator[Finding]:
    for name, since in sorted(overdue_since().items()):
        reason = f"it has not run although it was due at {since:%Y-%m-%d %H:%M:%S} UTC"
        remedy = f"See what its workers are busy with (Jobs page); `manage.py run_jobs {name}` runs it here and now."
        yield fails(f"job {name}", reason, remedy)
