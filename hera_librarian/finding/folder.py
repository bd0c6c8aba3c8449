"""The folder that downloads go to: which place a file gets in it, and what may lie there beforehand."""

import errno
import fcntl
import hashlib
import os
import shutil
import threading
from pathlib import Path
from unicodedata import category

from hera_librarian.exceptions import LibrarianError
from hera_librarian.finding.sums import SUMS_NAME

_LONGEST_COMPONENT_BYTES = 255
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


class Folder:
    """Gives each file of a batch its place. Safe for several threads."""

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool, keep_directories: bool) -> None:
        self.path = Path(path)
        self.overwrite = overwrite
        self.keep_directories = keep_directories
        self._taken: dict[str, str] = {}
        self._lock = threading.Lock()

    def place_of(self, name: str) -> Path:
        """Where the file of this name goes. Raises LibrarianError for one that climbs or that another file has."""
        refuse_unsafe(name)
        relative = name if self.keep_directories else name.rpartition("/")[2]
        if relative == SUMS_NAME:
            raise LibrarianError(
                f"{name} would lie where the digests of the downloads are written.",
                remedy="Fetch it by itself, with open(), and write it under another name.",
                code="place_taken",
            )
        with self._lock:
            other = self._taken.setdefault(relative, name)
        if other != name:
            raise LibrarianError(
                f"{name} and {other} would both become {relative}.",
                remedy="Keep their directories (keep_directories=True), or use two folders.",
                code="place_taken",
            )
        return self.path / relative

    def refuse_other_bytes(self, place: Path) -> None:
        """Raise LibrarianError if something lies at a place, which is not to be overwritten."""
        if os.path.lexists(place) and not self.overwrite:
            raise LibrarianError(
                f"{place} is there already, with other bytes than the archive has under that name.",
                remedy="Move it away, download into another folder, or have it replaced (--overwrite, overwrite=True).",
                code="other_bytes_there",
            )

    def refuse_without_room(self, needed_bytes: int) -> None:
        """Raise LibrarianError if the disk has less free than what is still to come."""
        found = os.statvfs(self.path)
        if found.f_bavail * found.f_frsize < needed_bytes:
            raise disk_full(self.path, needed_bytes)

    def put_file(self, part: Path, place: Path) -> None:
        """Move a complete file into its place, without overwriting unless that is wanted."""
        if self.overwrite:
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            os.replace(part, place)
            return
        try:
            os.link(part, place)
            os.unlink(part)
        except FileExistsError:
            self.refuse_other_bytes(place)
        except OSError as problem:
            if problem.errno not in _NO_LINKS:
                raise
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # claims the name
            os.replace(part, place)

    def put_tree(self, part: Path, place: Path) -> None:
        """Move a complete directory into its place, without overwriting unless that is wanted."""
        if self.overwrite and os.path.lexists(place):
            old = beside(place, ".old")
            discard(old)
            os.rename(place, old)
            os.rename(part, place)
            discard(old)
            return
        try:
            os.rename(part, place)  # onto a file or a directory with something in it this fails
        except OSError:
            self.refuse_other_bytes(place)
            raise


def beside(place: Path, suffix: str) -> Path:
    """A name in the same directory for what is not complete, or not good. Long names give way to their digest."""
    name = place.name + suffix
    if len(os.fsencode(name)) > _LONGEST_COMPONENT_BYTES:
        name = f".{hashlib.sha256(os.fsencode(place.name)).hexdigest()}{suffix}"
    return place.with_name(name)


def discard(path: Path) -> None:
    """Remove a file or a directory of ours, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def take_alone(descriptor: int, part: Path) -> None:
    """Lock an opened `.part`, file or directory. Raises LibrarianError if another download has it, or just had it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.path.samestat(os.fstat(descriptor), os.lstat(part))
    except (BlockingIOError, FileNotFoundError):
        is_ours = False
    except OSError:
        is_ours = True  # a file system without locks
    if not is_ours:
        raise LibrarianError(
            f"{part} is being written by another download.",
            remedy="Wait for it, or use another folder.",
            code="being_downloaded",
        )


def disk_full(path: Path, needed_bytes: int | None = None) -> LibrarianError:
    """The error of a disk without room."""
    missing = f": {needed_bytes} more bytes are needed" if needed_bytes is not None else ""
    return LibrarianError(
        f"The disk of {path} is full{missing}.",
        remedy="Make room and try again: what has arrived is kept and is not fetched again.",
        code="disk_full",
    )


def refuse_unsafe(name: str) -> None:
    """Raise LibrarianError for a name that could lead out of the folder, whoever sent it."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(category(each) in ("Cc", "Cs") for each in name):
        raise LibrarianError(
            f"{name!r} is not a name that may be written to a disk.",
            remedy="Tell the site's operators; no file of the archive should have it.",
            code="unsafe_name",
        )
