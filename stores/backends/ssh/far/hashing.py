"""Stands in for the xxhash package where the far host has none: the near end computes that digest from the same bytes.

Every byte then crosses the line once, so that a host that is read often should have the package.
"""

import itertools
import sys
from types import ModuleType

from stores.backends.ssh import frames
from stores.backends.ssh.far.talk import Talk


def supply_xxhash(talk: Talk) -> bool:
    """Make `import xxhash` work; returns True if the package itself is there."""
    try:
        import xxhash

        if hasattr(xxhash, "xxh3_128"):
            return True
    except ImportError:
        pass  # which is what we are here for
    numbers = itertools.count()

    class Forwarding:
        """Has the hasher's methods that our code uses."""

        def __init__(self, data: bytes = b"") -> None:
            self._name = frames.HASHER.pack(next(numbers) & 0xFFFFFFFF)
            self.update(data)

        def update(self, data: bytes | memoryview) -> None:
            if len(data):
                talk.tell(frames.HASH, self._name, data)

        def hexdigest(self) -> str:
            return str(talk.ask({"hasher": frames.HASHER.unpack(self._name)[0]}))

    module = ModuleType("xxhash")
    module.xxh3_128 = Forwarding  # type: ignore[attr-defined]
    sys.modules["xxhash"] = module
    return False
