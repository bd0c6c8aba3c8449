"""Two sites compare where transfers stand: `checkin/update`, by which one tells the other, and `checkin/status`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hera_librarian.models.checkin import (
    CheckinStatusRequest,
    CheckinStatusResponse,
    CheckinUpdateRequest,
    CheckinUpdateResponse,
    TransferFailure,
)
from hera_librarian.transfer import TransferStatus
from librarian.common.errors import Conflict, rebuild_error
from librarian.common.inbox import report_error
from librarian.common.models import Category, Severity
from librarian.common.texts import storable
from network.models import GIVEN_UP, LIVE, IncomingTransfer, OutgoingTransfer, ReportState, TransferState
from network.services.hearing.words import (
    Caller,
    find_incoming,
    find_outgoing,
    give_up,
    is_carried,
    is_counterpart,
    move_incoming,
    note_failure_known,
)
from network.services.transfers import Retry, cancel_incoming, fail_outgoing

# What `checkin/update` may do to a transfer that its sender brings. Nobody but the receiver completes one.
SENDER_MOVES: dict[str, tuple[str, ...]] = {
    TransferState.INITIATED: (TransferState.ONGOING, TransferState.STAGED, *GIVEN_UP),
    TransferState.ONGOING: (TransferState.STAGED, *GIVEN_UP),
    TransferState.STAGED: GIVEN_UP,
}
# Failures after which the same bytes would fail again, until a person has done something.
HOPELESS = {"name_taken", "unsafe_product", "invalid_name", "invalid_checksum", "invalid_request", "too_large"}
CANCELLED = "cancelled"
REASON_CHARACTERS = 4000


@dataclass(slots=True)
class _Told:
    """What became of the transfers of one direction of an update."""

    modified: list[int] = field(default_factory=list)
    unmodified: list[int] = field(default_factory=list)

    def note(self, transfer_id: int, *, changed: bool) -> None:
        (self.modified if changed else self.unmodified).append(transfer_id)


def update_transfers(message: CheckinUpdateRequest, caller: Caller) -> CheckinUpdateResponse:
    """Set the state of transfers as the other site says, as far as it may; says why not for the others."""
    to, reasons = TransferState.from_wire(message.new_status), set[str]()
    outgoing = _update_outgoing(message, to, caller, reasons)
    incoming = _update_incoming(message, to, caller, reasons)
    return CheckinUpdateResponse(
        modified_source_transfer_ids=outgoing.modified,
        modified_destination_transfer_ids=incoming.modified,
        unmodified_source_transfer_ids=outgoing.unmodified,
        unmodified_destination_transfer_ids=incoming.unmodified,
        reasons=sorted(reasons),
    )


def _update_outgoing(message: CheckinUpdateRequest, to: TransferState, caller: Caller, reasons: set[str]) -> _Told:
    """What a receiver says of transfers that we send: that one failed or was cancelled, and nothing else."""
    told, rows = _Told(), find_outgoing(message.source_transfer_ids)
    for key in dict.fromkeys(message.source_transfer_ids):
        transfer = rows.get(key)
        problem = _objection(transfer, key, message, caller, direction="source")
        if problem is None and _is_repeat(transfer, to, message):
            told.note(key, changed=True)
            continue
        if problem is None and (to not in GIVEN_UP or not transfer.is_live):
            problem = _not_permitted(transfer.state, to)
        if problem is None and not _fail_as_told(transfer, to, message.failures.get(key)):
            problem = _not_permitted(transfer.state, to)
        told.note(key, changed=problem is None)
        reasons |= {problem} - {None}
    return told


def _fail_as_told(transfer: OutgoingTransfer, to: TransferState, failure: TransferFailure | None) -> bool:
    """Fail an outgoing transfer as its receiver says; False if it was moved meanwhile."""
    failure = failure or TransferFailure()
    if is_carried(transfer):
        return _note_vain_attempt(transfer, failure)
    retry = retry_after(failure, is_cancelled=to == TransferState.CANCELLED)
    failed = fail_outgoing(
        transfer,
        code=failure.code or "failed_at_peer",
        reason=failure.reason or f"{transfer.peer_name} could not take the file in, and gave no reason.",
        remedy=failure.suggested_remedy or f"The people of {transfer.peer_name} can see why.",
        retry=retry,
    )
    if failed:
        note_failure_known(transfer)
    return failed


def _note_vain_attempt(transfer: OutgoingTransfer, failure: TransferFailure) -> bool:
    """One attempt to take a file in from a disk failed; the disk is still there, and the attempt can be repeated."""
    said = failure.reason or "It gave no reason."
    fields = {
        "code": failure.code or "failed_at_peer",
        "reason": f"{transfer.peer_name} could not take it in from the disk. {said}",
        "remedy": f"Let librarian ingest-manifest be repeated at {transfer.peer_name}. If the copy on the disk is bad, "
        "cancel this transfer and retry it: then it is sent over the network.",
    }
    fields = {key: storable(text, 64 if key == "code" else REASON_CHARACTERS) for key, text in fields.items()}
    noted = OutgoingTransfer.objects.filter(pk=transfer.pk, state__in=LIVE).update(**fields)
    if noted:
        report_error(
            severity=Severity.WARNING,
            category=Category.TRANSFER,
            code="disk_file_refused",
            message=f"{transfer.file.name} on disk (shipment {transfer.shipment_id}): {fields['reason']}",
            remedy=fields["remedy"],
            caller="shipments",
            target=str(transfer.shipment_id),
        )
    return bool(noted)


def retry_after(failure: TransferFailure, *, is_cancelled: bool = False) -> Retry:
    """Whether a file is sent again after a failure at the receiver."""
    if is_cancelled or failure.code == CANCELLED or failure.code in HOPELESS:
        return Retry.NEVER
    return Retry.PASSING if failure.passing else Retry.AGAIN


def _update_incoming(message: CheckinUpdateRequest, to: TransferState, caller: Caller, reasons: set[str]) -> _Told:
    """What a sender says of transfers that it brings."""
    told, rows, wanted = _Told(), find_incoming(message.destination_transfer_ids), dict[int, IncomingTransfer]()
    for key in dict.fromkeys(message.destination_transfer_ids):
        transfer = rows.get(key)
        problem = _objection(transfer, key, message, caller, direction="destination")
        if problem is None and _is_repeat(transfer, to, message):
            told.note(key, changed=True)
            continue
        if problem is None and to not in SENDER_MOVES.get(transfer.state, ()):
            problem = _not_permitted(transfer.state, to)
        if problem is None:
            wanted[key] = transfer
            continue
        told.note(key, changed=False)
        reasons.add(problem)
    moved = _end_incoming(wanted, to, message, caller) if to in GIVEN_UP else move_incoming(wanted, to)
    for key, transfer in wanted.items():
        told.note(key, changed=key in moved)
        if key not in moved:
            reasons.add(_not_permitted(transfer.state, to))
    return told


def _end_incoming(
    wanted: dict[int, IncomingTransfer], to: TransferState, message: CheckinUpdateRequest, caller: Caller
) -> set[int]:
    """Fail or cancel transfers whose sender knows; returns those that were live."""
    ended = set()
    for key, transfer in wanted.items():
        failure = message.failures.get(key) or TransferFailure()
        if to == TransferState.CANCELLED:
            failure = TransferFailure(code=CANCELLED, reason=failure.reason or f"Cancelled at {caller.name}.")
            changed = _cancel(transfer, failure)
        else:
            changed = give_up(transfer, failure, caller)
        if changed:
            ended.add(key)
    return ended


def _cancel(transfer: IncomingTransfer, failure: TransferFailure) -> bool:
    try:
        cancel_incoming(transfer, by=transfer.account_name)
    except Conflict:
        transfer.refresh_from_db()
        return False
    IncomingTransfer.objects.filter(pk=transfer.pk).update(report=ReportState.DONE, reason=failure.reason)
    return True


def _objection(
    transfer: IncomingTransfer | OutgoingTransfer | None,
    key: int,
    message: CheckinUpdateRequest | CheckinStatusRequest,
    caller: Caller,
    *,
    direction: str,
) -> str | None:
    """Why the caller may not speak of a transfer, in the protocol's words."""
    if transfer is None or not is_counterpart(transfer, message.counterparts.get(key)):
        return f"No {direction} transfer with the appropriate ID was found."
    return None if caller.owns(transfer) else "You are not authorized to modify the transfer."


def _is_repeat(transfer: IncomingTransfer | OutgoingTransfer, to: TransferState, message: CheckinUpdateRequest) -> bool:
    """True if one of our kind says again what we know: confirmed. A foreign site is told that nothing was modified."""
    return transfer.state == to and transfer.pk in message.counterparts


def _not_permitted(state: str, to: TransferState) -> str:
    before, after = TransferState(state).on_wire.name, to.on_wire.name
    return f"Transition from TransferStatus.{before} to TransferStatus.{after} is not permitted."


# --- Where they stand: `checkin/status` -------------------------------------------------------------------------------


def tell_states(message: CheckinStatusRequest, caller: Caller) -> CheckinStatusResponse:
    """Where transfers stand, null for what is unknown or not the caller's; of failed ones also why."""
    failures: dict[int, TransferFailure] = {}

    def states(
        keys: Sequence[int], rows: dict[int, IncomingTransfer] | dict[int, OutgoingTransfer], direction: str
    ) -> dict[int, TransferStatus | None]:
        found: dict[int, TransferStatus | None] = {}
        for key in keys:
            transfer = rows.get(key)
            found[key] = None
            if _objection(transfer, key, message, caller, direction=direction) is None:
                found[key] = TransferState(transfer.state).on_wire
                if transfer.state in GIVEN_UP:
                    failures[key] = failure_of(transfer)
        return found

    sources, destinations = message.source_transfer_ids, message.destination_transfer_ids
    return CheckinStatusResponse(
        source_transfer_status=states(sources, find_outgoing(sources), "source"),
        destination_transfer_status=states(destinations, find_incoming(destinations), "destination"),
        failures=failures,
    )


def failure_of(transfer: IncomingTransfer | OutgoingTransfer) -> TransferFailure:
    """Why a transfer failed, as another site is told."""
    return TransferFailure(
        code=transfer.code,
        reason=transfer.reason,
        suggested_remedy=transfer.remedy,
        passing=rebuild_error(transfer.code, transfer.reason).passing,
    )
