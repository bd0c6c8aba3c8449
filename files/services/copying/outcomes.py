"""How an attempt at a copy ended: done, tried again later, failed until a person wants it again, given up.

The row of a copy that arrived becomes DONE with its instance, in files/services/registration.py; one that turns out to
be there already becomes so here.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from files.models import CopyState, StoreCopy
from librarian.common.errors import ArchiveError, Conflict, StoreUnavailable
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity
from librarian.common.retries import Retry, is_given_up, pause
from librarian.common.texts import storable

CALLER = "job:copy_files"
INBOX_CODE = "copy_failed"
NO_ROOM = "copies_wait"  # code of copies that no store takes at present
NO_LONGER_WANTED = "no_longer_wanted"  # code of those that were given up because what wanted them is over
WAIT = timedelta(minutes=5)  # for a store that is away, or another process: as long as stores are not measured anew


class CopyOver(Conflict):
    code = "copy_over"
    remedy = "Look at its present state; what has ended stays as it ended."


class BytesChanged(ArchiveError):
    """What lies at the other end is not what was read here, and the source is good."""

    code = "copy_spoilt"
    remedy = "It is copied again by itself; if this repeats, look after the disk and the line of the store named."


class CopyNotMade(ArchiveError):
    """A mistake of ours."""

    code = "copy_not_made"
    remedy = "Report this with the log of the job worker."


class AllCopiesBad(ArchiveError):
    """No copy of the file is left that could be copied."""

    code = "no_good_copy"
    remedy = "Repair or bring back a copy of the file, then retry this one."


def settle(copy: StoreCopy, error: ArchiveError, *, claim: str, wait: timedelta = WAIT) -> bool:
    """Write down why a claimed copy was not made and when it is tried again; False if somebody else has it now.

    `wait` is for what passes by itself; what brought other bytes waits longer each time, and is given up in the end.
    """
    retry = _kind_of(error)
    attempts = copy.attempts + (retry is not Retry.PASSING)
    given_up = is_given_up(attempts, retry)
    said = {
        "code": error.code,
        "reason": storable(error.reason, 2_000),
        "remedy": storable(error.suggested_remedy, 2_000),
        "attempts": attempts,
    }
    now = timezone.now()
    if given_up:
        said |= {"finished_at": now}
    else:
        said |= {"next_try_at": now + (wait if retry is Retry.PASSING else pause(attempts))}
    with transaction.atomic():
        moved = held(claim).filter(pk=copy.pk)
        if not moved.update(**released(CopyState.FAILED if given_up else CopyState.WANTED), **said):
            return False
        if given_up:
            _tell_people(copy, error)
    return True


def note_fault(copy: StoreCopy, fault: Exception) -> None:
    """Write down that a copy was not made by a mistake of ours, of which nobody holds the claim any more."""
    error = CopyNotMade(storable(f"Copying {copy.file.name} failed: {type(fault).__name__}: {fault}", 2_000))
    attempts = copy.attempts + 1
    given_up = is_given_up(attempts, Retry.AGAIN)
    said = {"code": error.code, "reason": error.reason, "remedy": error.suggested_remedy, "attempts": attempts}
    with transaction.atomic():
        waiting = StoreCopy.objects.filter(pk=copy.pk, state=CopyState.WANTED)
        if given_up and waiting.update(**ended_fields(CopyState.FAILED), **said):
            _tell_people(copy, error)
        elif not given_up:
            waiting.update(next_try_at=timezone.now() + pause(attempts), **said)


def _kind_of(error: ArchiveError) -> Retry:
    if error.passing or isinstance(error, StoreUnavailable):
        return Retry.PASSING
    return Retry.AGAIN


def put_back(copies: Sequence[StoreCopy], *, claim: str, wait: timedelta = timedelta()) -> int:
    """Let claimed copies wait as before, without a word against them."""
    keys = [copy.pk for copy in copies]
    return held(claim).filter(pk__in=keys).update(**released(CopyState.WANTED), next_try_at=timezone.now() + wait)


def note_there_already(copies: Iterable[tuple[StoreCopy, int]], *, states: Sequence[str]) -> int:
    """Close copies whose file is on one of their stores by now, each with that store; how many those are."""
    closed = 0
    for copy, store_id in copies:
        fields = ended_fields(CopyState.DONE) | {"store_id": store_id, "code": "", "reason": "", "remedy": ""}
        closed += StoreCopy.objects.filter(pk=copy.pk, state__in=states).update(**fields)
        tell_well(copy)
    return closed


def held(claim: str) -> QuerySet[StoreCopy]:
    """Copies that are being made under a claim."""
    return StoreCopy.objects.filter(state=CopyState.COPYING, claim=claim)


def released(state: str) -> dict[str, Any]:
    """Columns of a copy that nobody makes at present."""
    return {
        "state": state,
        "claim": "",
        "claim_until": None,
        "upload": None,
        "store": None,
        "copied_bytes": 0,
        "changed_at": timezone.now(),
    }


def ended_fields(state: str) -> dict[str, Any]:
    """Columns of a copy that is over."""
    now = timezone.now()
    return {"state": state, "claim": "", "claim_until": None, "finished_at": now, "changed_at": now}


def tell_well(copy: StoreCopy) -> None:
    """Close what was reported of a copy that has ended well, or is wanted no more."""
    if copy.attempts:
        clear_matching(code=INBOX_CODE, caller=CALLER, target=target_of(copy), cleared_by="the copy")


def target_of(copy: StoreCopy) -> str:
    """How reports name a copy."""
    return f"{copy.group} {copy.file_id}"


def _tell_people(copy: StoreCopy, error: ArchiveError) -> None:
    report_error(
        severity=Severity.ERROR,
        category=Category.DATA_AVAILABILITY,
        code="copy_failed",
        message=f"{copy.file.name} was not copied for {copy.group}: {error.reason} It is not copied again by itself.",
        remedy=f"{error.suggested_remedy} Then retry it on the Copies page.",
        caller=CALLER,
        target=target_of(copy),
    )
