"""Bytes on their way to a far host: read once, hashed by threads while the line takes them."""

import errno
import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any

from hera_librarian.checksums import new_hasher
from stores.backends import durable, staging, trees
from stores.backends.base import BLOCK_BYTES, ChangedWhileRead, Content, Progress, TreeEntry, UnsafeProduct
from stores.backends.pipe import Digested, ReadInto
from stores.backends.places import shown
from stores.backends.reading import explain_source
from stores.backends.ssh import frames
from stores.backends.ssh.exchange import Exchange

_SMALL_BYTES = 256 * 1024


class Sender:
    """Sends streams over one call, with buffers and threads that serve all of them."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._buffer = memoryview(bytearray(BLOCK_BYTES))
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def send(self, read_into: ReadInto, hashers: Mapping[str, Any], progress: Progress | None) -> int:
        """Send a stream to its end; returns its size in bytes. Whoever calls sends the END."""
        size = 0
        while True:
            filled = self._fill(read_into)
            if filled:
                self._pass_on(self._buffer[:filled], list(hashers.values()))
                size += filled
                if progress is not None:
                    progress(filled)
            elif not size and progress is not None:
                progress(0)
            if filled < BLOCK_BYTES:
                return size

    def _fill(self, read_into: ReadInto) -> int:
        filled = 0
        while filled < BLOCK_BYTES and (count := read_into(self._buffer[filled:])):
            filled += count
        return filled

    def _pass_on(self, block: memoryview, hashers: list[Any]) -> None:
        if len(block) < _SMALL_BYTES:
            for hasher in hashers:
                hasher.update(block)
            self.exchange.send(frames.DATA, block)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(4, thread_name_prefix="librarian-hash")
        running = [self._pool.submit(hasher.update, block) for hasher in hashers]
        try:
            self.exchange.send(frames.DATA, block)
        finally:
            for future in running:
                future.result()  # before the buffer is filled again


@contextmanager
def sending(exchange: Exchange) -> Iterator[Sender]:
    """A sender for the length of a block."""
    sender = Sender(exchange)
    try:
        yield sender
    finally:
        sender.close()


def reader(source: IO[bytes]) -> ReadInto:
    """Fills buffers from a stream; directly where it is known to be able to."""
    if isinstance(source, io.BufferedIOBase | io.FileIO):
        return source.readinto

    def read_into(view: memoryview) -> int:
        data = source.read(len(view))
        view[: len(data)] = data
        return len(data)

    return read_into


def send_stream(sender: Sender, source: IO[bytes], algorithms: list[str], progress: Progress | None) -> Content:
    """Send a flat item."""
    hashers = {algorithm: new_hasher(algorithm) for algorithm in staging.with_sha256(algorithms)}
    return _sealed(sender, sender.send(reader(source), hashers, progress), hashers, algorithms)


def _sealed(sender: Sender, size: int, hashers: Mapping[str, Any], algorithms: list[str]) -> Content:
    """End a flat item, telling the far end what was seen of it."""
    content = staging.flat_content(Digested(size, _digests(hashers)), algorithms)
    sender.exchange.send_facts(frames.END, {"size": content.size_bytes, "digest": content.digest})
    return content


def _digests(hashers: Mapping[str, Any]) -> dict[str, str]:
    return {algorithm: hasher.hexdigest() for algorithm, hasher in hashers.items()}


def send_file(sender: Sender, fd: int, path: str, algorithms: list[str], progress: Progress | None) -> Content:
    """Send an open local file as a flat item. Raises ChangedWhileRead, UnsafeProduct."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise UnsafeProduct(f"{shown(path)} is a device, socket or pipe.")
    hashers = {algorithm: new_hasher(algorithm) for algorithm in staging.with_sha256(algorithms)}
    return _sealed(sender, _send_unchanged(sender, fd, path, hashers, progress), hashers, algorithms)


def _send_unchanged(
    sender: Sender, fd: int, path: bytes | str, hashers: Mapping[str, Any], progress: Progress | None
) -> int:
    """Send an open file; its size. Raises ChangedWhileRead if it was written to meanwhile."""

    def read_into(view: memoryview) -> int:
        try:
            return os.readv(fd, [view])
        except OSError as error:
            raise explain_source(error, path) from error

    before = os.fstat(fd)
    size = sender.send(read_into, hashers, progress)
    after = os.fstat(fd)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or size != after.st_size:
        raise ChangedWhileRead(f"{shown(path)} was written to while it was read.")
    return size


def send_tree(sender: Sender, fd: int, path: str, algorithms: list[str], progress: Progress | None) -> Content:
    """Send an open local directory as a product. Raises ChangedWhileRead, UnsafeProduct."""
    sink = _FarTree(sender.exchange)
    content = _Reader(sender, algorithms, explain=explain_source, location=path, sink=sink, progress=progress).read(fd)
    seen = {"size": content.size_bytes, "digest": content.digest, "count": content.member_count}
    sender.exchange.send_facts(frames.END, seen)
    return content


class _FarTree:
    """A sink at the far end. Files are opened there only: their bytes go by the reader's own way."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def enter(self, name: str) -> None:
        self._exchange.send_facts(frames.STEP, {"enter": name})

    def leave(self) -> None:
        self._exchange.send_facts(frames.STEP, {"leave": ""})

    def create(self, name: str) -> int:
        self._exchange.send_facts(frames.STEP, {"file": name})
        return -1

    def finish(self, fd: int) -> None:
        self._exchange.send(frames.END)


class _Reader(trees.TreeReader):
    """Reads a tree and sends it in the same pass."""

    def __init__(self, sender: Sender, algorithms: list[str], *, sink: _FarTree, **options: Any) -> None:
        super().__init__(algorithms, sink=sink, **options)
        self._sender, self._far, self._hashed_by = sender, sink, staging.with_sha256(algorithms)

    def _read(self, source: int, name: str, path: bytes) -> Digested:
        hashers = {algorithm: new_hasher(algorithm) for algorithm in self._hashed_by}
        target = self._far.create(name)
        size = _send_unchanged(self._sender, source, path, hashers, self._progress)
        self._far.finish(target)
        return Digested(size, _digests(hashers))


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A local product, a file or a directory, open for reading."""
    try:
        fd = durable.open_for_reading(path)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise UnsafeProduct(f"{shown(path)} is a device, socket or pipe.") from error
        raise explain_source(error, path) from error
    with durable.closing(fd):
        yield fd


def send_entries(sender: Sender, entries: Iterable[TreeEntry]) -> None:
    """Send the entries of a product, each file with its bytes and their digest behind it."""
    for entry in entries:
        facts = {"path": entry.path, "kind": entry.kind, "target": entry.target}
        sender.exchange.send_facts(frames.STEP, facts)
        if entry.kind == "file":
            hasher = new_hasher("sha256")
            with entry.open() as source:
                sender.send(reader(source), {"sha256": hasher}, None)
            sender.exchange.send_facts(frames.END, {"digest": hasher.hexdigest()})
    sender.exchange.send(frames.END)
