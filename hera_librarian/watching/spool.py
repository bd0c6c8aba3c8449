"""The watcher's own corner of the instrument's disk: private, and one watcher's at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hera_librarian.exceptions import LibrarianError

LOCK = "lock"


def make_spool(folder: str | os.PathLike[str]) -> Path:
    """Make the spool where there is none. Raises LibrarianError when that fails."""
    path = Path(os.path.realpath(folder))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise LibrarianError(
            f"The spool {path} cannot be made: {problem.strerror}.",
            remedy="Name a directory on a local disk that this user may write.",
            code="spool_unusable",
        ) from problem
    return path


@contextmanager
def holding(spool: Path) -> Iterator[None]:
    """Have the spool to oneself. Raises LibrarianError when another watcher has it."""
    try:
        lock = os.open(spool / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise LibrarianError(
            f"The spool {spool} cannot be written: {problem.strerror}.",
            remedy="Name a directory on a local disk that this user may write.",
            code="spool_unusable",
        ) from problem
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LibrarianError(
                f"Another watcher works with the spool {spool}.",
                remedy="Give each watcher a spool of its own, or stop the other one.",
                code="spool_in_use",
            ) from None
        yield
    finally:
        os.close(lock)


def is_held(spool: Path) -> bool:
    """Whether a watcher works with the spool at this moment."""
    try:
        lock = os.open(spool / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
    return False
