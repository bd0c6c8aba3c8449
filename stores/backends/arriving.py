"""Bytes that arrive piece by piece in the staging directory of one delivery, from one writer at a time.

A note beside them names the writer. Whoever wants to go on takes the note over; the former writer, whose client may be
long gone while its connection still looks alive, looks at the note before each block and stops. So the size that the
new writer found stays the size until it writes itself.

The note also says during which boot of the machine the bytes were written: what a killed process wrote is still in the
page cache, what a power cut left may be of the right length and hold nothing. And while bytes come that have yet to be
compared with what was declared of them, it says where they begin: whoever takes over then cuts them off.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from librarian.common.errors import LostRace
from librarian.common.identity import boot_id
from stores.backends import durable, placing
from stores.backends.pipe import INLINE_BYTES, append_through

NOTE = "writer"
_NOTE_BYTES = 200
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def take_over(token: int, name: str, *, writer: str, durable_bytes: int) -> int:
    """Make `writer` the one who may write; returns how many bytes are there, durable from now on.

    `durable_bytes` of them are known to be on disk; more are believed only if written since the machine started.
    """
    with _noted(token) as note, _locked(note):
        boot, _, unchecked = (*_read(note).split(" "), "", "")[:3]
        limits = [] if boot == boot_id() else [durable_bytes]
        if unchecked.isdigit():
            limits.append(int(unchecked))
        size = _settle(token, name, limits)
        _write(note, f"{boot_id()} {writer}")
    return size


def _settle(token: int, name: str, limits: list[int]) -> int:
    """Size of what arrived, synced; cut to the least of `limits`, behind which nothing can be believed."""
    if name == placing.ITEM and durable.exists(placing.NOTE, at=token) and not durable.exists(name, at=token):
        raise LostRace("This upload is being committed: its bytes have their place already.")
    with durable.closing(os.open(name, _OPEN, 0o600, dir_fd=token)) as fd:
        seen = os.fstat(fd)
        size = min([seen.st_size, *limits])
        if seen.st_nlink > 1:
            return seen.st_size  # it has its place already: the caller read its row before that
        if size < seen.st_size:
            os.ftruncate(fd, size)
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
    accept: Callable[[int], bool] | None = None,
) -> int:
    """Write a stream from `at_bytes` on; returns how many bytes were kept. Raises LostRace once another took over.

    What lay behind `at_bytes` is cut off. The hashers see every block, whether or not the write of it succeeds.
    """
    with _noted(token) as note, durable.closing(os.open(name, _OPEN, 0o600, dir_fd=token)) as fd:
        writing = _Writing(note, fd, f"{boot_id()} {writer}", at_bytes)
        writing.begin(is_unchecked=accept is not None)
        came = _receive(source, writing, hashers, flushed=fd, on_flushed=lambda size: on_durable(at_bytes + size))
        if accept is None:
            return came
        kept = came if accept(came) else 0
        writing.keep(at_bytes + kept)
        return kept


def _receive(
    source: IO[bytes],
    writing: "_Writing",
    hashers: Mapping[str, Any],
    *,
    flushed: int,
    on_flushed: Callable[[int], None],
) -> int:
    start = _read_start(source)
    if len(start) < INLINE_BYTES:
        for hasher in hashers.values():
            hasher.update(start)
        writing.write(memoryview(start))
        return len(start)
    return append_through(_Filler(source, start), hashers, writing.write, flushed=flushed, on_flushed=on_flushed)


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

    def begin(self, *, is_unchecked: bool) -> None:
        with self._held():
            if is_unchecked:
                _write(self._note, f"{self._holder} {self._position}")
            os.ftruncate(self._fd, self._position)
            os.lseek(self._fd, self._position, os.SEEK_SET)

    def write(self, block: memoryview) -> None:
        with self._held():
            durable.write_all(self._fd, block)
            self._position += len(block)

    def keep(self, size: int) -> None:
        """End what was unchecked: so many bytes stay."""
        with self._held():
            os.ftruncate(self._fd, size)
            _write(self._note, self._holder)

    @contextmanager
    def _held(self) -> Iterator[None]:
        with _locked(self._note):
            if " ".join(_read(self._note).split(" ")[:2]) != self._holder:
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


def _write(note: int, text: str) -> None:
    os.pwrite(note, text.encode(), 0)
    os.ftruncate(note, len(text))
