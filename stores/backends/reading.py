"""Reading one open file to its end and noticing when its writer was still at work; errors said for their side."""

import errno
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from librarian.common.errors import ArchiveError
from stores.backends import durable
from stores.backends.base import ChangedWhileRead, MissingBytes, Progress, UnreadableSource, UnsafeProduct
from stores.backends.pipe import INLINE_BYTES, Digested, digest_bytes, run_through
from stores.backends.places import shown

Explain = Callable[[OSError, bytes | str], ArchiveError]


def explain_source(error: OSError, path: bytes | str) -> ArchiveError:
    """What an error met on a product outside our stores means. Never a word about a store."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return MissingBytes(
            f"There is no file or directory at {shown(path)}.",
            remedy="Check the path, and that its disk is mounted here.",
        )
    if error.errno == errno.ELOOP:
        return UnsafeProduct(f"{shown(path)} is a symbolic link.", remedy="Name the file that the link leads to.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return UnreadableSource(
            f"The server's user may not read {shown(path)}.", remedy="Give the server's user the right to read it."
        )
    return UnreadableSource(f"Reading {shown(path)} failed: {error.strerror}.")


@dataclass(frozen=True, slots=True)
class Settling:
    """What becomes of files once they are ours: mode 0444 (directories 0555), our group."""

    read_only: bool
    own: bool

    def apply(self, fd: int, *, directory: bool = False) -> None:
        """Settle one inode of ours, open as `fd`."""
        if self.own:
            os.fchown(fd, os.geteuid(), os.getegid())
        if self.read_only:
            os.fchmod(fd, 0o555 if directory else 0o444)


def is_ours(seen: os.stat_result) -> bool:
    """True if only the server's own user can have written a file or directory, and by this name only."""
    regular = stat.S_ISREG(seen.st_mode)
    return (
        (regular or stat.S_ISDIR(seen.st_mode))
        and seen.st_uid == os.geteuid()
        and not seen.st_mode & 0o022
        and (seen.st_nlink == 1 or not regular)
    )


def read_file(
    fd: int,
    path: bytes | str,
    algorithms: Iterable[str],
    *,
    explain: Explain,
    target: int | None = None,
    progress: Progress | None = None,
) -> Digested:
    """Read an open regular file once: hash it, and write it to `target` if given.

    Raises ChangedWhileRead when its size, or the time it was last written, is not the same before and after, and
    whatever `explain` makes of an error of reading. An OSError of the target is left to the caller.
    """

    def read_into(view: memoryview) -> int:
        try:
            return os.readv(fd, [view])
        except OSError as error:
            raise explain(error, path) from error

    before = os.fstat(fd)
    if before.st_size < INLINE_BYTES:
        found = _read_inline(fd, path, algorithms, explain, target, progress)
    else:
        _announce_sequential(fd)
        found = run_through(read_into, algorithms, target=target, progress=progress)
    after = os.fstat(fd)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or found.size_bytes != after.st_size:
        raise ChangedWhileRead(f"{shown(path)} was written to while it was read.")
    return found


def _read_inline(
    fd: int,
    path: bytes | str,
    algorithms: Iterable[str],
    explain: Explain,
    target: int | None,
    progress: Progress | None,
) -> Digested:
    try:
        data = os.read(fd, INLINE_BYTES + 1)
        while len(data) <= INLINE_BYTES and (more := os.read(fd, INLINE_BYTES + 1)):
            data += more
    except OSError as error:
        raise explain(error, path) from error
    if target is not None:
        durable.write_all(target, data)
    if progress is not None:
        progress(len(data))
    return Digested(len(data), digest_bytes(data, algorithms))


def _announce_sequential(fd: int) -> None:
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    except OSError:
        pass  # only ever a hint
