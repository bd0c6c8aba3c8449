"""Copies that no store takes at present: their rows and the inbox say so, until one takes them."""

from collections.abc import Sequence

from django.db.models import QuerySet

from files.models import StoreCopy
from files.services.copying.outcomes import CALLER, NO_ROOM
from librarian.common.errors import ArchiveError, StoreFull
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity
from stores.models import Store
from stores.services import Room

FULL = StoreFull.code
REMEDY = "Free space, switch a store on or bring it back, or add another one; the copies go on by themselves."


def note_waiting(pile: QuerySet[StoreCopy], rooms: Sequence[Room]) -> None:
    """Say of due copies for which no store of their pile has room why they wait. They stay due: room may come soon."""
    largest = max((room.room_bytes for room in rooms if not room.refusal), default=0)
    without = pile.filter(size_bytes__gte=largest)
    reason = f"None of its stores takes it now: {'; '.join(_why(room) for room in rooms)}."
    if not without.exclude(code=NO_ROOM, reason=reason).order_by().update(code=NO_ROOM, reason=reason, remedy=REMEDY):
        return
    full = [room for room in rooms if not room.refusal]
    report_error(
        severity=Severity.WARNING,
        category=Category.STORE_FULL if full else Category.DATA_AVAILABILITY,
        code="copies_wait",
        message=f"Copies wait since none of their stores takes them: {'; '.join(_in_figures(room) for room in rooms)}.",
        remedy=REMEDY,
        caller=CALLER,
        target=_names(rooms),
    )


def note_taking_store(store: Store, rooms: Sequence[Room], copied: Sequence[StoreCopy]) -> None:
    """A store took copies: it is not full, its pile does not wait, and a store before it that could not is named."""
    clear_matching(code=NO_ROOM, caller=CALLER, target=_names(rooms), cleared_by="a copy")
    clear_matching(code=FULL, caller=CALLER, target=store.name, cleared_by="a copy")
    for room in rooms:
        if room.store.pk == store.pk:
            return
        if not room.refusal and not room.takes(min(copy.size_bytes for copy in copied)):
            _report_full(room.store, f"It has room for {room.room_bytes} bytes; copies go to {store.name} instead.")


def note_full_store(store: Store, trouble: ArchiveError) -> None:
    """A store refused bytes in spite of what was measured."""
    if isinstance(trouble, StoreFull):
        _report_full(store, trouble.reason)


def _report_full(store: Store, sentence: str) -> None:
    report_error(
        severity=Severity.WARNING,
        category=Category.STORE_FULL,
        code="store_full",
        message=f"Store {store.name} is full for the copies that it is to take. {sentence}",
        remedy="Nothing need be done for a disk that is to travel: carry it away. Else free space, raise its "
        "fullness limit or add another store.",
        caller=CALLER,
        target=store.name,
    )


def _why(room: Room) -> str:
    return f"{room.store.name} {room.why_not or 'is full'}"


def _in_figures(room: Room) -> str:
    return f"{room.store.name} {room.refusal or f'has room for {room.room_bytes} bytes'}"


def _names(rooms: Sequence[Room]) -> str:
    return ", ".join(room.store.name for room in rooms)
