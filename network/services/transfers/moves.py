"""One move of one transfer, of either side."""

from typing import Any

from django.utils import timezone

from librarian.common.moves import move
from librarian.common.texts import storable
from network.models import ENDED, IncomingTransfer, OutgoingTransfer, TransferState

REASON_CHARACTERS = 4000


def move_transfer(transfer: OutgoingTransfer | IncomingTransfer, *, to: TransferState, **changes: Any) -> None:
    """Move a transfer together with `changes`; its times follow.

    Raises Conflict for a move that is not allowed, LostRace when somebody else moved it first; nothing is changed then.
    """
    now = timezone.now()
    changes = {"changed_at": now, **changes}
    if to in ENDED:
        changes["finished_at"] = now
    if to == TransferState.STAGED and isinstance(transfer, IncomingTransfer):
        changes["staged_at"] = now
    move(transfer, to=to, **changes)


def failure_fields(*, code: str, reason: str, remedy: str) -> dict[str, Any]:
    """Columns that say why a transfer failed. Some of it was said by another site: bounded, and fit to be kept."""
    return {
        "code": storable(code, 64) or "transfer_failed",
        "reason": storable(reason, REASON_CHARACTERS) or "No reason was given.",
        "remedy": storable(remedy, REASON_CHARACTERS),
    }
