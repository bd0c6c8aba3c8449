"""Products on a disk that client and server both see: measuring them, and copying them into staging.

The wire wants size and checksum before it names a place, so the bytes are read twice; the second reading is compared
with the first, since a file that still grows would otherwise be refused only by the server, after the copy.
"""

import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hera_librarian.checksums import DEFAULT_ALGORITHM, Checksum, combine_directory_digests, new_hasher
from hera_librarian.exceptions import LibrarianError

BLOCK_BYTES = 2**20
# The server is often another user of the same machine: it must be able to read, and to move what is a directory.
FILE_MODE = 0o664
DIRECTORY_MODE = 0o775

Progress = Callable[[int], None]


class Pace(Protocol):
    """What slows a copy down."""

    def wait(self, count_bytes: int) -> None:
        """Wait as long as so many more bytes take."""


class NoSharedDisk(LibrarianError):
    """The server's staging area cannot be written from this machine."""

    def __init__(self, reason: str) -> None:
        remedy = "Upload over HTTP, or from a machine that mounts the server's staging area."
        super().__init__(f"No valid transfer managers found. {reason}", remedy=remedy, code="no_shared_disk")


class ChangedMeanwhile(LibrarianError):
    """A product changed while it was read."""

    def __init__(self, path: Path) -> None:
        remedy = "Upload it once nothing writes to it any more."
        super().__init__(f"{path} changed while it was read.", remedy=remedy, code="changed_while_read")


@dataclass(frozen=True, slots=True)
class Measured:
    """Size and checksum of a product as the wire counts them, with the digest of each of its files by path."""

    size_bytes: int
    checksum: str
    digests: dict[str, str]


def measure(path: Path) -> Measured:
    """Read a file or directory and say what the wire calls its size and checksum. Raises LibrarianError."""
    digests: dict[str, str] = {}
    size_bytes = 0
    for relative in members(path):
        digests[relative], count = _hash(path / relative if relative else path)
        size_bytes += count
    is_flat = list(digests) == [""]
    digest = digests[""] if is_flat else combine_directory_digests(DEFAULT_ALGORITHM, digests.values())
    return Measured(size_bytes, str(Checksum(DEFAULT_ALGORITHM, digest)), digests)


def members(path: Path) -> Iterator[str]:
    """Paths of the files of a product relative to it; the one of a flat file is empty.

    A link to a file of the product counts as that file. Raises LibrarianError for any other link, which could hand over
    bytes that nobody meant to, and for what is neither file nor directory.
    """
    kind = _kind(path)
    if not stat.S_ISDIR(kind):
        if not stat.S_ISREG(kind):
            raise _no_file(path)
        yield ""
        return
    inside = os.path.realpath(path) + os.sep
    for folder, folders, names in os.walk(path, onerror=_raise):
        folders.sort()
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                raise _no_file(Path(folder, name))
        for name in sorted(names):
            full = Path(folder, name)
            if full.is_symlink() and not os.path.realpath(full).startswith(inside):
                raise _leads_out(full)
            if not stat.S_ISREG(_kind(full)):
                raise _no_file(full)
            yield full.relative_to(path).as_posix()


def check_reachable(location: Path, hostnames: Iterable[str]) -> None:
    """Raise NoSharedDisk unless this machine can write where the server wants the bytes.

    The directory has a random name, so one that is there is the server's own. Its list of hosts only explains: names
    differ between a machine and what others call it.
    """
    if location.parent.is_dir() and os.access(location.parent, os.W_OK | os.X_OK):
        return
    here = {socket.gethostname(), socket.gethostname().partition(".")[0]}
    named = [name for name in hostnames if name in here]
    if named:
        raise NoSharedDisk(f"The server says that {named[0]} sees {location.parent}, but it cannot be written here.")
    raise NoSharedDisk(f"The server's staging area is seen by {', '.join(hostnames) or 'no host'}, not from here.")


def copy_product(
    path: Path, location: Path, measured: Measured, *, progress: Progress | None = None, pace: Pace | None = None
) -> None:
    """Copy a product to `location`, which must not exist yet; directories above it are made.

    Raises ChangedMeanwhile unless the bytes are those that were measured, and LibrarianError when the copy fails.
    """
    try:
        location.parent.mkdir(parents=True, exist_ok=True)
        if list(measured.digests) == [""]:
            _copy(path, location, measured.digests[""], progress, pace)
            return
        if set(members(path)) != set(measured.digests):
            raise ChangedMeanwhile(path)
        _copy_folders(path, location)
        for relative, digest in measured.digests.items():
            _copy(path / relative, location / relative, digest, progress, pace)
    except OSError as problem:
        raise LibrarianError(
            f"Could not copy {path} to {location}: {problem.strerror}.",
            remedy="Check the free space and the permissions of the server's staging area.",
            code="copy_failed",
        ) from problem


# --- Inside -----------------------------------------------------------------------------------------------------------


def _hash(path: Path) -> tuple[str, int]:
    hasher, count = new_hasher(DEFAULT_ALGORITHM), 0
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(BLOCK_BYTES):
                hasher.update(block)
                count += len(block)
    except OSError as problem:
        raise _unreadable(path, problem) from problem
    return hasher.hexdigest(), count


def _copy(source: Path, target: Path, digest: str, progress: Progress | None, pace: Pace | None) -> None:
    hasher = new_hasher(DEFAULT_ALGORITHM)
    with source.open("rb", buffering=0) as old, target.open("xb", buffering=0) as new:
        while block := old.read(BLOCK_BYTES):
            if pace is not None:
                pace.wait(len(block))
            hasher.update(block)
            view = memoryview(block)
            while view:
                view = view[new.write(view) :]
            if progress is not None:
                progress(len(block))
    if hasher.hexdigest() != digest:
        raise ChangedMeanwhile(source)
    _set_mode(target, FILE_MODE)


def _copy_folders(path: Path, location: Path) -> None:
    """Make the directories of a product, the empty ones too."""
    for folder, _, _ in os.walk(path, onerror=_raise):
        made = location / Path(folder).relative_to(path)
        made.mkdir()
        _set_mode(made, DIRECTORY_MODE)


def _set_mode(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)
    except OSError:
        pass  # some mounts have no modes; the server says so if it then cannot read


def _kind(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError as problem:
        raise _unreadable(path, problem) from problem


def _raise(problem: OSError) -> None:
    raise _unreadable(Path(problem.filename or "?"), problem) from problem


def _unreadable(path: Path, problem: OSError) -> LibrarianError:
    return LibrarianError(
        f"{path} cannot be read: {problem.strerror}.",
        remedy="Check the path and its permissions.",
        code="source_unreadable",
    )


def _leads_out(path: Path) -> LibrarianError:
    remedy = "Replace it by its bytes, or deliver the product as a tar file."
    return LibrarianError(f"{path} is a link that leaves the product.", remedy=remedy, code="unsafe_product")


def _no_file(path: Path) -> LibrarianError:
    remedy = "Take links to directories, sockets and devices out of the product."
    return LibrarianError(f"{path} is neither a file nor a directory.", remedy=remedy, code="unsafe_product")
