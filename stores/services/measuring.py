"""Looking at stores: are they there, how much space do they have. Only hosts that reach a store can say."""

import logging
import threading
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from librarian.common.errors import ArchiveError, Refused, StoreFull, StoreUnavailable
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity
from stores.backends.base import Availability, Space
from stores.models import SpaceReading, Store

logger = logging.getLogger(__name__)

# For an answer: the time that a mount may take, or the programs and retries by which a distant kind finds it is away.
LOOK_SECONDS = {Store.Kind.POSIX: 30.0, Store.Kind.SSH: 75.0, Store.Kind.S3: 60.0}
CALLER = "measure_stores"
KEEP_ALL = timedelta(days=7)
KEEP_HOURLY = timedelta(days=90)
_BATCH = 500

_looking: dict[int, threading.Thread] = {}  # looks that have not returned, by store: a dead mount keeps its thread
_looking_lock = threading.Lock()


def measure_stores() -> dict[str, Any]:
    """Measure every store that this host reaches; one that fails or hangs does not keep the others from it."""
    available, away = [], []
    for store in Store.objects.all().here():
        try:
            found = measure_store(store)
        except Exception as error:
            logger.exception("measuring store %s failed", store.name)
            found = Availability(False, str(error))
            report_error(
                severity=Severity.ERROR,
                category=Category.PROGRAMMING,
                code="store_not_measured",
                message=f"Measuring store {store.name} failed: {type(error).__name__}: {error}",
                remedy="Report this with the log of the job worker.",
                caller=CALLER,
                target=store.name,
            )
        (available if found.available else away).append(store.name)
    return {"available": available, "away": away}


def measure_store(store: Store, *, timeout_seconds: float | None = None) -> Availability:
    """Look at one store and write down what was found; its row in memory gets the same values.

    An empty or foreign mount, a refused write and no answer within `timeout_seconds` (those of its kind if left out)
    all make the store unavailable. They say nothing about the instances on it. Raises Refused for a store that this
    host does not reach.
    """
    if not store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
        raise Refused(
            f"Store {store.name} is not reached from {settings.LIBRARIAN_HOST_NAME}.",
            remedy=f"Measure it on {', '.join(store.hosts)}.",
        )
    patience = LOOK_SECONDS[Store.Kind(store.kind)] if timeout_seconds is None else timeout_seconds
    found, space = _look(store, patience)
    _write_down(store, found, space, at=timezone.now())
    _tell(store, found)
    return found


def _look(store: Store, timeout_seconds: float) -> tuple[Availability, Space | None]:
    """Check and space of a store, from a thread of its own: a call on a dead network mount may never return."""
    answers: list[tuple[Availability, Space | None]] = []
    with _looking_lock:
        if store.pk in _looking and _looking[store.pk].is_alive():
            return _silent(store), None
        thread = threading.Thread(target=_look_here, args=(store, answers), daemon=True, name=f"look-{store.name}")
        _looking[store.pk] = thread
        thread.start()
    thread.join(timeout_seconds)
    if not answers:
        return _silent(store), None
    with _looking_lock:
        _looking.pop(store.pk, None)
    return answers[0]


def _look_here(store: Store, answers: list[tuple[Availability, Space | None]]) -> None:
    try:
        backend = store.backend
        found = backend.check()
        answers.append((found, backend.space() if found.available else None))
    except ArchiveError as error:
        answers.append((Availability(False, error.reason, error.suggested_remedy), None))
    except Exception as error:  # would otherwise look like a store that does not answer
        answers.append((Availability(False, f"looking at it failed: {error}", "Report this with the log."), None))
        logger.exception("looking at a store failed")


def _silent(store: Store) -> Availability:
    what = {Store.Kind.SSH: "host", Store.Kind.S3: "service"}.get(Store.Kind(store.kind), "mount")
    return Availability(
        False, "it does not answer", f"Look after the {what} of store {store.name}: a call on it has not returned."
    )


def _write_down(store: Store, found: Availability, space: Space | None, *, at: datetime) -> None:
    """Only the measured columns: a person may be editing the others."""
    measured: dict[str, Any] = {
        "available": found.available,
        "availability_reason": found.reason,
        "measured_at": at,
        "measured_by": settings.LIBRARIAN_HOST_NAME,
    }
    if space is not None:
        measured |= {"capacity_bytes": space.capacity_bytes, "free_bytes": space.free_bytes}
    if Store.objects.filter(pk=store.pk).update(**measured) and space is not None:
        SpaceReading.objects.create(
            store_id=store.pk, at=at, capacity_bytes=space.capacity_bytes, free_bytes=space.free_bytes
        )
    for field, value in measured.items():
        setattr(store, field, value)


def _tell(store: Store, found: Availability) -> None:
    """Put an enabled store that is away or full into the inbox, and take it out again once it is well."""
    if store.enabled and not found.available:
        report_error(
            severity=Severity.ERROR,
            category=Category.DATA_AVAILABILITY,
            code=StoreUnavailable.code,
            message=f"Store {store.name} is not available: {found.reason}.",
            remedy=found.remedy or StoreUnavailable.remedy,
            caller=CALLER,
            target=store.name,
        )
    else:
        clear_matching(code=StoreUnavailable.code, caller=CALLER, target=store.name, cleared_by=CALLER)
    if not found.available:
        return  # how full it is, nobody knows
    clear_matching(code="store_not_measured", caller=CALLER, target=store.name, cleared_by=CALLER)
    if store.enabled and store.ingestable and store.usable_bytes <= 0:
        report_error(
            severity=Severity.WARNING,
            category=Category.STORE_FULL,
            code=StoreFull.code,
            message=f"Store {store.name} has reached its fullness limit of {store.fullness_limit:.0%}: "
            f"{store.free_bytes} of {store.capacity_bytes} bytes are free. It takes no new files.",
            remedy=StoreFull.remedy,
            caller=CALLER,
            target=store.name,
        )
    else:
        clear_matching(code=StoreFull.code, caller=CALLER, target=store.name, cleared_by=CALLER)


def thin_space_readings(*, now: datetime | None = None) -> dict[str, int]:
    """Keep every reading for 7 days, the first of each hour for 90 days, the first of each day for ever (UTC)."""
    now = now or timezone.now()
    removed = 0
    for store in Store.objects.all():
        rows = SpaceReading.objects.filter(store=store, at__lt=now - KEEP_ALL).order_by("at", "pk")
        removed += _thin(rows.filter(at__lt=now - KEEP_HOURLY), "%Y-%m-%d")
        removed += _thin(rows.filter(at__gte=now - KEEP_HOURLY), "%Y-%m-%d %H")
    return {"removed": removed}


def _thin(rows: Any, period: str) -> int:
    """Delete all but the first reading of each period, in small transactions."""
    surplus: list[int] = []
    last = None
    for key, at in rows.values_list("pk", "at").iterator(chunk_size=2000):
        if at.strftime(period) == last:
            surplus.append(key)
        last = at.strftime(period)
    for start in range(0, len(surplus), _BATCH):
        SpaceReading.objects.filter(pk__in=surplus[start : start + _BATCH]).delete()
    return len(surplus)
