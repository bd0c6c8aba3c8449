"""Every peer, by what the floor of the network can tell."""

from collections.abc import Iterator

from librarian.common.errors import NotFound
from librarian.common.findings import Look
from librarian.doctor.scope import Scope
from network.models import Peer
from network.services.peering.examining import looks_at


def examine(scope: Scope) -> Iterator[Look]:
    """The looks at each. Raises NotFound for a name that no peer has."""
    peers = list(Peer.objects.order_by("name"))
    if unknown := sorted(set(scope.peers) - {peer.name for peer in peers}):
        raise NotFound(f"There is no Librarian called {', '.join(unknown)}.")
    for peer in peers:
        if not scope.peers or peer.name in scope.peers:
            yield from looks_at(peer, quick=scope.quick)
