"""What is wanted on our stores: rows of copies made, given up and wanted again. None of them moves a byte."""

from collections.abc import Iterable, Sequence
from itertools import islice

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts.models import User
from files.models import COPY_LIVE, CopyState, File, Instance, StoreCopy
from files.services.copying.outcomes import (
    CALLER,
    INBOX_CODE,
    NO_LONGER_WANTED,
    CopyOver,
    target_of,
)
from files.services.copying.sources import BAD
from librarian.common.audit import record_act
from librarian.common.bulk import bulk_insert
from librarian.common.errors import InvalidRequest, NotFound
from librarian.common.inbox import clear_matching
from librarian.common.moves import move
from stores.models import Store

BATCH = 500
CANCELLED = "cancelled"  # code of what a person gave up: no order and no offload wants it again by itself
GIVEN_UP = Q(state=CopyState.FAILED) | Q(state=CopyState.CANCELLED, code=CANCELLED)


def want_copies(
    *, file_ids: Iterable[int], targets: Sequence[int], group: str, asked_by: str = "", priority: int = 0
) -> int:
    """Want each file on the first of these stores that takes it; returns how many copies are to be made for it.

    A file is left out that is on one of the stores, or that the group wants already. What failed for good, or was given
    up by a person, is wanted again only where a person asks.

    Parameters
    ----------
    file_ids : iterable of int
        Any number; they are looked at in portions.
    targets : sequence of int
        Ids of stores, in the order in which they are filled.
    group : str
        What wants them: `order:<id>`, `offload:<id>` or `person:<name>`.
    asked_by : str
        Account of the person who wants them, if one does.
    priority : int
        Those of a higher number are copied first.

    Raises
    ------
    InvalidRequest, NotFound
        The stores are none, or not ours; nothing is wanted then.
    """
    wanted = check_targets(targets)
    keys = iter(file_ids)
    made = 0
    while portion := list(dict.fromkeys(islice(keys, BATCH))):
        made += _want(portion, wanted, group, asked_by, priority)
    return made


def check_targets(targets: Sequence[int]) -> list[int]:
    """The ids of stores, each once. Raises InvalidRequest for none, NotFound for one that is no store of ours."""
    wanted = list(dict.fromkeys(targets))
    if not wanted or not all(isinstance(key, int) for key in wanted):
        raise InvalidRequest("Copies need the ids of the stores that may take them.", remedy="Name at least one store.")
    known = set(Store.objects.filter(pk__in=wanted).values_list("pk", flat=True))
    if missing := [key for key in wanted if key not in known]:
        raise NotFound(f"There is no store with the id {missing[0]}.", remedy="The Stores page lists every store.")
    return wanted


def not_yet_wanted(files: QuerySet[File], *, targets: Sequence[int], group: str, asked: bool = False) -> QuerySet[File]:
    """Those of `files` that are on none of the stores, and that the group neither wants yet nor shall leave alone."""
    of_file = OuterRef("pk")
    there = Instance.objects.present().filter(file=of_file, store__in=targets).exclude(condition__in=BAD)
    rows = StoreCopy.objects.of_group(group).filter(file=of_file)
    kept_back = Q(state__in=COPY_LIVE) if asked else Q(state__in=COPY_LIVE) | GIVEN_UP
    return files.filter(~Exists(there), ~Exists(rows.filter(kept_back)))


def cancel_copy(copy: StoreCopy, *, actor: User | None, address: str = "") -> None:
    """Give up a copy that waits or has failed; its group does not want it again by itself.

    Raises CopyOver for one that is being made at this moment or has ended, LostRace.
    """
    if CopyState.CANCELLED not in StoreCopy.MOVES[copy.state]:
        raise CopyOver(f"This copy of {copy.file.name} is {copy.state}: it cannot be cancelled.")
    by = actor.get_username() if actor is not None else "the command line"
    said = {"code": CANCELLED, "reason": f"Cancelled by {by}.", "remedy": "Ask for it again if it is wanted after all."}
    with transaction.atomic():
        move(copy, to=CopyState.CANCELLED, **_ended_without_store(), **said)
        record_act(actor=actor, action="cancel_copy", subject=_subject(copy), address=address)
        _clear(copy, by)


def retry_copy(copy: StoreCopy, *, actor: User | None, address: str = "") -> None:
    """Try a copy again now: one that failed, or one that waits for a later time.

    Raises CopyOver for one that has ended otherwise or is being made, LostRace.
    """
    if copy.state not in (CopyState.FAILED, CopyState.WANTED):
        raise CopyOver(f"This copy of {copy.file.name} is {copy.state}: there is nothing to try again.")
    by = actor.get_username() if actor is not None else "the command line"
    fresh = {"attempts": 0, "next_try_at": timezone.now(), "code": "", "reason": "", "remedy": ""}
    try:
        with transaction.atomic():
            if copy.state == CopyState.FAILED:
                move(copy, to=CopyState.WANTED, finished_at=None, changed_at=timezone.now(), **fresh)
            else:
                StoreCopy.objects.filter(pk=copy.pk, state=CopyState.WANTED).update(**fresh)
            record_act(actor=actor, action="retry_copy", subject=_subject(copy), address=address)
            _clear(copy, by)
    except IntegrityError:
        raise CopyOver(f"{copy.group} wants a copy of {copy.file.name} again already.") from None


def cancel_group(group: str, *, because: str) -> int:
    """Give up what waits or has failed of an order or offload that is over; returns how many that are.

    What is being copied at this moment is finished.
    """
    said = {"code": NO_LONGER_WANTED, "reason": because, "remedy": ""}
    with transaction.atomic():
        waiting = StoreCopy.objects.of_group(group).filter(state__in=[CopyState.WANTED, CopyState.FAILED])
        for copy in waiting.filter(state=CopyState.FAILED):
            _clear(copy, because)
        return waiting.update(state=CopyState.CANCELLED, **_ended_without_store(), **said)


# --- Rows -------------------------------------------------------------------------------------------------------------


def _want(keys: list[int], targets: list[int], group: str, asked_by: str, priority: int) -> int:
    try:
        with transaction.atomic():
            return _make(keys, targets, group, asked_by, priority)
    except IntegrityError:  # the group wanted one of them at this moment
        with transaction.atomic():
            return _make(keys, targets, group, asked_by, priority)


def _make(keys: list[int], targets: list[int], group: str, asked_by: str, priority: int) -> int:
    wanted = not_yet_wanted(File.objects.filter(pk__in=keys), targets=targets, group=group, asked=bool(asked_by))
    sizes = dict(wanted.values_list("pk", "size_bytes"))
    if asked_by:
        _give_way(group, sizes)
    rows = [
        StoreCopy(
            file_id=key, group=group, asked_by=asked_by, targets=targets, priority=priority, size_bytes=sizes[key]
        )
        for key in keys
        if key in sizes
    ]
    bulk_insert(rows)
    return len(rows)


def _give_way(group: str, keys: Iterable[int]) -> None:
    """What a person wants again replaces what failed before."""
    before = StoreCopy.objects.of_group(group).filter(file__in=list(keys), state=CopyState.FAILED)
    for copy in before:
        _clear(copy, "a new wish")
    before.update(
        state=CopyState.CANCELLED, code=NO_LONGER_WANTED, reason="It was wanted anew.", **_ended_without_store()
    )


def _ended_without_store() -> dict[str, object]:
    now = timezone.now()
    return {"finished_at": now, "changed_at": now}


def _clear(copy: StoreCopy, by: str) -> None:
    clear_matching(code=INBOX_CODE, caller=CALLER, target=target_of(copy), cleared_by=by)


def _subject(copy: StoreCopy) -> str:
    return f"copy of {copy.file.name} for {copy.group}"
