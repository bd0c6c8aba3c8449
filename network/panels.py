"""What pages of lower floors show of the network."""

from typing import Any

from files.models import File
from network.models import LIVE, Peer, TransferState
from network.queries import incoming_for_list, outgoing_for_list
from network.rows import row_of

LATEST = 10


def ways_of(file: File) -> dict[str, Any]:
    """Copies at other sites, and what is on its way there, for the page of a file from `files_in_detail`."""
    peers = Peer.objects.in_bulk(field_name="name")
    remote = sorted(file.remote_instances.all(), key=lambda copy: (copy.peer_name, copy.peer_store_id))
    there = {copy.peer_name for copy in remote}
    unfinished = outgoing_for_list().latest().filter(file=file).exclude(state=TransferState.COMPLETED)
    sending = [row for row in unfinished.order_by("peer_name")[:LATEST] if row.is_live or row.peer_name not in there]
    coming = incoming_for_list().filter(name=file.name, state__in=LIVE).order_by("-pk")[:LATEST]
    busy = {row.peer_name for row in sending if row.is_live}
    return {
        "file": file,
        "remote": [(copy, copy.peer_name in peers) for copy in remote],
        "rows": [row_of(transfer, peers) for transfer in (*sending, *coming)],
        "peers": [name for name in sorted(peers) if name not in there | busy],
    }
