"""Pinging the peers now and then, so that one that does not answer is known before files wait for it."""

import logging

from network.models import Peer
from network.services.peering.connections import check_peers

log = logging.getLogger(__name__)


def check_peers_in_turn() -> None:
    """Ping every peer that is switched on, also one that rests; all at once.

    What is found goes into the rows: a good answer ends a rest, and the fifth failure in a row reaches the inbox.
    """
    peers = list(Peer.objects.sending())
    found = check_peers(peers)
    for peer in peers:
        if problem := found[peer.pk]:
            log.warning("librarian %s: %s", peer.name, problem.reason)
