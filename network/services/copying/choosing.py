"""Choosing files for stores of ours: what an order wants on one of its stores becomes a copy to be made.

As the choosing for peers (network/services/sending/choosing.py): oldest first, in pages; a look at all files that took
long is repeated after LOOK_SHARE times as long, and in between only new files are looked at.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from files.models import CopyState, File, Instance, Presence, RemoteInstance, StoreCopy
from files.search import compile_search
from files.services.copying import cancel_group, want_copies
from files.services.copying.wishes import not_yet_wanted
from librarian.common import steps
from librarian.common.errors import ArchiveError
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity
from librarian.common.texts import storable
from network.models import OrderWay, OutgoingTransfer, StandingOrder
from network.services.copying.full_stores import switch_off_full_stores
from network.services.copying.trips import DisksAway, Trips, trips_of
from network.services.sending.orders import CARRYING_CALLER as CALLER
from network.services.sending.orders import FAILING
from network.services.shipping.custody import SOUND

PAGE = 1_000
MOST_WAITING = 20_000  # copies of one order that wait; more are chosen as these are made
LOOK_SHARE = 20
SHORT_LOOK_SECONDS = 1.0
# A file is registered a little before its row can be seen: transactions of many files take their time.
LATE_ROWS = timedelta(hours=1)

Found = tuple[int, datetime]  # key, registered_at


def choose_copies(*, limit: int = 20_000) -> dict[str, int]:
    """Want the copies that standing orders ask for.

    Parameters
    ----------
    limit : int
        Of copies wanted in one run.

    Returns
    -------
    dict
        How many were chosen, given up because their order is gone, stores switched off, and orders that failed.
    """
    counts = {"chosen": 0, "given_up": _give_up_orphans(), "switched_off": 0, "failing_orders": 0}
    for order in StandingOrder.objects.active().copying().order_by("-priority", "pk"):
        try:
            counts["switched_off"] += switch_off_full_stores(order)
            counts["chosen"] += _carry_out(order, limit - counts["chosen"])
        except (ArchiveError, DatabaseError) as problem:
            counts["failing_orders"] += 1
            _note_problem(order, problem)
    return counts


def _give_up_orphans() -> int:
    """A copy that was being made when its order went may want to be tried again: nobody waits for it."""
    waiting = StoreCopy.objects.filter(state=CopyState.WANTED, group__startswith="order:")
    groups = set(waiting.order_by().values_list("group", flat=True).distinct())
    wanted = {order.group for order in StandingOrder.objects.active().copying()}
    return sum(cancel_group(group, because="The order is gone or switched off.") for group in groups - wanted)


# --- One order --------------------------------------------------------------------------------------------------------


def _carry_out(order: StandingOrder, limit: int) -> int:
    """Choose for one order as much as may wait. Raises InvalidSearch, DisksAway."""
    begun, began_at = time.monotonic(), timezone.now()
    trips = trips_of(order)
    _retarget(order, trips)
    files = _wanted(order, trips)
    room = max(0, min(limit, MOST_WAITING - StoreCopy.objects.of_group(order.group).live().count()))
    seen: dict[str, Any] = {}
    if order.next_look_at is None or order.next_look_at <= began_at or trips.changed_since(order.last_run_at):
        chosen, is_through = _go_through(order, files, trips, room)
        took = time.monotonic() - begun
        pause = timedelta(seconds=LOOK_SHARE * took) if is_through and took >= SHORT_LOOK_SECONDS else None
        seen = {"next_look_at": pause and timezone.now() + pause}
    else:
        new = files.filter(registered_at__gte=(order.looked_up_to or began_at) - LATE_ROWS)
        chosen, is_through = _go_through(order, new, trips, room)
    if is_through:
        seen["looked_up_to"] = began_at
    if order.problem:
        clear_matching(code=FAILING, caller=CALLER, target=order.name, cleared_by="a run that went well")
    # an edit that came in between wants everything looked at again
    rows = StandingOrder.objects.filter(pk=order.pk, search=order.search, next_look_at=order.next_look_at)
    rows.update(last_run_at=began_at, problem="", **seen)
    return chosen


def _retarget(order: StandingOrder, trips: Trips) -> None:
    """What waits goes to the stores that can be filled now: not to a disk that was packed since. Raises DisksAway."""
    waiting = StoreCopy.objects.of_group(order.group).filter(state=CopyState.WANTED)
    if not trips.open:
        cancel_group(order.group, because="None of its disks can be filled now.")
        raise DisksAway(order, trips)
    waiting.exclude(targets=trips.open).update(targets=trips.open)


def _wanted(order: StandingOrder, trips: Trips) -> QuerySet[File]:
    """Files that match, can be read here, are on none of the stores and not wanted there; to carry: nor at the peer."""
    of_file = OuterRef("pk")
    readable = Instance.objects.readable().filter(file=of_file)
    if order.way == OrderWay.CARRY:
        readable = readable.exclude(store__in=order.targets)
    files = File.objects.filter(compile_search(order.search)).filter(Exists(readable))
    files = not_yet_wanted(files, targets=trips.open, group=order.group)
    return _not_carried_yet(files, order, trips) if order.way == OrderWay.CARRY else files


def _not_carried_yet(files: QuerySet[File], order: StandingOrder, trips: Trips) -> QuerySet[File]:
    """Those that the peer does not hold, and that are neither on their way to it nor on a disk that may get there."""
    of_file = OuterRef("pk")
    there = RemoteInstance.objects.filter(file=of_file, peer_name=order.peer_name)
    blocked = OutgoingTransfer.objects.blocking().filter(file=of_file, peer_name=order.peer_name)
    on_disk = Instance.objects.filter(
        Q(presence=Presence.PRESENT, condition__in=SOUND) | Q(presence=Presence.HANDED_OVER),
        file=of_file,
        store__in=trips.not_lost,
    )
    return files.filter(~Exists(there), ~Exists(blocked), ~Exists(on_disk))


def _go_through(order: StandingOrder, files: QuerySet[File], trips: Trips, room: int) -> tuple[int, bool]:
    """Want copies of files, oldest first; how many, and whether there are no more."""
    chosen = 0
    last: Found | None = None
    while chosen < room:
        page = _page(files, last, min(PAGE, room - chosen))
        if not page:
            return chosen, True
        chosen += _want(order, [key for key, _ in page], trips.open)
        steps.passed("chosen")
        last = page[-1]
    return chosen, False


def _page(files: QuerySet[File], last: Found | None, size: int) -> list[Found]:
    if last is not None:
        key, at = last
        files = files.filter(Q(registered_at__gt=at) | Q(pk__gt=key), registered_at__gte=at)
    return list(files.order_by("registered_at", "pk").values_list("pk", "registered_at")[:size])


def _want(order: StandingOrder, keys: Sequence[int], targets: Sequence[int]) -> int:
    return want_copies(file_ids=keys, targets=targets, group=order.group, priority=order.priority)


def _note_problem(order: StandingOrder, problem: Exception) -> None:
    if isinstance(problem, ArchiveError):
        reason, remedy = problem.reason, problem.suggested_remedy
    else:
        reason = f"The database could not carry out its search: {problem}"
        remedy = "Write the search in another way; if it looks right, report it with the log of the job worker."
    reason = storable(reason, 2_000)
    StandingOrder.objects.filter(pk=order.pk).update(problem=reason, last_run_at=timezone.now())
    report_error(
        severity=Severity.WARNING if isinstance(problem, DisksAway) else Severity.ERROR,
        category=Category.CONFIGURATION,
        code="order_failed",
        message=f"The order {order.name} chose no files to be copied: {reason}",
        remedy=remedy,
        caller=CALLER,
        target=order.name,
    )
