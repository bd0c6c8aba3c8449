"""One pass over a stream: read, hash by several algorithms, and write, at the same time and in bounded memory.

Small streams are handled in place, where threads would cost more than they bring. For large ones each algorithm has a
thread (the hashing libraries release the interpreter lock), blocks go round in a fixed number of buffers, and what was
written goes to disk meanwhile, so that the last fsync is short.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from hera_librarian.checksums import new_hasher
from stores.backends import durable
from stores.backends.base import BLOCK_BYTES, Progress

INLINE_BYTES = 2**20
_BUFFERS = 8
_FLUSH_BYTES = 64 * 2**20
ReadInto = Callable[[memoryview], int]
Write = Callable[[memoryview], None]


@dataclass(slots=True)
class Digested:
    """Size in bytes and hex digest by algorithm of a stream that was read to its end."""

    size_bytes: int
    hexdigests: dict[str, str]


class _SpareBuffers:
    """Buffers of ended streams, kept for the next: touching fresh memory costs a third of hashing it."""

    def __init__(self, keep: int) -> None:
        self._spare: list[bytearray] = []
        self._keep = keep
        self._lock = threading.Lock()

    def take(self) -> bytearray:
        with self._lock:
            if self._spare:
                return self._spare.pop()
        return bytearray(BLOCK_BYTES)

    def give_back(self, buffers: Iterable[bytearray]) -> None:
        with self._lock:
            self._spare.extend(buffers)
            del self._spare[self._keep :]


_spare_buffers = _SpareBuffers(keep=2 * _BUFFERS)


def digest_bytes(data: bytes, algorithms: Iterable[str]) -> dict[str, str]:
    """Hex digest of some bytes by each algorithm."""
    hexdigests = {}
    for algorithm in algorithms:
        hasher = new_hasher(algorithm)
        hasher.update(data)
        hexdigests[algorithm] = hasher.hexdigest()
    return hexdigests


def run_through(
    read_into: ReadInto,
    algorithms: Iterable[str],
    *,
    target: int | None = None,
    start: bytes = b"",
    progress: Progress | None = None,
) -> Digested:
    """Read a stream to its end, hashing it and writing it to the descriptor `target`.

    Parameters
    ----------
    read_into : callable
        Fills part of a buffer and returns how many bytes; 0 at the end.
    algorithms : iterable of str
        Names as on the wire.
    target : int, optional
        Descriptor to write to, from its present position; left unsynced.
    start : bytes
        What the caller has already read of the stream.
    progress : callable, optional
        Called with the number of bytes of each block.
    """
    hashers = {algorithm: new_hasher(algorithm) for algorithm in algorithms}
    write = None if target is None else partial(durable.write_all, target)
    pipe = _Pipe(hashers, write, None if target is None else _Flusher(target), progress)
    try:
        if start:
            pipe.feed_bytes(start)
        while pipe.feed_from(read_into):
            pass
        size = pipe.finish()
    finally:
        pipe.close()
    return Digested(size, {algorithm: hasher.hexdigest() for algorithm, hasher in hashers.items()})


def append_through(
    read_into: ReadInto,
    hashers: Mapping[str, Any],
    write: Write,
    *,
    flushed: int,
    on_flushed: Callable[[int], None],
) -> int:
    """Read a stream to its end and write it by `write`, feeding hashers that may have seen what lies before it.

    Returns the bytes written. When it raises, the hashers may have seen bytes that were not written. `on_flushed` is
    called, between two blocks, with the number of bytes that are known to be on disk by then; they were written to
    the descriptor `flushed`.
    """
    flusher = _Flusher(flushed)
    told = 0
    pipe = _Pipe(hashers, write, flusher, None)
    try:
        while pipe.feed_from(read_into):
            if flusher.flushed_bytes > told:
                told = flusher.flushed_bytes
                on_flushed(told)
        return pipe.finish()
    finally:
        pipe.close()


class _Flusher:
    """Brings what has been written to a descriptor to disk, in a thread, while more is written.

    The kernel tells of a disk error once, to whoever syncs first: so it is kept here and raised by `check`.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None
        self._written = 0
        self._begun = 0
        self.flushed_bytes = 0  # known to be on disk

    def wrote(self, length: int) -> None:
        """Count bytes written; flush when there are enough and the last flush is through."""
        self._written += length
        due = self._written - self._begun >= _FLUSH_BYTES
        if not due or (self._thread is not None and self._thread.is_alive()):
            return
        self.check()
        self._begun = self._written
        self._thread = threading.Thread(target=self._flush, daemon=True, name="librarian-flush")
        self._thread.start()

    def _flush(self) -> None:
        try:
            begun = self._begun
            os.fdatasync(self._fd)
            self.flushed_bytes = begun
        except OSError as error:
            self._failure = error

    def settle(self) -> None:
        """Wait for the flush under way: the descriptor may be closed after that."""
        if self._thread is not None:
            self._thread.join()

    def check(self) -> None:
        """Wait for the flush under way; raise what any met."""
        self.settle()
        if self._failure is not None:
            raise self._failure


class _Block:
    """Bytes in a buffer, and how many users still need them."""

    __slots__ = ("buffer", "users", "view")

    def __init__(self, buffer: bytearray | None, view: memoryview, users: int) -> None:
        self.buffer, self.view, self.users = buffer, view, users


class _Pipe:
    def __init__(
        self,
        hashers: Mapping[str, Any],
        write: Write | None,
        flusher: "_Flusher | None",
        progress: Progress | None,
    ) -> None:
        self._write = write
        self._progress = progress
        self._size = 0
        self._flusher = flusher
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._owned: list[bytearray] = []
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._queues = [queue.SimpleQueue() for _ in hashers]
        self._threads = [
            threading.Thread(target=self._hash, args=(hasher, blocks), daemon=True, name="librarian-hash")
            for hasher, blocks in zip(hashers.values(), self._queues, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def feed_bytes(self, data: bytes) -> None:
        self._take(_Block(None, memoryview(data), len(self._threads) + 1))

    def feed_from(self, read_into: ReadInto) -> bool:
        """Read, write and hand over one block; False at the end of the stream."""
        buffer = self._buffer()
        whole = memoryview(buffer)
        filled = 0
        while filled < len(whole):
            got = read_into(whole[filled:])
            if not got:
                break
            filled += got
        if not filled:
            self._free.put(buffer)
            return False
        self._take(_Block(buffer, whole[:filled], len(self._threads) + 1))
        return filled == len(whole)

    def _buffer(self) -> bytearray:
        if len(self._owned) < _BUFFERS and self._free.empty():
            self._owned.append(_spare_buffers.take())
            return self._owned[-1]
        return self._free.get()

    def _take(self, block: _Block) -> None:
        if self._failure is not None:
            raise self._failure
        for blocks in self._queues:
            blocks.put(block)
        length = len(block.view)
        try:
            if self._write is not None:
                self._write(block.view)
        finally:
            self._release(block)
        self._size += length
        if self._flusher is not None:
            self._flusher.wrote(length)
        if self._progress is not None:
            self._progress(length)

    def _hash(self, hasher: Any, blocks: "queue.SimpleQueue[_Block | None]") -> None:
        while (block := blocks.get()) is not None:
            try:
                if self._failure is None:
                    hasher.update(block.view)
            except BaseException as error:  # told to the reading thread, which raises it
                self._failure = error
            self._release(block)

    def _release(self, block: _Block) -> None:
        with self._lock:
            block.users -= 1
            last = block.users == 0
        if last and block.buffer is not None:
            self._free.put(block.buffer)

    def _stop(self) -> None:
        for blocks in self._queues:
            blocks.put(None)
        for thread in self._threads:
            thread.join()

    def finish(self) -> int:
        """Wait for the hashers; returns how many bytes went through."""
        self._stop()
        if self._failure is not None:
            raise self._failure
        if self._flusher is not None:
            self._flusher.check()
        return self._size

    def close(self) -> None:
        """End the threads, however the stream ended, and give the buffers to the next one."""
        self._stop()
        if self._flusher is not None:
            self._flusher.settle()
        _spare_buffers.give_back(self._owned)
        self._owned = []
