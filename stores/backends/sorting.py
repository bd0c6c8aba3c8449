"""Sorting and keeping more than memory should hold: sorted runs and records spill into temporary files."""

import heapq
import os
import tempfile
from collections.abc import Iterator
from typing import IO

from stores.backends.base import Member

_RUN = 50_000
_BLOCK_BYTES = 256 * 1024


class SortedLines:
    """Byte strings without newlines, given back in sorted order; more than a run of them waits in a file."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._runs: list[tuple[int, int]] = []

    def add(self, line: bytes) -> None:
        """Keep one more."""
        self._lines.append(line)
        if len(self._lines) >= _RUN:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="librarian-sort-")  # noqa: SIM115  closed with us
        self._lines.sort()
        start = self._file.tell()
        self._file.writelines(line + b"\n" for line in self._lines)
        self._runs.append((start, self._file.tell()))
        self._lines = []

    def __iter__(self) -> Iterator[bytes]:
        """All of them in order. Add no more afterwards."""
        self._lines.sort()
        if self._file is None:
            return iter(self._lines)
        self._file.flush()
        runs = [_separated(self._file, b"\n", start, end) for start, end in self._runs]
        return heapq.merge(*runs, self._lines)


class MemberRecords:
    """The members of a directory product in the very form that its tree digest is taken of, on disk when many.

    Iterating gives members; it may be done more than once.
    """

    IN_MEMORY_BYTES = 2**20

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(self.IN_MEMORY_BYTES)  # noqa: SIM115  closed with us
        self._size = 0
        self.count = 0

    def add(self, record: bytes) -> None:
        """Append one record, `f <size> <sha256hex> <path>\\0` or `d <path>\\0`."""
        self._size += self._file.write(record)
        self.count += 1

    def __iter__(self) -> Iterator[Member]:
        for record in _separated(self._file, b"\0", 0, self._size):
            kind, rest = record[:1], record[2:]
            if kind == b"d":
                yield Member("empty_directory", rest.decode())
            else:
                size, digest, path = rest.split(b" ", 2)
                yield Member("file", path.decode(), int(size), digest.decode())


def _separated(file: IO[bytes], separator: bytes, start: int, end: int) -> Iterator[bytes]:
    """Records between two offsets; keeps its own offset, so that several may read one file in turn."""
    rest, offset = b"", start
    while offset < end:
        block = _read_at(file, offset, min(_BLOCK_BYTES, end - offset))
        if not block:
            raise OSError("a temporary file lost its end")
        offset += len(block)
        *records, rest = (rest + block).split(separator)
        yield from records


def _read_at(file: IO[bytes], offset: int, length: int) -> bytes:
    if getattr(file, "_rolled", True):
        file.flush()
        return os.pread(file.fileno(), length, offset)
    file.seek(offset)
    block = file.read(length)
    file.seek(0, os.SEEK_END)
    return block
