"""Reads of peers shaped for pages and endpoints."""

from librarian.common.badges import Badge
from librarian.common.errors import ArchiveError
from network.models import Peer
from network.services import check_peers

STATES: dict[str, Badge] = {
    "unknown": Badge("not tried yet", "quiet", "Nobody has called it since it was added."),
    "answers": Badge("answers", "good", "Our latest call went well."),
    "failing": Badge("does not answer", "bad", "Our latest call failed; the reason stands beside it."),
}


def state_of(peer: Peer) -> str:
    """Which of STATES our latest call found."""
    return {None: "unknown", True: "answers", False: "failing"}[peer.answers]


def peers_asked(*, ask: bool) -> list[tuple[Peer, bool | None, ArchiveError | None]]:
    """Every peer by name, whether it answers (None when nobody asked), and why not."""
    peers = list(Peer.objects.order_by("name"))
    if not ask:
        return [(peer, None, None) for peer in peers]
    found = check_peers(peers)
    return [(peer, found[peer.pk] is None, found[peer.pk]) for peer in peers]
