"""What happens to bytes in the staging directory of one delivery, open as a descriptor: written, copied, adopted."""

import io
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from stores.backends import durable, unpacking
from stores.backends.base import BLOCK_BYTES, ChangedWhileRead, Content, Progress, TreeEntry, UnsafeProduct
from stores.backends.pipe import INLINE_BYTES, Digested, ReadInto, digest_bytes, run_through
from stores.backends.places import shown
from stores.backends.placing import ITEM
from stores.backends.reading import Explain, Settling, is_ours, read_file
from stores.backends.trees import NewTree, TreeReader, is_all_ours, settle_tree, sync_tree
from stores.backends.unpacking import Limit

_COPY = "own"
_UNPACKED = "unpacked"


def flat_content(found: Digested, algorithms: Iterable[str]) -> Content:
    """What reading a flat file found, as the contract tells it."""
    return Content(
        kind="flat",
        size_bytes=found.size_bytes,
        digest=found.hexdigests["sha256"],
        checksums={algorithm: found.hexdigests[algorithm] for algorithm in algorithms},
    )


def with_sha256(algorithms: Iterable[str]) -> list[str]:
    """The algorithms to compute in a pass over a flat file."""
    return list(dict.fromkeys(["sha256", *algorithms]))


@contextmanager
def _new_file(name: str, *, at: int) -> Iterator[int]:
    """A new file in place of whatever an earlier attempt left; removed again if it cannot be finished."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, 0o644, dir_fd=at)
    except FileExistsError:
        _clear(name, at=at)
        fd = os.open(name, flags, 0o644, dir_fd=at)
    try:
        with durable.closing(fd):
            yield fd
    except BaseException:
        _clear(name, at=at)  # a partial item must never look like one that is there
        raise


def _clear(name: str, *, at: int) -> None:
    problems = durable.remove_tree(name, at=at)
    if problems:
        raise PermissionError(1, f"what an earlier attempt left cannot be removed ({problems[0]})", name)


def write_stream(
    token: int, source: IO[bytes], algorithms: list[str], settling: Settling, progress: Progress | None
) -> Content:
    """Write a stream as the item, hashing it on the way."""
    wanted = with_sha256(algorithms)
    start = _read_start(source)
    with _new_file(ITEM, at=token) as target:
        if len(start) < INLINE_BYTES:
            durable.write_all(target, start)
            found = Digested(len(start), digest_bytes(start, wanted))
            if progress is not None:
                progress(len(start))
        else:
            found = run_through(_reader(source), wanted, target=target, start=start, progress=progress)
        settling.apply(target)
    return flat_content(found, algorithms)


def write_tree(token: int, entries: Iterable[TreeEntry], limit: Limit) -> None:
    """Write a directory item from its entries; it gets its name once it is whole."""
    for name in (ITEM, _UNPACKED):
        _clear(name, at=token)
    try:
        unpacking.write_tree(entries, _UNPACKED, at=token, limit=limit)
    except BaseException:
        _clear(_UNPACKED, at=token)
        raise
    os.rename(_UNPACKED, ITEM, src_dir_fd=token, dst_dir_fd=token)


def _read_start(source: IO[bytes]) -> bytes:
    """The first megabyte, or all there is if less."""
    parts, size = [], 0
    while size < INLINE_BYTES and (part := source.read(INLINE_BYTES - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _reader(source: IO[bytes]) -> ReadInto:
    """Fills buffers from the stream; directly where it is known to be able to."""
    if isinstance(source, io.BufferedIOBase | io.FileIO):
        return source.readinto
    return _Reader(source)


class _Reader:
    """Fills buffers from a stream that only has `read`."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source

    def __call__(self, view: memoryview) -> int:
        data = self._source.read(min(len(view), BLOCK_BYTES))
        view[: len(data)] = data
        return len(data)


def copy(
    source: int,
    location: str,
    token: int,
    name: str,
    algorithms: list[str],
    *,
    explain: Explain,
    settling: Settling,
    progress: Progress | None,
) -> Content:
    """Copy an open file or directory to `name` in the staging directory, hashed in the same pass."""
    seen = os.fstat(source)
    if stat.S_ISDIR(seen.st_mode):
        return _copy_tree(source, location, token, name, algorithms, explain, settling, progress)
    if not stat.S_ISREG(seen.st_mode):
        raise UnsafeProduct(f"{shown(location)} is a device, socket or pipe.")
    with _new_file(name, at=token) as target:
        found = read_file(source, location, with_sha256(algorithms), explain=explain, target=target, progress=progress)
        settling.apply(target)
    return flat_content(found, algorithms)


def _copy_tree(
    source: int,
    location: str,
    token: int,
    name: str,
    algorithms: list[str],
    explain: Explain,
    settling: Settling,
    progress: Progress | None,
) -> Content:
    _clear(name, at=token)
    sink = NewTree(name, at=token, settling=settling)
    try:
        reader = TreeReader(algorithms, explain=explain, location=location, sink=sink, progress=progress)
        return reader.read(source)
    except BaseException:
        sink.close()
        _clear(name, at=token)
        raise
    finally:
        sink.close()


def adopt(
    token: int,
    location: str,
    algorithms: list[str],
    *,
    explain: Explain,
    settling: Settling,
    progress: Progress | None,
) -> Content:
    """Make what a client left as the item ours, and say what it is.

    The directory is closed to others first: nobody may put another item there between our reading it and its move.
    What others may have written is copied, since they can still hold it open; so is what is open for writing.
    """
    mode = stat.S_IMODE(os.fstat(token).st_mode)
    os.fchmod(token, 0o700)
    try:
        with durable.closing(durable.open_for_reading(ITEM, at=token)) as item:
            if not _is_exclusively_ours(item):
                content = copy(
                    item, location, token, _COPY, algorithms, explain=explain, settling=settling, progress=progress
                )
                _swap(token, directory=content.kind == "directory")
                return content
            return _take_as_it_lies(item, location, algorithms, explain, settling, progress)
    except BaseException:
        os.fchmod(token, mode)  # its owner may want to write it again
        raise


def adopt_fresh(
    token: int,
    location: str,
    algorithms: list[str],
    *,
    explain: Explain,
    settling: Settling,
    progress: Progress | None,
) -> Content:
    """The same, with digests of the bytes as the disk has them: durable first, then read past the page cache.

    What had to be copied is read a second time: the first read saw its source.
    """
    number = _forget_cached(token)
    content = adopt(token, location, algorithms, explain=explain, settling=settling, progress=progress)
    if _forget_cached(token) == number:
        return content
    return adopt(token, location, algorithms, explain=explain, settling=settling, progress=progress)


def _forget_cached(token: int) -> int:
    """Make the item durable and let the page cache forget it; returns its inode number."""
    with durable.closing(durable.open_for_reading(ITEM, at=token)) as item:
        if stat.S_ISDIR(os.fstat(item).st_mode):
            sync_tree(item, forget=True)
        else:
            durable.sync_and_forget(item)
        return os.fstat(item).st_ino


def _is_exclusively_ours(item: int) -> bool:
    seen = os.fstat(item)
    if stat.S_ISDIR(seen.st_mode):
        return is_all_ours(item)
    return is_ours(seen) and not durable.has_writer(item)


def _take_as_it_lies(
    item: int, location: str, algorithms: list[str], explain: Explain, settling: Settling, progress: Progress | None
) -> Content:
    if stat.S_ISDIR(os.fstat(item).st_mode):
        reader = TreeReader(algorithms, explain=explain, location=location, ours_only=True, progress=progress)
        content = reader.read(item)
        settle_tree(item, settling)
        return content
    found = read_file(item, location, with_sha256(algorithms), explain=explain, progress=progress)
    if not is_ours(os.fstat(item)):
        raise ChangedWhileRead("What was delivered was given to others, or another name, while it was read.")
    settling.apply(item)
    return flat_content(found, algorithms)


def _swap(token: int, *, directory: bool) -> None:
    """Put our copy in the item's place. What the client wrote goes; where we may not remove it, it stays aside."""
    if not directory:
        os.rename(_COPY, ITEM, src_dir_fd=token, dst_dir_fd=token)
        return
    if not durable.exchange(_COPY, ITEM, at=token):
        left = "left"
        durable.remove_tree(left, at=token)
        os.rename(ITEM, left, src_dir_fd=token, dst_dir_fd=token)
        os.rename(_COPY, ITEM, src_dir_fd=token, dst_dir_fd=token)
        durable.remove_tree(left, at=token)
        return
    durable.remove_tree(_COPY, at=token)
