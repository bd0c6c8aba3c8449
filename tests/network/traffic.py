"""Builders of transfers for tests of pages and endpoints: each takes what the test cares about."""

from typing import Any

from django.utils import timezone

from files.models import File
from network.models import ENDED, IncomingTransfer, OutgoingTransfer, QueueState, SendQueueItem, TransferState
from tests.make import make_file


def make_outgoing(file: File | None = None, *, peer: str = "nrao", **fields: Any) -> OutgoingTransfer:
    """A transfer to a peer, waiting unless told otherwise."""
    file = file or make_file()
    ended = {"finished_at": timezone.now()} if fields.get("state") in ENDED else {}
    why = {"reason": "The line broke."} if fields.get("state") == TransferState.FAILED else {}
    return OutgoingTransfer.objects.create(
        file=file, peer_name=peer, size_bytes=file.size_bytes, **{**ended, **why, **fields}
    )


def make_incoming(name: str = "zen.in.uvh5", *, account: str = "nrao", **fields: Any) -> IncomingTransfer:
    """A transfer from another site, waiting unless told otherwise."""
    ended = {"finished_at": timezone.now()} if fields.get("state") in ENDED else {}
    why = {"reason": "The bytes differ."} if fields.get("state") == TransferState.FAILED else {}
    defaults = {
        "peer_name": account,
        "source": account,
        "uploader": "correlator",
        "source_transfer_id": 7,
        "destination": name,
        "size_bytes": 1000,
        "checksum": "md5:::" + 32 * "0",
    }
    return IncomingTransfer.objects.create(account_name=account, name=name, **{**defaults, **ended, **why, **fields})


def make_batch(*, peer: str = "nrao", **fields: Any) -> SendQueueItem:
    """A batch that is being sent."""
    defaults = {
        "state": QueueState.SENDING,
        "claim": "host:1",
        "provider": "rsync",
        "size_bytes": 4000,
        "sent_bytes": 1000,
        "rate_bytes_per_second": 100.0,
        "attempts": 1,
    }
    return SendQueueItem.objects.create(peer_name=peer, **{**defaults, **fields})
