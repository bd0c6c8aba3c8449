"""What a sender says of one transfer that it brings us: ongoing, staged, given up; and who may speak of which.

Every word is about a transfer of the account that speaks, or is spoken by an administrator; about anything else the
answer is that there is no such transfer. Saying a thing twice is harmless: it is answered as the first time. Words
about many transfers are `comparing`, those of a receiver `completions`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from hera_librarian.models.checkin import TransferFailure
from librarian.common import steps
from librarian.common.errors import Conflict, NotFound
from librarian.common.jobs import BY_SCHEDULE, queue_job
from network.models import GIVEN_UP, IncomingTransfer, OutgoingTransfer, TransferState
from network.services.transfers import fail_incoming

NUDGE_SECONDS = 30  # the job's own cadence
PIECE = 10_000  # ids in one statement


class NoSuchTransfer(NotFound):
    code = "no_such_transfer"
    remedy = "Use the ids of the answer to clone/stage, with the account that staged the transfer."


class WrongTransferState(Conflict):
    code = "wrong_transfer_state"
    status = HTTPStatus.NOT_ACCEPTABLE
    remedy = "Ask with checkin/status where the transfer stands."


@dataclass(frozen=True, slots=True)
class Caller:
    """Who speaks: the account, which bears the name of the site that uses it."""

    name: str
    is_admin: bool = False

    def owns(self, transfer: IncomingTransfer | OutgoingTransfer) -> bool:
        """True if the caller may move the transfer."""
        owner = transfer.account_name if isinstance(transfer, IncomingTransfer) else transfer.peer_name
        return self.is_admin or owner == self.name


# --- One transfer at a time: the sender speaks ------------------------------------------------------------------------


def note_ongoing(transfer_id: int, source_id: int, caller: Caller) -> None:
    """The bytes of an incoming transfer are on their way. Raises NoSuchTransfer, WrongTransferState."""
    transfer = _incoming(transfer_id, source_id, caller)
    if transfer.state == TransferState.INITIATED:
        move_incoming({transfer.pk: transfer}, TransferState.ONGOING)
        transfer.refresh_from_db()
    if transfer.state in (TransferState.INITIATED, *GIVEN_UP):
        raise WrongTransferState("Transfer is not in INITIATED status.")


def note_staged(transfer_id: int, source_id: int, caller: Caller) -> None:
    """The bytes of an incoming transfer are all in staging. Raises NoSuchTransfer, WrongTransferState."""
    transfer = _incoming(transfer_id, source_id, caller)
    if transfer.state == TransferState.ONGOING:
        move_incoming({transfer.pk: transfer}, TransferState.STAGED)
        transfer.refresh_from_db()
    if transfer.state not in (TransferState.STAGED, TransferState.COMPLETED):
        raise WrongTransferState("Transfer is not in ONGOING status.")


def note_given_up(transfer_id: int, source_id: int, caller: Caller, *, reason: str) -> None:
    """The sender gives an incoming transfer up; what has arrived stays. Raises NoSuchTransfer, WrongTransferState."""
    try:
        transfer = _incoming(transfer_id, source_id, caller)
    except NoSuchTransfer:
        raise NoSuchTransfer(f"Could not find transfer with ID {transfer_id}.") from None
    if not give_up(transfer, TransferFailure(reason=reason), caller) and transfer.state == TransferState.COMPLETED:
        raise WrongTransferState(f"Transfer {transfer_id} is complete: the file is here and stays.")


def _incoming(transfer_id: int, source_id: int, caller: Caller) -> IncomingTransfer:
    transfer = IncomingTransfer.objects.filter(pk=transfer_id, source_transfer_id=source_id).first()
    if transfer is None or not caller.owns(transfer):
        raise NoSuchTransfer("Could not find transfer.")
    return transfer


def give_up(transfer: IncomingTransfer, failure: TransferFailure, caller: Caller) -> bool:
    """Fail a transfer whose sender knows; False if it had ended.

    Of what a person takes in from a disk, the site that packed the disk does not know: it is told.
    """
    return transfer.is_live and fail_incoming(
        transfer,
        code=failure.code or "given_up_by_sender",
        reason=failure.reason or f"{caller.name} gave the transfer up.",
        remedy=failure.suggested_remedy,
        report=transfer.peer_name != transfer.account_name,
    )


# --- For words about one or many --------------------------------------------------------------------------------------


def move_incoming(wanted: Mapping[int, IncomingTransfer], to: TransferState) -> set[int]:
    """Move transfers on, in one transaction; returns those that are there now. Rows are locked in one order."""
    moved: set[int] = set()
    for keys in in_pieces(sorted(wanted)):
        moved |= _move_some({key: wanted[key] for key in keys}, to)
    return moved


def _move_some(wanted: dict[int, IncomingTransfer], to: TransferState) -> set[int]:
    now = timezone.now()
    changes = {"changed_at": now, "next_check_at": None, "code": "", "reason": "", "remedy": ""}
    if to == TransferState.STAGED:
        changes["staged_at"] = now
    with transaction.atomic():
        list(IncomingTransfer.objects.select_for_update().filter(pk__in=wanted).order_by("pk").values_list("pk"))
        for state in {transfer.state for transfer in wanted.values()}:
            keys = [key for key, transfer in wanted.items() if transfer.state == state]
            IncomingTransfer.objects.filter(pk__in=keys, state=state).update(state=to, **changes)
        moved = set(IncomingTransfer.objects.filter(pk__in=wanted, state=to).values_list("pk", flat=True))
        if to == TransferState.STAGED and moved:
            _nudge(list(moved))
    if to == TransferState.STAGED:
        steps.passed("staged_noted")
    return moved


def _nudge(staged: Sequence[int]) -> None:
    """Have staged transfers taken in at once, unless a run for others that were just staged is coming anyway."""
    just_now = timezone.now() - timedelta(seconds=NUDGE_SECONDS)
    others = IncomingTransfer.objects.receivable().filter(staged_at__gt=just_now).exclude(pk__in=staged)
    if not others.exists():
        queue_job("receive_transfers", trigger=BY_SCHEDULE)


def note_failure_known(transfer: OutgoingTransfer) -> None:
    """Note that the peer need not be told of a failure: it has told us, or learns of it by our answer."""
    OutgoingTransfer.objects.filter(pk=transfer.pk, state=TransferState.FAILED).update(told_state=TransferState.FAILED)


def is_counterpart(transfer: IncomingTransfer | OutgoingTransfer, other_id: int | None) -> bool:
    """True unless the other side's id of a transfer is given, and is another one.

    Then a restored database has given one of the two ids out anew: the word is about a transfer that is no more. Of
    what a disk carries we know no such id: the other side makes one each time that it begins to take the disk in.
    """
    if other_id is None or is_carried(transfer):
        return True
    known = transfer.source_transfer_id if isinstance(transfer, IncomingTransfer) else transfer.remote_transfer_id
    return known == other_id


def is_carried(transfer: IncomingTransfer | OutgoingTransfer) -> bool:
    """True for an outgoing transfer whose bytes travel on a disk."""
    return isinstance(transfer, OutgoingTransfer) and transfer.shipment_id is not None


def find_incoming(keys: Iterable[int]) -> dict[int, IncomingTransfer]:
    """Incoming transfers by id."""
    return _by_id(IncomingTransfer.objects.all(), keys)


def find_outgoing(keys: Iterable[int]) -> dict[int, OutgoingTransfer]:
    """Outgoing transfers by id, with their files."""
    return _by_id(OutgoingTransfer.objects.select_related("file"), keys)


def _by_id(rows: QuerySet, keys: Iterable[int]) -> dict[int, Any]:
    return {row.pk: row for piece in in_pieces(sorted(set(keys))) for row in rows.filter(pk__in=piece)}


def in_pieces(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    """Ids in as many pieces as a statement of either database can name at once."""
    return (keys[start : start + PIECE] for start in range(0, len(keys), PIECE))
