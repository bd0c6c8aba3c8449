"""The job that makes copies: what is due, pile by pile, a few files at a time, each to the first store that takes it.

A *pile* is what waits for the same stores in the same order. Piles take turns, so that a large one keeps no other
waiting. One process at a time fills a store, which its lease holds: two would fill two disks half.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from files.models import CopyState, StoreCopy
from files.services.claims import claimed_until, new_claim
from files.services.copying.batches import CopyBatch
from files.services.copying.claims import CopyClaim, recover_dead
from files.services.copying.destinations import (
    Standing,
    choose_batch,
    pick,
    reserve,
    rooms_on,
    standing_of,
    why_barred,
)
from files.services.copying.outcomes import WAIT, held, note_fault, note_there_already, put_back, settle
from files.services.copying.sources import sources_of
from files.services.copying.waiting import note_full_store, note_taking_store, note_waiting
from librarian.common import steps
from librarian.common.jobtable import BOX_GRACE_SECONDS
from librarian.common.leases import acquire
from stores.models import Store
from stores.services import Room, measure_store

log = logging.getLogger(__name__)
JOB = "copy_files"
BATCH_FILES = 256
BATCH_BYTES = 2**30
TURN_SECONDS = 60.0
RUN_SECONDS = 15 * 60.0  # then whatever else waits for the cluster has its turn
BOX_SECONDS = 5 * 3600.0  # of the job: one file may be large
MOST_PILES = 100


def copy_files(*, limit: int = 100_000, seconds: float = RUN_SECONDS) -> dict[str, int]:
    """Make the copies that are due.

    Parameters
    ----------
    limit : int
        Of copies made in one run.
    seconds : float
        After which nothing new is begun.

    Returns
    -------
    dict
        How many were copied, were there already, failed for now or for good, and were found left by a dead process.
    """
    run = _Run(limit, seconds)
    run.recovered = recover_dead()
    moved = True
    while moved and run.goes_on:
        moved = any([run.take_turn(targets) for targets in _piles()])  # noqa: C419 - every pile has its turn
    return run.summary


def _piles() -> list[list[int]]:
    """Lists of stores that copies wait for, the most urgent first, then the oldest."""
    due = StoreCopy.objects.due().order_by().values("targets")
    piles = due.annotate(urgency=Max("priority"), oldest=Min("pk")).order_by("-urgency", "oldest")
    return [pile["targets"] for pile in piles[:MOST_PILES]]


class _Run:
    """One run of the job: what it did, and which stores it found not to take anything more."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.left = limit
        self.ends_at = time.monotonic() + seconds
        self.copied = self.there = self.failed = self.recovered = 0
        self.refusing: dict[int, float] = {}  # store -> until when, by the monotonic clock
        self.suspects: set[int] = set()  # copies of a batch that a fault of ours ended: made one by one

    @property
    def goes_on(self) -> bool:
        return self.left > 0 and time.monotonic() < self.ends_at

    @property
    def summary(self) -> dict[str, int]:
        return {
            "copied": self.copied,
            "there_already": self.there,
            "failed": self.failed,
            "recovered": self.recovered,
        }

    def take_turn(self, targets: list[int]) -> bool:
        """Work at one pile for a while; True if anything of it moved."""
        until = time.monotonic() + TURN_SECONDS
        note_waiting(_due(targets), self._rooms(targets))
        moved = False
        while self.goes_on and time.monotonic() < until and self._make_some(targets):
            moved = True
        return moved

    # --- One batch ---

    def _make_some(self, targets: list[int]) -> bool:
        rooms = self._rooms(targets)
        page = _page(_due(targets), rooms, min(BATCH_FILES, self.left))
        if not page:
            note_waiting(_due(targets), rooms)
            return False
        standing = standing_of([copy.file_id for copy in page], targets)
        page, settled = self._settle_without_bytes(page, rooms, standing)
        if not page:
            return settled
        room, chosen = choose_batch(page, rooms, standing)
        if self.suspects.intersection(copy.pk for copy in chosen):
            chosen = chosen[:1]
        return self._fill(room, rooms, chosen) or settled

    def _rooms(self, targets: Sequence[int]) -> list[Room]:
        rooms = rooms_on(targets)
        for room in rooms:
            if self.refusing.get(room.store.pk, 0) > time.monotonic() and not room.refusal:
                room.refusal = room.why_not = "takes nothing at present"
        return rooms

    def _settle_without_bytes(
        self, page: list[StoreCopy], rooms: Sequence[Room], standing: Standing
    ) -> tuple[list[StoreCopy], bool]:
        """Close what is there already, and put off what no store can take for a reason of its own."""
        there = [(copy, standing.sound[copy.file_id][0]) for copy in page if copy.file_id in standing.sound]
        self.there += note_there_already(there, states=[CopyState.WANTED])
        going, barred = [], []
        for copy in page:
            if copy.file_id not in standing.sound:
                fits = pick(rooms, copy, standing.held.get(copy.file_id, set()))
                (going if fits else barred).append(copy)
        for copy in _claim(barred, new_claim()):
            self.failed += settle(copy, why_barred(copy, rooms, standing), claim=copy.claim)
        return going, bool(there or barred)

    def _fill(self, room: Room, rooms: Sequence[Room], chosen: Sequence[StoreCopy]) -> bool:
        """Copy to one store, unless another process fills it; True if anything of it moved."""
        with _turn_at(room.store) as is_mine:
            if not is_mine:
                return False
            copies = _claim(chosen, token := new_claim())
            steps.passed("copies_claimed")
            try:
                return self._deliver(room.store, rooms, copies, token)
            finally:
                put_back(copies, claim=token)  # a claim that nobody works on keeps a copy waiting

    def _deliver(self, store: Store, rooms: Sequence[Room], copies: list[StoreCopy], token: str) -> bool:
        sources = sources_of([copy.file for copy in copies])
        readable = []
        for copy in copies:
            if sources[copy.file_id].readable:
                readable.append(copy)
            else:
                self.failed += settle(copy, sources[copy.file_id].refusal(copy.file), claim=token)
        reserved = reserve(readable, store=store, sources=sources, claim=token)
        steps.passed("intent")
        batch = CopyBatch(store, reserved, sources, CopyClaim(token))
        faulty = bool(reserved) and not self._make(batch, [copy for copy, _ in reserved])
        self._take_stock(batch, rooms)
        return bool(batch.copied or batch.failed or batch.trouble or faulty or len(readable) < len(copies))

    def _make(self, batch: CopyBatch, copies: Sequence[StoreCopy]) -> bool:
        """Make a batch; False if a fault of ours ended it. One copy must not keep the others waiting for ever."""
        try:
            batch.make()
        except (OperationalError, InterfaceError):
            raise
        except Exception as fault:
            log.exception("copying to %s failed", batch.store)
            self.suspects.update(copy.pk for copy in copies)
            if len(copies) == 1:
                self.failed += 1
                note_fault(copies[0], fault)
            return False
        return True

    def _take_stock(self, batch: CopyBatch, rooms: Sequence[Room]) -> None:
        self.copied += len(batch.copied)
        self.failed += batch.failed
        self.left -= len(batch.copied)
        if batch.trouble is not None:
            self.refusing[batch.store.pk] = time.monotonic() + WAIT.total_seconds()
            note_full_store(batch.store, batch.trouble)
            measure_store(batch.store)
            return
        if batch.copied:
            note_taking_store(batch.store, rooms, batch.copied)


def _due(targets: Sequence[int]) -> QuerySet[StoreCopy]:
    return StoreCopy.objects.due().filter(targets=targets)


def _page(pile: QuerySet[StoreCopy], rooms: Sequence[Room], size: int) -> list[StoreCopy]:
    """The next copies that some store of the pile has room for, so many and so large as are copied at a time."""
    largest = max((room.room_bytes for room in rooms if not room.refusal), default=0)
    page, size_bytes = [], 0
    for copy in pile.filter(size_bytes__lt=largest).select_related("file")[:size]:
        size_bytes += copy.size_bytes
        if page and size_bytes > BATCH_BYTES:
            break
        page.append(copy)
    return page


def _claim(copies: Sequence[StoreCopy], token: str) -> list[StoreCopy]:
    """Take copies that still wait; those that somebody else took meanwhile are left out."""
    if not copies:
        return []
    taking = {"state": CopyState.COPYING, "claim": token, "claim_until": claimed_until(), "changed_at": timezone.now()}
    waiting = StoreCopy.objects.filter(pk__in=[copy.pk for copy in copies], state=CopyState.WANTED)
    if not waiting.update(**taking):
        return []
    mine = set(held(token).values_list("pk", flat=True))
    taken = [copy for copy in copies if copy.pk in mine]
    for copy in taken:
        for name, value in taking.items():
            setattr(copy, name, value)
    return taken


@contextmanager
def _turn_at(store: Store) -> Iterator[bool]:
    """Yield True while no other process fills this store, or False if one that is alive does."""
    lease = acquire(job=JOB, target=f"store {store.name}", seconds=BOX_SECONDS + BOX_GRACE_SECONDS)
    try:
        yield lease is not None
    finally:
        if lease is not None:
            lease.release()
