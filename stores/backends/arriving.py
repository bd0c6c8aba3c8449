"""Bytes that arrive piece by piece in the staging directory of one delivery, from one writer at a time.

A note beside them names the writer. Whoever wants to go on takes the note over; the former writer, whose client may be
long gone while its connection still looks alive, looks at the note before each block and stops. So the size that the
new writer found stays the size until it writes itself.

The note also says during which boot of the machine the bytes were written: what a killed process wrote is still in the
page cache, what a power cut left may be of the right length and hold nothing.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from librarian.common.errors import LostRace
from librarian.common.identity import boot_id
from stores.backends import durable
from stores.backends.pipe import INLINE_BYTES, append_through

NOTE = "writer"
_NOTE_BYTES = 200
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def take_over(token: int, name: str, *, writer: str, durable_bytes: int) -> int:
    """Make `writer` the one who may write; returns how many bytes are there, durable from now on.

    `durable_bytes` of them are known to be on disk; more are believed only if written since the machine started.
    """
    with _noted(token) as note, _locked(note):
        boot, _, _ = _read(note).partition(" ")
        size = _settle(token, name, durable_bytes=None if boot == boot_id() else durable_bytes)
        text = f"{boot_id()} {writer}".encode()
        os.pwrite(note, text, 0)
        os.ftruncate(note, len(text))
    return size


def _settle(token: int, name: str, *, durable_bytes: int | None) -> int:
    """Size of what arrived, synced; cut to `durable_bytes` if the rest cannot be believed."""
    with durable.closing(os.open(name, _OPEN, 0o600, dir_fd=token)) as fd:
        size = os.fstat(fd).st_size
        if durable_bytes is not None and size > durable_bytes:
            os.ftruncate(fd, durable_bytes)
            size = durable_bytes
        os.fdatasync(fd)
        return size


def append(
    token: int,
    name: str,
    source: IO[bytes],
    *,
    writer: str,
    at_bytes: int,
    hashers: Mapping[str, Any],
    on_durable: Callable[[int], None],
) -> int:
    """Write a stream from `at_bytes` on; returns how many bytes came. Raises LostRace once another took over.

    What lay behind `at_bytes` is cut off. The hashers see every block, whether or not the write of it succeeds.
    """
    with _noted(token) as note, durable.closing(os.open(name, _OPEN, 0o600, dir_fd=token)) as fd:
        writing = _Writing(note, fd, f"{boot_id()} {writer}", at_bytes)
        writing.cut()
        start = _read_start(source)
        if len(start) < INLINE_BYTES:
            for hasher in hashers.values():
                hasher.update(start)
            writing.write(memoryview(start))
            return len(start)
        return append_through(
            _Filler(source, start),
            hashers,
            writing.write,
            flushed=fd,
            on_flushed=lambda flushed: on_durable(at_bytes + flushed),
        )


def _read_start(source: IO[bytes]) -> bytes:
    parts, size = [], 0
    while size < INLINE_BYTES and (part := source.read(INLINE_BYTES - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


class _Filler:
    """Fills buffers from a stream whose start was read already."""

    def __init__(self, source: IO[bytes], start: bytes) -> None:
        self._source = source
        self._start = memoryview(start)

    def __call__(self, view: memoryview) -> int:
        if self._start:
            part, self._start = self._start[: len(view)], self._start[len(view) :]
        else:
            part = self._source.read(len(view))
        view[: len(part)] = part
        return len(part)


class _Writing:
    """One writer's hold on the arriving bytes."""

    def __init__(self, note: int, fd: int, holder: str, at_bytes: int) -> None:
        self._note, self._fd, self._holder, self._position = note, fd, holder, at_bytes

    def cut(self) -> None:
        with self._held():
            os.ftruncate(self._fd, self._position)
            os.lseek(self._fd, self._position, os.SEEK_SET)

    def write(self, block: memoryview) -> None:
        with self._held():
            durable.write_all(self._fd, block)
            self._position += len(block)

    @contextmanager
    def _held(self) -> Iterator[None]:
        with _locked(self._note):
            if _read(self._note) != self._holder:
                raise LostRace("Another request goes on with this upload.")
            yield


@contextmanager
def _noted(token: int) -> Iterator[int]:
    with durable.closing(os.open(NOTE, _OPEN, 0o600, dir_fd=token)) as note:
        yield note


@contextmanager
def _locked(note: int) -> Iterator[None]:
    fcntl.flock(note, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(note, fcntl.LOCK_UN)


def _read(note: int) -> str:
    return os.pread(note, _NOTE_BYTES, 0).decode("utf-8", "replace")
