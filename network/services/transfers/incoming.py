"""The receiver's transfers: taken in, failed, cancelled, each with the report that is due to the sender."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from files.models import File, Upload, UploadState
from files.services.uploads import fail_upload, is_in_place
from librarian.common.errors import ArchiveError, Conflict, LostRace
from network.models import IncomingTransfer, ReportState, TransferState
from network.services.transfers.moves import failure_fields, move_transfer
from network.services.transfers.outgoing import TransferOver

# A foreign sender writes its own state only after our answer, and over a completion that came in between (rule 9 of
# the wire reference): it hears of it some seconds later.
FOREIGN_PATIENCE = timedelta(seconds=5)


def complete_incoming(taken_in: Sequence[tuple[IncomingTransfer, File, int]]) -> int:
    """Complete transfers, each with its file and the id of our store that holds it, in one transaction.

    One that has ended meanwhile (its sender gave it up) stays so; the file is here all the same. Returns how many.
    """
    done = 0
    with transaction.atomic():
        for transfer, file, store_id in taken_in:
            changes = {"file": file, "store_id_told": store_id, "next_try_at": None, "code": "", "reason": ""}
            try:
                move_transfer(
                    transfer, to=TransferState.COMPLETED, remedy="", **changes, **_report(transfer, is_wanted=True)
                )
                done += 1
            except (LostRace, Conflict):
                continue
    return done


def fail_incoming(
    transfer: IncomingTransfer,
    *,
    error: ArchiveError | None = None,
    code: str = "",
    reason: str = "",
    remedy: str = "",
    report: bool = True,
    kept_aside_at: str = "",
) -> bool:
    """End a transfer with its reason, give its upload up, and let its sender be told unless it knows.

    False if it had been moved already.
    """
    if error is not None:
        code, reason, remedy = error.code, error.reason, error.suggested_remedy
    fields = failure_fields(code=code, reason=reason, remedy=remedy)
    return _end(transfer, TransferState.FAILED, fields, is_reported=report, kept_aside_at=kept_aside_at)


def cancel_incoming(transfer: IncomingTransfer, *, by: str) -> None:
    """Refuse a transfer because a person wants it; the sender is told that it failed. Raises TransferOver, LostRace."""
    if not transfer.is_live:
        raise TransferOver(f"Transfer {transfer.pk} has {transfer.get_state_display()} already.")
    fields = failure_fields(
        code="cancelled",
        reason=f"Cancelled by {by} at the receiving site.",
        remedy="Ask the people of that site, then retry the transfer.",
    )
    if not _end(transfer, TransferState.CANCELLED, fields, is_reported=True):
        raise LostRace(f"Transfer {transfer.pk} was moved by somebody else.")


def _end(
    transfer: IncomingTransfer,
    state: TransferState,
    fields: dict[str, Any],
    *,
    is_reported: bool,
    kept_aside_at: str = "",
) -> bool:
    report = _report(transfer, is_wanted=is_reported)
    try:
        move_transfer(transfer, to=state, next_try_at=None, kept_aside_at=kept_aside_at, **fields, **report)
    except (LostRace, Conflict):
        transfer.refresh_from_db()
        return False
    _give_upload_up(transfer)
    return True


def _report(transfer: IncomingTransfer, *, is_wanted: bool) -> dict[str, Any]:
    """Columns of the report that is due, or of none when the sender knows or there is nobody to be told."""
    if not is_wanted:
        return {"report": ReportState.DONE}
    if not transfer.peer_name:
        return {"report": ReportState.GIVEN_UP, "report_problem": "Its sender is no Librarian that this site knows."}
    if transfer.source_transfer_id < 0:
        return {
            "report": ReportState.GIVEN_UP,
            "report_problem": "A disk brought it, without a transfer of its sender.",
        }
    return {"report": ReportState.DUE, "next_report_at": _earliest_report(transfer)}


def _earliest_report(transfer: IncomingTransfer) -> datetime:
    now = timezone.now()
    if transfer.is_foreign and transfer.staged_at is not None:
        return max(now, transfer.staged_at + FOREIGN_PATIENCE)
    return now


def _give_upload_up(transfer: IncomingTransfer) -> None:
    """Free the room of a transfer that ended. Bytes that have their place already are finished by the sweeper."""
    upload = Upload.objects.select_related("store").filter(pk=transfer.upload_id, state=UploadState.STAGED).first()
    if upload is None or upload.claim:
        return
    try:
        if not is_in_place(upload):
            fail_upload(upload, error=_ended(transfer))
    except ArchiveError:
        pass  # the store is away: the upload expires


def _ended(transfer: IncomingTransfer) -> ArchiveError:
    error = ArchiveError(transfer.reason or "Its transfer has ended.", remedy=transfer.remedy or None)
    error.code = transfer.code or "transfer_failed"
    return error
