"""Transfers of both directions in one shape, for lists in which they stand side by side."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from files.models import File
from librarian.common.badges import Badge
from network.labels import INCOMING, Standing, incoming_standing, outgoing_badge, outgoing_standing
from network.models import GIVEN_UP, IncomingTransfer, OutgoingTransfer, Peer, QueueState, TransferState

OUT, IN = "out", "in"
DIRECTIONS = [(OUT, "to other sites"), (IN, "from other sites")]


class _Progress:
    """How much of a transfer is there, as `x%` of a bar."""

    @property
    def size_bytes(self) -> int:
        return self.transfer.size_bytes

    @property
    def moved_width(self) -> str | None:
        if self.moved_bytes is None:
            return None
        share = min(1.0, self.moved_bytes / self.size_bytes) if self.size_bytes else 1.0
        return f"{100 * share:.1f}%"


@dataclass(frozen=True)
class OutgoingRow(_Progress):
    """A transfer to a peer, with the peer (None when it was removed)."""

    transfer: OutgoingTransfer
    peer: Peer | None

    direction = OUT

    @property
    def name(self) -> str:
        return self.transfer.file.name

    @property
    def file(self) -> File | None:
        return self.transfer.file

    @property
    def site(self) -> str:
        return self.transfer.peer_name

    @property
    def badge(self) -> Badge:
        return outgoing_badge(self.transfer)

    @property
    def standing(self) -> Standing:
        return outgoing_standing(self.transfer, self.peer)

    @property
    def reason(self) -> str:
        return self.transfer.reason or self._of_batch("reason")

    @property
    def remedy(self) -> str:
        return self.transfer.remedy if self.transfer.reason else self._of_batch("remedy")

    @property
    def moved_bytes(self) -> int | None:
        """Bytes that are there; None before any could be."""
        transfer = self.transfer
        if transfer.state in (TransferState.STAGED, TransferState.COMPLETED):
            return transfer.size_bytes
        return transfer.sent_bytes if transfer.sent_bytes or transfer.state == TransferState.ONGOING else None

    @property
    def rate_bytes_per_second(self) -> float | None:
        """Of the batch that it is part of, while that is sent."""
        return self.transfer.queue_item.rate_bytes_per_second if self.is_moving else None

    @property
    def seconds_left(self) -> float | None:
        """Until its whole batch is there, estimated."""
        return self.transfer.queue_item.seconds_left if self.is_moving else None

    @property
    def is_moving(self) -> bool:
        batch = self.transfer.queue_item
        return self.transfer.is_live and batch is not None and batch.state == QueueState.SENDING

    @property
    def may_retry(self) -> bool:
        return self.transfer.state in GIVEN_UP and self.transfer.is_latest

    @property
    def may_cancel(self) -> bool:
        return self.transfer.is_live

    def _of_batch(self, field: str) -> str:
        """Why the batch waits, while the transfer does."""
        batch = self.transfer.queue_item
        return getattr(batch, field) if batch is not None and self.transfer.is_live else ""


@dataclass(frozen=True)
class IncomingRow(_Progress):
    """A transfer from another site, with the peer (None when it is none)."""

    transfer: IncomingTransfer
    peer: Peer | None

    direction = IN
    rate_bytes_per_second = None
    seconds_left = None
    may_retry = False

    @property
    def name(self) -> str:
        return self.transfer.name

    @property
    def file(self) -> File | None:
        return self.transfer.file

    @property
    def site(self) -> str:
        return self.transfer.peer_name or self.transfer.account_name

    @property
    def badge(self) -> Badge:
        return INCOMING[self.transfer.state]

    @property
    def standing(self) -> Standing:
        return incoming_standing(self.transfer, self.peer)

    @property
    def reason(self) -> str:
        return self.transfer.reason

    @property
    def remedy(self) -> str:
        return self.transfer.remedy

    @property
    def moved_bytes(self) -> int | None:
        """Bytes that are here; None while nobody counts them (a provider that does not come through us)."""
        transfer = self.transfer
        if transfer.state in (TransferState.STAGED, TransferState.COMPLETED):
            return transfer.size_bytes
        upload = transfer.upload
        return upload.offset_bytes if upload is not None and upload.offset_bytes else None

    @property
    def is_moving(self) -> bool:
        return self.transfer.state == TransferState.ONGOING

    @property
    def may_cancel(self) -> bool:
        return self.transfer.is_live


TransferRow = OutgoingRow | IncomingRow


def rows_of(transfers: Iterable[OutgoingTransfer | IncomingTransfer]) -> list[TransferRow]:
    """Transfers with their peers: one query, however many they are."""
    peers = Peer.objects.in_bulk(field_name="name")
    return [row_of(transfer, peers) for transfer in transfers]


def row_of(transfer: OutgoingTransfer | IncomingTransfer, peers: Mapping[str, Peer]) -> TransferRow:
    """A transfer with its peer, out of all peers by name."""
    if isinstance(transfer, OutgoingTransfer):
        return OutgoingRow(transfer, peers.get(transfer.peer_name))
    return IncomingRow(transfer, peers.get(transfer.peer_name or transfer.account_name))
