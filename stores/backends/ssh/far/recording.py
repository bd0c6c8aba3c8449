"""Lines for the commit record as they come over a link: kept until all are here, so that a break tears no line."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from stores.backends.base import Member, RecordLine
from stores.backends.ssh import frames
from stores.backends.ssh.far.talk import Talk

_IN_MEMORY_BYTES = 16 * 2**20


@contextmanager
def collected(talk: Talk) -> Iterator[Iterator[tuple[RecordLine, Iterable[Member]]]]:
    """All lines with their members."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
        while True:
            kind, length = talk.take()
            payload = talk.payload(length)
            if kind == frames.END:
                break
            file.write(payload + b"\n")
        file.seek(0)
        yield _lines(file)


def _lines(file: IO[bytes]) -> Iterator[tuple[RecordLine, Iterable[Member]]]:
    """A product is an object; the lists behind it are members of it."""
    rows = _Rows(file)
    while rows.ahead is not None:
        facts = rows.take()
        yield RecordLine(facts["place"], facts["facts"]), _members(rows)


def _members(rows: "_Rows") -> Iterator[Member]:
    while isinstance(rows.ahead, list):
        for row in rows.take():
            yield Member(*row)


class _Rows:
    """One row a line, the next of which can be looked at."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.ahead: Any = None
        self.take()

    def take(self) -> Any:
        taken, line = self.ahead, self._file.readline()
        self.ahead = frames.unpacked(line) if line else None
        return taken
