"""What is sent: a stream of known length that gives the same bytes again from any offset, hashed as it is read once.

Tar streams of directories and batches are in `tar_streams`. Nothing here knows of servers.
"""

import os
from collections.abc import Iterator

from hera_librarian.checksums import DEFAULT_ALGORITHM, Checksum, new_hasher
from hera_librarian.uploading.identity import file_identity
from hera_librarian.uploading.problems import LocalChanged, missing, unreadable

BLOCK_BYTES = 2**20


class Source:
    """One stream.

    Attributes
    ----------
    content : str
        What the stream is to the server: `file`, `directory` or `batch`.
    length_bytes : int
        Of the stream.
    size_bytes : int
        Of the product or products in it.
    identity : str
        Changes when the bytes may have changed.
    hashed_bytes : int
        How much of the stream, from its beginning, has been hashed.
    block_bytes : int
        Size of the blocks that it is read in.
    """

    content = "file"

    def __init__(self, *, length_bytes: int, size_bytes: int, identity: str) -> None:
        self.length_bytes = length_bytes
        self.size_bytes = size_bytes
        self.identity = identity
        self.hashed_bytes = 0
        self.block_bytes = BLOCK_BYTES
        self._stream = new_hasher(DEFAULT_ALGORITHM)

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        """Bytes `start` to `stop`, hashed where that has not been done; each block is only good until the next.

        Raises LocalProblem.
        """
        if start > self.hashed_bytes:
            raise ValueError(f"bytes {self.hashed_bytes} to {start} have not been hashed")
        position = start
        for block, part in self._read(start, stop):
            fresh = block[max(0, self.hashed_bytes - position) :]
            position += len(block)
            if fresh:
                self._hash(fresh, part)
                self.hashed_bytes = position
            yield block

    def catch_up(self, offset: int) -> None:
        """Hash what lies before `offset` and was sent by an earlier process."""
        if offset > self.hashed_bytes:
            for _ in self.blocks(self.hashed_bytes, offset):
                pass

    def checksum(self) -> str:
        """Checksum of the product, `xxh3:::<hex>`; known once everything is hashed. Empty if it has none."""
        return self.stream_checksum()

    def stream_checksum(self) -> str:
        """Checksum of the stream."""
        if self.hashed_bytes != self.length_bytes:
            raise ValueError(f"only {self.hashed_bytes} of {self.length_bytes} bytes have been hashed")
        return str(Checksum(DEFAULT_ALGORITHM, self._stream.hexdigest()))

    def check(self) -> None:
        """Raise LocalProblem unless the product is still the one that was looked at in the beginning."""
        raise NotImplementedError

    def _read(self, start: int, stop: int) -> Iterator[tuple[memoryview, int]]:
        """Blocks, each with the number of the part that it belongs to."""
        raise NotImplementedError

    def _hash(self, fresh: memoryview, part: int) -> None:
        self._stream.update(fresh)


class FileSource(Source):
    """A flat file on this disk."""

    def __init__(self, path: str) -> None:
        self.path = path
        seen = _look(path)
        super().__init__(length_bytes=seen.st_size, size_bytes=seen.st_size, identity=file_identity(seen))

    def check(self) -> None:
        if file_identity(_look(self.path)) != self.identity:
            raise LocalChanged(self.path)

    def _read(self, start: int, stop: int) -> Iterator[tuple[memoryview, int]]:
        for block in read_range(self.path, self.identity, start, stop, self.block_bytes):
            yield block, 0


class MemorySource(Source):
    """A small flat file, read into memory: a cut costs no second reading, and its checksum is known before it goes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.bytes = read_small(path)
        seen = _look(path)
        super().__init__(length_bytes=len(self.bytes), size_bytes=len(self.bytes), identity=file_identity(seen))
        self.catch_up(self.length_bytes)

    def check(self) -> None:
        """Nothing to check: the bytes are here."""

    def _read(self, start: int, stop: int) -> Iterator[tuple[memoryview, int]]:
        for at in range(start, stop, self.block_bytes):
            yield memoryview(self.bytes)[at : min(at + self.block_bytes, stop)], 0


def read_range(path: str, identity: str, start: int, stop: int, block_bytes: int = BLOCK_BYTES) -> Iterator[memoryview]:
    """Bytes of a file that must be the one of this identity, before and after. Raises LocalProblem."""
    buffer = memoryview(bytearray(min(block_bytes, max(stop - start, 1))))
    try:
        with open(path, "rb", buffering=0) as file:
            if file_identity(os.fstat(file.fileno())) != identity:
                raise LocalChanged(path)
            file.seek(start)
            while start < stop:
                count = file.readinto(buffer[: stop - start])
                if not count:
                    raise LocalChanged(path)  # cut short under our hands
                start += count
                if start == stop and file_identity(os.fstat(file.fileno())) != identity:
                    raise LocalChanged(path)
                yield buffer[:count]
    except OSError as problem:
        raise unreadable(path, problem) from problem


def read_small(path: str) -> bytes:
    """All bytes of a small file, which must not change meanwhile. Raises LocalProblem."""
    try:
        with open(path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            data = file.read(before.st_size + 1)
            while len(data) <= before.st_size and (more := file.read(before.st_size + 1 - len(data))):
                data += more
            if len(data) != before.st_size or file_identity(os.fstat(file.fileno())) != file_identity(before):
                raise LocalChanged(path)
            return data
    except OSError as problem:
        raise unreadable(path, problem) from problem


def _look(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as problem:
        raise unreadable(path, problem) from problem
