"""Reads of stores shaped for pages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from librarian.common.badges import Badge
from librarian.common.charts import line_points
from stores.kinds import where
from stores.models import SpaceReading, Store

TRAVELS = Badge("travels", "note", "A disk that is carried to other sites.")
NEARLY_FULL_SHARE_OF_LIMIT = 0.95
MAX_READINGS = 5000
POINTS_SHOWN = 240

STATES: dict[str, Badge] = {
    "off": Badge("switched off", "quiet", "A person switched it off; its copies are not read and it takes nothing."),
    "unmeasured": Badge("not measured yet", "warn", "No host that reaches it has looked at it yet."),
    "away": Badge("away", "bad", "It cannot be used at present. That says nothing about the copies on it."),
    "full": Badge("full", "warn", "At its fullness limit: takes no new files, its copies are read."),
    "taking": Badge("takes files", "good", "Switched on, available, takes new files."),
    "reading": Badge("reading only", "note", "Switched on and available; takes no new files."),
}


@dataclass(frozen=True, slots=True)
class Fullness:
    """How full a store is: shares of its capacity, as `x%` of a bar."""

    store: Store
    state: str
    used_bytes: int | None
    used_share: float | None

    @property
    def badge(self) -> Badge:
        return STATES[self.state]

    @property
    def travelling_badge(self) -> Badge | None:
        return TRAVELS if self.store.travelling else None

    @property
    def where(self) -> str:
        return where(self.store)

    @property
    def used_width(self) -> str:
        return f"{100 * (self.used_share or 0):.2f}%"

    @property
    def limit_at(self) -> str:
        return f"{100 * self.store.fullness_limit:.2f}%"

    @property
    def beyond_width(self) -> str:
        return f"{100 * (1 - self.store.fullness_limit):.2f}%"

    @property
    def tone(self) -> str:
        if self.used_share is None:
            return "quiet"
        if self.used_share >= self.store.fullness_limit:
            return "bad"
        return "warn" if self.used_share >= self.store.fullness_limit * NEARLY_FULL_SHARE_OF_LIMIT else "good"


def state_of(store: Store) -> str:
    """Which of STATES a store is in."""
    if not store.enabled:
        return "off"
    if store.measured_at is None:
        return "unmeasured"
    if not store.available:
        return "away"
    if not store.ingestable:
        return "reading"
    return "full" if is_full(store) else "taking"


def is_full(store: Store) -> bool:
    """True if a measured store has reached its fullness limit."""
    return store.capacity_bytes is not None and store.free_bytes is not None and store.usable_bytes <= 0


def fullness(store: Store) -> Fullness:
    """How full a store is, as last measured."""
    if not store.capacity_bytes or store.free_bytes is None:
        return Fullness(store, state_of(store), None, None)
    used = store.capacity_bytes - store.free_bytes
    return Fullness(store, state_of(store), used, used / store.capacity_bytes)


def with_fullness(stores: Iterable[Store]) -> list[Fullness]:
    """The same for each of some stores."""
    return [fullness(store) for store in stores]


def store_names() -> dict[int, str]:
    """Name of every store by its id; stores are few, and none is ever removed."""
    return dict(Store.objects.order_by().values_list("pk", "name"))


def named(targets: Sequence[int], names: Mapping[int, str]) -> list[str]:
    """Names of stores by their ids, in the same order."""
    return [names.get(key, f"store {key}") for key in targets]


def space_history(store: Store, *, days: int = 14, now: datetime | None = None) -> dict[str, Any] | None:
    """Share in use over the last days as points of a line, None with fewer than two readings."""
    now = now or timezone.now()
    rows = SpaceReading.objects.filter(store=store, at__gte=now - timedelta(days=days)).order_by("-at")
    readings = list(rows.values_list("at", "capacity_bytes", "free_bytes")[:MAX_READINGS])[::-1]
    if len(readings) < 2:
        return None
    step = max(1, len(readings) // POINTS_SHOWN)
    kept = [*readings[:-1:step], readings[-1]]  # the newest one always counts
    line = line_points([(at.timestamp(), _used_share(capacity, free)) for at, capacity, free in kept], low=0, high=1)
    return {
        "line": line,
        "area": f"0,100 {line} 100,100",
        "limit_y": f"{100 * (1 - store.fullness_limit):.2f}",
        "first": readings[0][0],
        "last": readings[-1][0],
        "first_share": _used_share(*readings[0][1:]),
        "last_share": _used_share(*readings[-1][1:]),
        "grown_bytes": (readings[-1][1] - readings[-1][2]) - (readings[0][1] - readings[0][2]),
    }


def _used_share(capacity_bytes: int, free_bytes: int) -> float:
    return (capacity_bytes - free_bytes) / capacity_bytes if capacity_bytes else 0.0
