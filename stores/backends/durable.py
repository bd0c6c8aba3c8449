"""File operations that are safe against links and crashes. Everything works on directory descriptors.

A path below a store is walked component by component without following links, so that one planted in the store, or
swapped in while we work, cannot lead out of it.
"""

import ctypes
import errno
import fcntl
import itertools
import os
import secrets
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a pipe must not make us wait
_MAX_OPEN_LEVELS = 32

_libc = ctypes.CDLL(None, use_errno=True)


def _function(name: str, *arguments: type) -> Any:
    function = getattr(_libc, name, None)
    if function is not None:
        function.argtypes, function.restype = list(arguments), ctypes.c_int
    return function


_renameat2 = _function("renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_syncfs = _function("syncfs", ctypes.c_int)


def _syncfs_reports_errors() -> bool:
    """Linux answers failed writes from syncfs since 5.8; before, only fsync of each file tells."""
    try:
        major, minor = os.uname().release.split(".")[:2]
        return (int(major), int("".join(digit for digit in minor if digit.isdigit()))) >= (5, 8)
    except ValueError:
        return False


HAS_SYNCFS = _syncfs is not None and _syncfs_reports_errors()


def sync_and_forget(fd: int) -> None:
    """Make a file durable, then let the page cache forget it, so that the next read comes from the disk."""
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


# --- Opening ---


@contextmanager
def closing(fd: int) -> Iterator[int]:
    """Close a descriptor at the end."""
    try:
        yield fd
    finally:
        os.close(fd)


def open_directory(name: str | bytes, *, at: int | None = None) -> int:
    """Open a directory that is not a link."""
    return os.open(name, _DIRECTORY, dir_fd=at)


def open_root(path: str) -> int:
    """Open a directory that an operator configured; links on the way there are the operator's choice."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def open_for_reading(name: str | bytes, *, at: int | None = None) -> int:
    """Open what may be a file; never waits and never follows a link. The caller looks at what it got."""
    return os.open(name, _READ, dir_fd=at)


def descend(root: int, parts: Sequence[str], *, make: bool = False) -> int:
    """Open the directory `parts` below `root` without following links, making what is missing if asked."""
    current = os.dup(root)
    try:
        for part in parts:
            try:
                below = open_directory(part, at=current)
            except FileNotFoundError:
                if not make:
                    raise
                _make_directory(part, at=current)
                below = open_directory(part, at=current)
            os.close(current)
            current = below
        return current
    except BaseException:
        os.close(current)
        raise


def _make_directory(name: str, *, at: int) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=at)
    except FileExistsError:
        pass  # somebody else was first


def exists(name: str, *, at: int) -> bool:
    """True if anything, a link too, has this name. Errors other than absence are raised."""
    return look(name, at=at) is not None


def look(name: str | bytes, *, at: int) -> os.stat_result | None:
    """What has this name, links not followed; None if nothing has."""
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None


def has_writer(fd: int) -> bool:
    """True if the file is known to be open for writing somewhere.

    A read lease is granted only while nobody writes. Where leases do not exist (many network file systems) the answer
    is False. SIGURG, ignored by default, replaces the deadly SIGIO for the instant in which the lease is held.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return True  # broken already: somebody just opened it
    return False


# --- Writing and making durable ---


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write everything, however many calls it takes."""
    written = os.write(fd, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(view):
            written += os.write(fd, view[written:])


def sync_filesystem(fd: int) -> None:
    """Make everything on the file system of `fd` durable. Only to be used where HAS_SYNCFS."""
    if _syncfs is None or _syncfs(fd) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def replace_file(name: str, data: bytes, *, at: int, mode: int = 0o644) -> None:
    """Write a small file durably, whole or not at all."""
    temporary = f".{name}.{secrets.token_hex(6)}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=at)
    try:
        with closing(fd):
            write_all(fd, data)
            os.fsync(fd)
        os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        os.unlink(temporary, dir_fd=at)
        raise
    os.fsync(at)


def read_small(name: str, *, at: int, limit_bytes: int = 2**20) -> bytes:
    """Content of a small regular file of ours."""
    fd = open_for_reading(name, at=at)
    with closing(fd):
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", name)
        return os.read(fd, limit_bytes)


# --- Moving ---


def rename_exclusively(name: str, new_name: str, *, at: int, to: int) -> bool:
    """Rename refusing to overwrite (FileExistsError). False where the file system cannot do that; nothing was done."""
    return _rename2(name, new_name, at, to, RENAME_NOREPLACE)


def exchange(name: str, other: str, *, at: int) -> bool:
    """Swap two names of one directory in one step. False where the file system cannot; nothing was done."""
    return _rename2(name, other, at, at, RENAME_EXCHANGE)


def _rename2(name: str, new_name: str, at: int, to: int, flags: int) -> bool:
    if _renameat2 is None:
        return False
    if _renameat2(at, os.fsencode(name), to, os.fsencode(new_name), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), new_name)


# --- Removing ---


def remove_tree(name: str, *, at: int) -> list[str]:
    """Remove whatever has this name, never following a link; return what could not be removed, with the reason.

    Directories made read-only are opened up first. Depth costs neither stack nor descriptors: what lies deeper than
    some levels is first renamed to the top of the tree.
    """
    problems: list[str] = []
    _remove(name, at=at, top=None, level=0, problems=problems)
    return problems


def _remove(name: str, *, at: int, top: int | None, level: int, problems: list[str]) -> None:
    seen = look(name, at=at)
    if seen is None:
        return
    if not stat.S_ISDIR(seen.st_mode):
        _attempt(problems, name, os.unlink, name, dir_fd=at)
        return
    _open_up(name, at=at)
    if top is not None and level >= _MAX_OPEN_LEVELS:
        raised = f".deep-{secrets.token_hex(8)}"
        _attempt(problems, name, os.rename, name, raised, src_dir_fd=at, dst_dir_fd=top)
        return
    try:
        fd = open_directory(name, at=at)
    except OSError as error:
        problems.append(f"{os.fsencode(name)!r}: {error.strerror}")
        return
    before = len(problems)
    with closing(fd):
        # In portions, since a directory may have a million entries and some appear at the top while we work.
        while _empty_portion(fd, top=fd if top is None else top, level=level, problems=problems):
            if len(problems) > before:
                return
            if _is_removed(name, at=at):
                return
    _attempt(problems, name, os.rmdir, name, dir_fd=at)


def _empty_portion(fd: int, *, top: int, level: int, problems: list[str]) -> bool:
    """Remove some of what a directory holds; False if it holds nothing."""
    with os.scandir(fd) as entries:
        portion = [entry.name for entry in itertools.islice(entries, 2000)]
    for entry in portion:
        _remove(entry, at=fd, top=top, level=level + 1, problems=problems)
    return bool(portion)


def _is_removed(name: str, *, at: int) -> bool:
    """Try to remove a directory that should be empty by now; False if it is not, or may not be removed."""
    try:
        os.rmdir(name, dir_fd=at)
    except OSError:
        return False
    return True


def _open_up(name: str, *, at: int) -> None:
    """Give ourselves the right to change a directory; impossible for one that others own, which the caller meets."""
    try:
        fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    except OSError:
        return
    with closing(fd):
        mode = os.fstat(fd).st_mode
        if mode & 0o700 != 0o700:
            try:
                os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(mode) | 0o700)
            except OSError:
                pass


def _attempt(problems: list[str], name: str, action: Callable[..., object], *args: object, **options: int) -> bool:
    try:
        action(*args, **options)
    except FileNotFoundError:
        return True
    except OSError as error:
        problems.append(f"{os.fsencode(name)!r}: {error.strerror}")
        return False
    return True
