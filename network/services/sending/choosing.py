"""Choosing files for peers: what a standing order wants there and what is due for another attempt becomes a transfer.

Files are looked at oldest first, by the index of their time, in pages: memory does not grow with what is chosen, and
the queries of a page are the same however many files it has. To look at every file costs more the larger the archive
is, so a look that took long is repeated after LOOK_SHARE times as long; in between only new files and due attempts are
looked at.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from files.models import File, Instance, RemoteInstance
from files.search import compile_search
from librarian.common import steps
from librarian.common.bulk import bulk_insert
from librarian.common.errors import ArchiveError, LostRace
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity
from librarian.common.texts import storable
from network.models import (
    ENDED,
    GIVEN_UP,
    OutgoingTransfer,
    Peer,
    QueueState,
    SendQueueItem,
    StandingOrder,
    TransferState,
)
from network.services.nudging import nudge, wishes_for
from network.services.peering.circuit import reachable
from network.services.sending.orders import CALLER, FAILING
from network.services.transfers.outgoing import next_attempts

PAGE = 1_000
PILES = 4  # so many times what one run offers may wait to be offered
LOOK_SHARE = 20
SHORT_LOOK_SECONDS = 1.0
# A file is registered a little before its row can be seen: transactions of many files take their time.
LATE_ROWS = timedelta(hours=1)

Found = tuple[int, datetime, int]  # key, registered_at, size_bytes


def choose_files(*, limit: int = 20_000) -> dict[str, int]:
    """Make transfers of what standing orders want, and set the offering and sending going.

    Parameters
    ----------
    limit : int
        Of transfers made in one run.

    Returns
    -------
    dict
        How many were chosen, orders that failed, and jobs that were asked for.
    """
    peers = {peer.name: peer for peer in Peer.objects.sending()}
    chosen = _choose_again(peers, limit)
    failing = 0
    for order in StandingOrder.objects.active().pushing().filter(peer_name__in=peers).order_by("-priority", "pk"):
        try:
            chosen += _carry_out(order, peers[order.peer_name], limit - chosen)
        except (ArchiveError, DatabaseError) as problem:
            failing += 1
            _note_problem(order, problem)
    return {"chosen": chosen, "failing_orders": failing, "nudged": set_going(list(peers.values()))}


def set_going(peers: Sequence[Peer]) -> int:
    """Ask the clusters to offer and to send to each peer that has something waiting; how often that was done."""
    known = wishes_for({"offer_files", "send_batches"})
    to_offer = _names_of(OutgoingTransfer.objects.filter(state=TransferState.INITIATED, remote_transfer_id=None))
    due = SendQueueItem.objects.filter(state=QueueState.WAITING, next_try_at__lte=timezone.now())
    to_send = _names_of(due)
    nudged = 0
    for peer in peers:
        if peer.name in to_offer | to_send and reachable(peer):
            nudged += peer.name in to_offer and nudge("offer_files", peer.name, known=known)
            nudged += peer.name in to_send and nudge("send_batches", peer.name, known=known)
    return nudged


def _names_of(rows: QuerySet[Any]) -> set[str]:
    return set(rows.order_by().values_list("peer_name", flat=True).distinct())


# --- One order --------------------------------------------------------------------------------------------------------


def _carry_out(order: StandingOrder, peer: Peer, limit: int) -> int:
    """Choose for one order as much as there is room for. Raises InvalidSearch."""
    begun, began_at = time.monotonic(), timezone.now()
    files = _wanted(order)
    room = max(0, min(limit, _room(peer, order.priority)))
    if order.next_look_at is None or order.next_look_at <= began_at:
        chosen, is_through = _go_through(order, files, room)
        took = time.monotonic() - begun
        pause = timedelta(seconds=LOOK_SHARE * took) if is_through and took >= SHORT_LOOK_SECONDS else None
        seen = {"next_look_at": pause and timezone.now() + pause}
    else:
        due = OutgoingTransfer.objects.latest().filter(
            peer_name=peer.name, state__in=GIVEN_UP, next_try_at__lte=began_at
        )
        chosen, _ = _go_through(order, files.filter(pk__in=due.values("file")), room)
        new = files.filter(registered_at__gte=(order.looked_up_to or began_at) - LATE_ROWS)
        more, is_through = _go_through(order, new, room - chosen)
        chosen, seen = chosen + more, {}
    if is_through:
        seen["looked_up_to"] = began_at
    if order.problem:
        clear_matching(code=FAILING, caller=CALLER, target=order.name, cleared_by="a run that went well")
    # an edit that came in between wants everything looked at again
    rows = StandingOrder.objects.filter(pk=order.pk, search=order.search, next_look_at=order.next_look_at)
    rows.update(last_run_at=began_at, problem="", **seen)
    return chosen


def _wanted(order: StandingOrder) -> QuerySet[File]:
    """Files that match, can be read here, are not there, and are neither on their way nor waiting for a later try."""
    of_file = OuterRef("pk")
    there = RemoteInstance.objects.filter(file=of_file, peer_name=order.peer_name)
    blocked = OutgoingTransfer.objects.blocking().filter(file=of_file, peer_name=order.peer_name)
    matching = File.objects.filter(compile_search(order.search))
    return matching.filter(Exists(Instance.objects.readable().filter(file=of_file)), ~Exists(there), ~Exists(blocked))


def _room(peer: Peer, priority: int) -> int:
    """How many more may be chosen. What is less urgent than the order keeps nothing of it back."""
    waiting = OutgoingTransfer.objects.filter(
        peer_name=peer.name, state=TransferState.INITIATED, priority__gte=priority
    )
    return PILES * peer.files_per_run - waiting.count()


def _go_through(order: StandingOrder, files: QuerySet[File], room: int) -> tuple[int, bool]:
    """Make transfers of files, oldest first; how many, and whether there are no more."""
    chosen = 0
    last: Found | None = None
    while chosen < room:
        page = _page(files, last, min(PAGE, room - chosen))
        if not page:
            return chosen, True
        chosen += _make(order, page)
        steps.passed("chosen")
        last = page[-1]
    return chosen, False


def _page(files: QuerySet[File], last: Found | None, size: int) -> list[Found]:
    if last is not None:
        key, at, _ = last
        files = files.filter(Q(registered_at__gt=at) | Q(pk__gt=key), registered_at__gte=at)
    found = files.order_by("registered_at", "pk").values_list("pk", "registered_at", "size_bytes")
    return list(found[:size])


# --- Rows -------------------------------------------------------------------------------------------------------------


def _make(order: StandingOrder, page: Sequence[Found]) -> int:
    """Transfers for a page of files. Those that somebody else made at this moment are left to him."""
    try:
        with transaction.atomic():
            rows = _attempts(order, page)
            bulk_insert(rows)
        return len(rows)
    except IntegrityError:
        keys = [key for key, _, _ in page]
        mine = OutgoingTransfer.objects.filter(peer_name=order.peer_name, file__in=keys, order=order).live()
        before = mine.count()
        with transaction.atomic():
            OutgoingTransfer.objects.bulk_create(_attempts(order, page), ignore_conflicts=True)
        return mine.count() - before


def _attempts(order: StandingOrder, page: Sequence[Found]) -> list[OutgoingTransfer]:
    """The new rows, unsaved; those before them are no longer the latest. Inside a transaction.

    An ended one may also be complete: then the peer has lost its copy since, and begins to count anew.
    """
    over = OutgoingTransfer.objects.latest().filter(
        peer_name=order.peer_name, file__in=[key for key, _, _ in page], state__in=ENDED
    )
    given_up = over.filter(state__in=GIVEN_UP).order_by().values_list("file", "attempt", "spoilt_attempts")
    numbers = {file: (attempt, spoilt) for file, attempt, spoilt in given_up}
    over.update(is_latest=False, next_try_at=None)
    return [
        OutgoingTransfer(
            file_id=key,
            peer_name=order.peer_name,
            order=order,
            priority=order.priority,
            size_bytes=size_bytes,
            attempt=numbers.get(key, (0, 0))[0] + 1,
            spoilt_attempts=numbers.get(key, (0, 0))[1],
        )
        for key, _, size_bytes in page
    ]


def _choose_again(peers: dict[str, Peer], limit: int) -> int:
    """Next attempts of what persons asked for and is due, whether or not an order wants it too."""
    of_file = OuterRef("file")
    there = RemoteInstance.objects.filter(file=of_file, peer_name=OuterRef("peer_name"))
    due = (
        OutgoingTransfer.objects.latest()
        .filter(peer_name__in=peers, state__in=GIVEN_UP, next_try_at__lte=timezone.now())
        .exclude(asked_by="")
        .filter(Exists(Instance.objects.readable().filter(file=of_file)), ~Exists(there))
        .order_by("next_try_at")
    )
    chosen = 0
    while chosen < limit and (page := list(due[: min(PAGE, limit - chosen)])):
        try:
            with transaction.atomic():
                bulk_insert(next_attempts(page))
        except (LostRace, IntegrityError):
            break  # a person was at it this moment; the rest is due at the next run
        steps.passed("chosen")
        chosen += len(page)
    return chosen


def _note_problem(order: StandingOrder, problem: Exception) -> None:
    if isinstance(problem, ArchiveError):
        reason, remedy = problem.reason, problem.suggested_remedy
    else:
        reason = f"The database could not carry out its search: {problem}"
        remedy = "Write the search in another way; if it looks right, report it with the log of the job worker."
    reason = storable(reason, 2_000)
    StandingOrder.objects.filter(pk=order.pk).update(problem=reason, last_run_at=timezone.now())
    report_error(
        severity=Severity.ERROR,
        category=Category.CONFIGURATION,
        code="order_failed",
        message=f"The order {order.name} chose no files for {order.peer_name}: {reason}",
        remedy=remedy,
        caller=CALLER,
        target=order.name,
    )
