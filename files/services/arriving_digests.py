"""Digests of streams that arrive in pieces, kept by this process from one piece to the next.

They count only where one process saw every byte of a stream; whoever does not find them here reads the bytes once
when they are complete. A few hundred streams are remembered, the latest ones.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from hera_librarian.checksums import new_hasher

_KEPT = 256


@dataclass(slots=True)
class ArrivingDigests:
    """Hashers, by algorithm, that have seen the first `seen_bytes` of a stream."""

    hashers: dict[str, Any]
    seen_bytes: int = 0

    def hexdigests(self) -> dict[str, str]:
        """Digest of what was seen, by algorithm."""
        return {algorithm: hasher.hexdigest() for algorithm, hasher in self.hashers.items()}


class _Kept:
    def __init__(self) -> None:
        self._by_upload: OrderedDict[int, ArrivingDigests] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, upload_id: int) -> ArrivingDigests | None:
        with self._lock:
            return self._by_upload.pop(upload_id, None)

    def put(self, upload_id: int, digests: ArrivingDigests) -> None:
        with self._lock:
            self._by_upload[upload_id] = digests
            while len(self._by_upload) > _KEPT:
                self._by_upload.popitem(last=False)


_kept = _Kept()


def take_digests(upload_id: int, *, at_bytes: int, algorithms: list[str]) -> ArrivingDigests | None:
    """The digests of the first `at_bytes` of an upload, if this process saw them all; nobody else gets them now."""
    if at_bytes == 0:
        _kept.take(upload_id)
        return ArrivingDigests({algorithm: new_hasher(algorithm) for algorithm in algorithms})
    found = _kept.take(upload_id)
    return found if found is not None and found.seen_bytes == at_bytes else None


def keep_digests(upload_id: int, digests: ArrivingDigests) -> None:
    """Remember them for the next piece."""
    _kept.put(upload_id, digests)
