"""What a person wants examined."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """All of the site, or only some stores and peers; `quick` leaves out what writes or goes over third machines."""

    stores: Sequence[str] = ()
    peers: Sequence[str] = ()
    quick: bool = False

    def wants(self, examination: str) -> bool:
        """True if an examination is wanted: all of them where no store and no peer is named."""
        if not self.stores and not self.peers:
            return True
        return (examination == "stores" and bool(self.stores)) or (examination == "peers" and bool(self.peers))
