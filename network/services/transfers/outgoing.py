"""The sender's transfers: completed, failed, cancelled, tried again."""

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from files.models import RemoteInstance
from files.services.events import append_event
from librarian.common.errors import Conflict, LostRace
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity
from network.models import GIVEN_UP, LIVE, OutgoingTransfer, TransferState
from network.services.transfers.moves import failure_fields, move_transfer
from network.services.transfers.remote_copies import Copy, note_remote_instances
from network.services.transfers.retries import INBOX_FROM_ATTEMPT, Retry, is_given_up, pause

INBOX_CODE = "transfer_failed"
CALLER = "transfers"


class TransferOver(Conflict):
    code = "transfer_over"
    remedy = "Look at its present state; what has ended stays as it ended."


def complete_outgoing(transfer: OutgoingTransfer, *, peer_store_id: int) -> bool:
    """Note that the peer holds the file. Returns True if the transfer was completed by it, False if it had ended.

    One that was given up stays so: an answer that came late still tells of a copy.
    """
    return bool(complete_many([(transfer, peer_store_id)]))


def complete_many(arrived: Sequence[tuple[OutgoingTransfer, int]]) -> int:
    """The same for many transfers to one peer, each with the peer's store id, all or none; how many were completed.

    The transfers must have been read with their file.
    """
    if not arrived:
        return 0
    arrived = list({transfer.pk: (transfer, store_id) for transfer, store_id in reversed(arrived)}.values())
    peer_name = arrived[0][0].peer_name
    keys = [transfer.pk for transfer, _ in arrived]
    now = timezone.now()
    with transaction.atomic():
        completed = OutgoingTransfer.objects.filter(pk__in=keys, state__in=LIVE).update(
            state=TransferState.COMPLETED,
            changed_at=now,
            finished_at=now,
            code="",
            reason="",
            remedy="",
        )
        note_remote_instances(_copies_to_note(arrived, peer_name), peer_name=peer_name)
        for transfer, _ in arrived:
            if transfer.attempt >= INBOX_FROM_ATTEMPT or transfer.asked_by:
                clear_matching(code=INBOX_CODE, caller=CALLER, target=_target(transfer), cleared_by="the file arrived")
    for transfer, _ in arrived:
        transfer.refresh_from_db(fields=["state", "changed_at", "finished_at", "code", "reason", "remedy"])
    return completed


def _copies_to_note(arrived: Sequence[tuple[OutgoingTransfer, int]], peer_name: str) -> list[Copy]:
    """The copies that completions tell of. A transfer that had ended tells of one more only where none is noted.

    Else a peer could fill the history of a file for ever, by naming another store each time.
    """
    over = [transfer.file_id for transfer, _ in arrived if not transfer.is_live]
    noted = set(
        RemoteInstance.objects.filter(peer_name=peer_name, file__in=over).values_list("file", "peer_store_id")
        if over
        else ()
    )
    full = {file_id for file_id, _ in noted}
    return [
        (transfer.file, store_id)
        for transfer, store_id in arrived
        if transfer.file_id not in full or (transfer.file_id, store_id) in noted
    ]


def fail_outgoing(
    transfer: OutgoingTransfer, *, code: str, reason: str, remedy: str = "", retry: Retry = Retry.PASSING
) -> bool:
    """End an attempt with its reason, and say when the file is tried again. False if it had been moved already.

    What nobody tries again by himself, and what has failed often, goes into the inbox.
    """
    fields = failure_fields(code=code, reason=reason, remedy=remedy)
    spoilt = transfer.spoilt_attempts + (retry is Retry.AGAIN)
    given_up = is_given_up(spoilt, retry)
    next_try_at = None if given_up else timezone.now() + pause(transfer.attempt)
    try:
        with transaction.atomic():
            move_transfer(transfer, to=TransferState.FAILED, next_try_at=next_try_at, spoilt_attempts=spoilt, **fields)
            if given_up:
                facts = {"peer": transfer.peer_name, "code": fields["code"], "reason": fields["reason"]}
                append_event(file=transfer.file, type="transfer_failed", actor=transfer.peer_name, facts=facts)
            if given_up or transfer.attempt >= INBOX_FROM_ATTEMPT:
                _tell_people(transfer, given_up=given_up)
    except (LostRace, Conflict):
        transfer.refresh_from_db()
        return False
    return True


def _tell_people(transfer: OutgoingTransfer, *, given_up: bool) -> None:
    when = "It is not sent again by itself." if given_up else f"It was attempt {transfer.attempt}; it is tried again."
    report_error(
        severity=Severity.ERROR if given_up else Severity.WARNING,
        category=Category.TRANSFER,
        code=INBOX_CODE,
        message=f"{transfer.file.name} did not get to {transfer.peer_name}: {transfer.reason} {when}",
        remedy=f"{transfer.remedy} Then retry the transfer on the Transfers page.".strip(),
        caller=CALLER,
        target=_target(transfer),
    )


def _target(transfer: OutgoingTransfer) -> str:
    return f"{transfer.peer_name} {transfer.file_id}"


def cancel_outgoing(transfer: OutgoingTransfer, *, by: str) -> None:
    """Give an attempt up because a person wants it; the file is not chosen again. Raises TransferOver, LostRace."""
    _refuse_ended(transfer)
    fields = failure_fields(
        code="cancelled", reason=f"Cancelled by {by}.", remedy="Retry it if it is wanted after all."
    )
    with transaction.atomic():
        move_transfer(transfer, to=TransferState.CANCELLED, **fields)
        facts = {"peer": transfer.peer_name}
        append_event(file=transfer.file, type="transfer_cancelled", actor=by, facts=facts)


def _refuse_ended(transfer: OutgoingTransfer) -> None:
    if not transfer.is_live:
        raise TransferOver(f"Transfer {transfer.pk} has {transfer.get_state_display()} already.")


def retry_outgoing(transfer: OutgoingTransfer, *, by: str) -> OutgoingTransfer:
    """A new attempt because a person wants it now. Raises TransferOver for one that is not given up, LostRace."""
    if transfer.state not in GIVEN_UP or not transfer.is_latest:
        raise TransferOver(
            f"Transfer {transfer.pk} is not one that waits to be tried again.",
            remedy="Only the latest attempt for a file and peer, once failed or cancelled, can be tried again.",
        )
    with transaction.atomic():
        new = next_attempts([transfer], asked_by=by)[0]
        new.save(force_insert=True)
        clear_matching(code=INBOX_CODE, caller=CALLER, target=_target(transfer), cleared_by=by)
    return new


def next_attempts(given_up: Sequence[OutgoingTransfer], *, asked_by: str = "") -> list[OutgoingTransfer]:
    """Rows, unsaved, of the attempts after these, which are no longer the latest. Inside a transaction.

    Raises LostRace if somebody else made the next attempt of one of them; nothing may be kept then. A wish of a person
    begins to count anew.
    """
    keys = [transfer.pk for transfer in given_up]
    moved = OutgoingTransfer.objects.filter(pk__in=keys, is_latest=True, state__in=GIVEN_UP).update(
        is_latest=False, next_try_at=None
    )
    if moved != len(keys):
        raise LostRace("Somebody else has tried one of these files again.")
    return [
        OutgoingTransfer(
            file_id=old.file_id,
            peer_name=old.peer_name,
            order_id=old.order_id,
            asked_by=asked_by or old.asked_by,
            priority=old.priority,
            size_bytes=old.size_bytes,
            attempt=1 if asked_by else old.attempt + 1,
            spoilt_attempts=0 if asked_by else old.spoilt_attempts,
        )
        for old in given_up
    ]
