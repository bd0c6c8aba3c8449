"""Whom we trade with."""

from network.models.peer import PEER_NAME, Peer

__all__ = ["PEER_NAME", "Peer"]
