"""The states of a transfer, with the wire's numbers, and which may follow which."""

from django.db import models

from hera_librarian.transfer import TransferStatus


class TransferState(models.TextChoices):
    """Where a transfer stands; the words of the wire.

    initiated -> ongoing -> staged -> completed
    initiated | ongoing | staged -> failed | cancelled

    A sender moves its outgoing transfer to ongoing and staged as the bytes go, and to completed when the receiver calls
    back (or when it finds the same bytes there). A receiver moves its incoming transfer to ongoing and staged when the
    sender says so, and to completed by taking the bytes in. Either may fail its own; a person may cancel one.
    """

    INITIATED = "initiated", "waiting"
    ONGOING = "ongoing", "sending"
    STAGED = "staged", "being checked"
    COMPLETED = "completed", "arrived"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def on_wire(self) -> TransferStatus:
        """The wire's number of this state."""
        return TransferStatus[self.name]

    @classmethod
    def from_wire(cls, status: TransferStatus) -> "TransferState":
        """The state of a number of the wire."""
        return cls[TransferStatus(status).name]


LIVE = (TransferState.INITIATED, TransferState.ONGOING, TransferState.STAGED)
ENDED = (TransferState.COMPLETED, TransferState.FAILED, TransferState.CANCELLED)
GIVEN_UP = (TransferState.FAILED, TransferState.CANCELLED)

MOVES: dict[str, set[str]] = {
    TransferState.INITIATED: {TransferState.ONGOING, TransferState.STAGED, *ENDED},
    TransferState.ONGOING: {TransferState.STAGED, *ENDED},
    TransferState.STAGED: set(ENDED),
    TransferState.COMPLETED: set(),
    TransferState.FAILED: set(),
    TransferState.CANCELLED: set(),
}
