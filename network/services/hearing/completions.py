"""What a receiver says of files that we sent it: that they are verified and kept. Compared with ours where possible."""

from collections.abc import Sequence

from files.services.uploads import is_declared_same
from hera_librarian.models.clone import CloneCompletion, CloneCompletionAnswer
from librarian.common import steps
from librarian.common.errors import ArchiveError, ContentMismatch
from librarian.common.inbox import report_error
from librarian.common.models import Category, Severity
from network.models import OutgoingTransfer, TransferState
from network.services.hearing.words import (
    Caller,
    NoSuchTransfer,
    WrongTransferState,
    find_outgoing,
    is_carried,
    is_counterpart,
    note_failure_known,
)
from network.services.transfers import Retry, complete_many, fail_outgoing

CALLER = "transfers"


class PeerHoldsOtherBytes(ContentMismatch):
    code = "peer_holds_other_bytes"
    remedy = "People of both sites compare the file there with the one here; it is sent again."


def note_completion(transfer_id: int, counterpart: int, caller: Caller, *, store_id: int) -> None:
    """The peer has verified and kept the file of an outgoing transfer. Raises NoSuchTransfer, WrongTransferState.

    `counterpart` is the peer's own id of it, or -1 from an administrator who closes a transfer by hand.
    """
    transfer = OutgoingTransfer.objects.filter(pk=transfer_id).select_related("file").first()
    by_hand = counterpart == -1 and caller.is_admin
    is_known = transfer is not None and (by_hand or is_counterpart(transfer, counterpart))
    if not is_known or not caller.owns(transfer):
        raise NoSuchTransfer("Could not find transfer.")
    _refuse_unsent(transfer)
    complete_many([(transfer, store_id)])
    steps.passed("completion_noted")


def _refuse_unsent(transfer: OutgoingTransfer) -> None:
    if transfer.state == TransferState.INITIATED:
        raise WrongTransferState("Transfer is not in ONGOING or STAGED status.")


def note_completions(completions: Sequence[CloneCompletion], caller: Caller) -> list[CloneCompletionAnswer]:
    """The same for many, each compared with our file; an answer for each, in their order."""
    transfers = find_outgoing(each.source_transfer_id for each in completions)
    answers, arrived = [], {}
    for said in completions:
        transfer = transfers.get(said.source_transfer_id)
        try:
            _check_completion(said, transfer, caller)
        except ArchiveError as error:
            answers.append(_answer_to(said, error))
        else:
            arrived.setdefault(transfer.peer_name, []).append((transfer, said.store_id))
            answers.append(_answer_to(said))
    for of_one_peer in arrived.values():
        complete_many(of_one_peer)
    steps.passed("completion_noted")
    return answers


def _check_completion(said: CloneCompletion, transfer: OutgoingTransfer | None, caller: Caller) -> None:
    if transfer is None or not is_counterpart(transfer, said.destination_transfer_id) or not caller.owns(transfer):
        raise NoSuchTransfer("Could not find transfer.")
    _refuse_unsent(transfer)
    file = transfer.file
    if said.digest != file.digest or is_declared_same(file, said.checksum, said.size) is False:
        error = PeerHoldsOtherBytes(
            f"{transfer.peer_name} says that it keeps {file.name} with {said.size} bytes, {said.checksum} and the "
            f"digest {said.digest}; here it has {file.size_bytes} bytes, {file.checksum} and {file.digest}."
        )
        _refuse_lie(transfer, error)
        raise error


def _refuse_lie(transfer: OutgoingTransfer, error: ArchiveError) -> None:
    """A copy with other bytes is no copy: the transfer fails, and people learn of it at once.

    What a disk carries goes on: whoever took in something else under its id has not taken in the file.
    """
    fields = {"code": error.code, "reason": error.reason, "remedy": error.suggested_remedy}
    if not is_carried(transfer) and fail_outgoing(transfer, **fields, retry=Retry.AGAIN):
        note_failure_known(transfer)
    report_error(
        severity=Severity.ERROR,
        category=Category.DATA_INTEGRITY,
        code=error.code,
        message=error.reason,
        remedy=error.suggested_remedy,
        caller=CALLER,
        target=f"{transfer.peer_name} {transfer.file_id}",
    )


def _answer_to(said: CloneCompletion, error: ArchiveError | None = None) -> CloneCompletionAnswer:
    return CloneCompletionAnswer(
        source_transfer_id=said.source_transfer_id,
        destination_transfer_id=said.destination_transfer_id,
        accepted=error is None,
        code=error.code if error else "",
        reason=error.reason if error else "",
        suggested_remedy=error.suggested_remedy if error else "",
    )
