"""Entries of a directory product as they come over a link, for the posix store to write."""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any

from librarian.common.errors import StoreUnavailable
from stores.backends.base import TreeEntry
from stores.backends.ssh import frames
from stores.backends.ssh.far.talk import Incoming, Talk


class SentEntries:
    """Iterates over entries; the bytes of each are read before the next is taken.

    Attributes
    ----------
    is_over : bool
        True once the last entry has been taken.
    """

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.is_over = False

    def __iter__(self) -> Iterator[TreeEntry]:
        while True:
            kind, facts = self._talk.take_facts(frames.STEP, frames.END)
            if kind == frames.END:
                self.is_over = True
                return
            yield TreeEntry(facts["path"], facts["kind"], facts["target"], self._opener(facts))

    def _opener(self, facts: dict[str, Any]) -> Any:
        def open_entry() -> AbstractContextManager[IO[bytes]]:
            return self._bytes()

        return open_entry if facts["kind"] == "file" else None

    @contextmanager
    def _bytes(self) -> Iterator[IO[bytes]]:
        source = _Hashed(self._talk)
        yield source
        if source.seal != {"digest": source.hasher.hexdigest()}:
            raise StoreUnavailable("What arrived of a product's member is not what was sent.")


class _Hashed(Incoming):
    """A stream whose digest is taken as it is read."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(talk)
        self.hasher = hashlib.sha256()

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        self.hasher.update(block)
        return block
