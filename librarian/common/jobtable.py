"""What a periodic job is, and the table of all of them, which `librarian.schedules` fills when the site starts.

The ground floor knows jobs by name and dotted function only; the rows come from above.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from librarian.common.errors import InvalidRequest, NotFound

DEFAULT_CLUSTER = "default"
BULK_CLUSTER = "bulk"
CLUSTERS = (DEFAULT_CLUSTER, BULK_CLUSTER)
STEP_SECONDS = 30  # the cluster looks at its schedules twice a minute (django_q.cluster.Sentinel.guard)
LONGEST_CADENCE_SECONDS = 14 * 24 * 3600  # schedules count minutes in 16 bits
# The cluster's own clock ends a task this much later than the job's box: it is there for a box that cannot end itself.
BOX_GRACE_SECONDS = 30


@dataclass(frozen=True)
class Job:
    """One row of the table of periodic jobs.

    Parameters
    ----------
    name : str
        Stable; leases, runs and staff settings hang on it.
    function : str
        Dotted name. Called with keyword options only; returns a small dict of numbers or None.
    every_seconds : int
        Cadence, a multiple of 30 s.
    cluster : str
        `default`, or `bulk` for what moves or reads many bytes.
    time_box_seconds : int
        When it is ended, done or not; it must be safe to end anywhere and to run again.
    why : str
        One sentence for the staff admin and the Jobs page.
    options : mapping
        Keyword options of every scheduled run.
    """

    name: str
    function: str
    every_seconds: int
    cluster: str
    time_box_seconds: int
    why: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def callable(self) -> Callable[..., dict[str, Any] | None]:
        """The function itself. Raises ImportError when there is none of that name."""
        return import_string(self.function)

    @property
    def caller(self) -> str:
        """How reports of this job's runs name their caller."""
        return f"job:{self.name}"

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise InvalidRequest for an option that the function does not take, or an amount that is none."""
        parameters = list(inspect.signature(self.callable).parameters.values())
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return
        known = sorted(parameter.name for parameter in parameters)
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise InvalidRequest(
                f"The job {self.name} has no option {', '.join(unknown)}.",
                remedy=f"It takes {', '.join(known)}." if known else "It takes no options.",
            )
        amounts = {parameter.name for parameter in parameters if parameter.annotation in _AMOUNTS}
        for name in sorted(amounts & set(options)):
            if not _is_amount(options[name]):
                raise InvalidRequest(
                    f"The option {name} of the job {self.name} must be a number of 0 or more.",
                    remedy=f"Send {name} as a number; its unit is in its name.",
                )


_AMOUNTS = (int, float, int | None, float | None)


def _is_amount(value: Any) -> bool:
    """True for a number of 0 or more, or the text of one, as a command line has it."""
    try:
        return not isinstance(value, bool) and 0 <= float(value) < math.inf
    except (TypeError, ValueError, OverflowError):
        return False


_table: dict[str, Job] = {}


def register_jobs(jobs: Iterable[Job]) -> None:
    """Add rows to the table. ValueError for one that no cluster could run as it says."""
    for job in jobs:
        _check(job)
        if _table.get(job.name, job) != job:
            raise ValueError(f"two jobs are called {job.name}")
        _table[job.name] = job


def forget_job(name: str) -> None:
    """Take a row out of the table again, for tests that brought jobs of their own."""
    _table.pop(name, None)


def all_jobs() -> list[Job]:
    """Every row, in the order of the table."""
    return list(_table.values())


def get_job(name: str) -> Job:
    """The row of that name. Raises NotFound."""
    try:
        return _table[name]
    except KeyError:
        raise NotFound(
            f"There is no job called {name}.", remedy="`manage.py run_jobs --list` shows every job."
        ) from None


def longest_box_seconds(cluster: str) -> int:
    """The longest time box that a job of this cluster may have: what the cluster's timeout leaves."""
    own = settings.Q_CLUSTER.get("ALT_CLUSTERS", {}).get(cluster, settings.Q_CLUSTER)
    return own["timeout"] - BOX_GRACE_SECONDS


def cluster_workers(cluster: str) -> int:
    """How many workers a cluster has."""
    return settings.Q_CLUSTER.get("ALT_CLUSTERS", {}).get(cluster, settings.Q_CLUSTER)["workers"]


def check_cadence(every_seconds: int) -> None:
    """Raise InvalidRequest for a cadence that the cluster's scheduler cannot keep."""
    if every_seconds % STEP_SECONDS or not STEP_SECONDS <= every_seconds <= LONGEST_CADENCE_SECONDS:
        raise InvalidRequest(
            f"A job cannot run every {every_seconds} s.",
            remedy=f"Choose a multiple of {STEP_SECONDS} s, {LONGEST_CADENCE_SECONDS} s (14 days) at most.",
        )


def _check(job: Job) -> None:
    try:
        check_cadence(job.every_seconds)
    except InvalidRequest as error:
        raise ValueError(f"{job.name}: {error.reason} {error.suggested_remedy}") from error
    if job.cluster not in CLUSTERS:
        raise ValueError(f"{job.name}: there is no cluster {job.cluster}")
    if not 0 < job.time_box_seconds <= longest_box_seconds(job.cluster):
        raise ValueError(f"{job.name}: its time box does not fit the timeout of the cluster {job.cluster}")
