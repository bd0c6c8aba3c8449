"""What tells that a product on this disk is still the one that was seen: sizes, times of change, inodes. No bytes."""

import hashlib
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from hera_librarian.uploading.problems import LocalProblem, unreadable


class Member(NamedTuple):
    """One entry of a directory product: a file with bytes, or a directory with nothing in it.

    `source` is where the bytes are read, which for a link inside the product is what it points to.
    """

    path: str
    is_directory: bool
    size_bytes: int
    mtime_ns: int
    inode: int
    source: str

    @property
    def identity(self) -> str:
        return f"{self.size_bytes}:{self.mtime_ns}:{self.inode}"


def file_identity(seen: os.stat_result) -> str:
    """Identity of a flat file."""
    return f"{seen.st_size}:{seen.st_mtime_ns}:{seen.st_ino}"


def product_identity(path: str) -> tuple[str, int]:
    """Identity and size in bytes of a product. Raises LocalProblem; FileNotFoundError when nothing is there."""
    try:
        seen = os.lstat(path)
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise unreadable(path, problem) from problem
    if not stat.S_ISDIR(seen.st_mode):
        return file_identity(seen), seen.st_size
    members = scan_members(path)
    return tree_identity(members), sum(member.size_bytes for member in members)


def tree_identity(members: list[Member]) -> str:
    """Identity of a directory product."""
    digest = hashlib.sha256()
    for member in members:
        digest.update(f"{'d' if member.is_directory else 'f'} {member.identity} {member.path}\0".encode())
    return f"tree:{digest.hexdigest()}"


def scan_members(top: str) -> list[Member]:
    """Entries of a directory product in the order of its tree digest: sorted by the bytes of their paths.

    Raises LocalProblem for what a product cannot have: links that leave it or lead to a directory, devices, sockets,
    pipes, and names that are not UTF-8.
    """
    return sorted(_scan(top, os.path.realpath(top)), key=lambda member: member.path.encode())


def _scan(top: str, real_top: str) -> Iterator[Member]:
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(top, folder)) as listing:
                entries = list(listing)
            if folder and not entries:
                yield Member(folder, True, 0, 0, 0, "")
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                else:
                    yield _member(entry, path, real_top)
        except OSError as problem:
            raise unreadable(os.path.join(top, folder), problem) from problem


def _member(entry: "os.DirEntry[str]", path: str, real_top: str) -> Member:
    source = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
    if entry.is_symlink() and not source.startswith(real_top + os.sep):
        raise _unsafe(entry.path, "is a link that leaves the product")
    if not os.path.isfile(source):
        what = "is a link to no file" if entry.is_symlink() else "is a device, socket or pipe"
        raise _unsafe(entry.path, what)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise _unsafe(entry.path, "has a name that is not UTF-8") from None
    seen = os.stat(source)
    return Member(path, False, seen.st_size, seen.st_mtime_ns, seen.st_ino, source)


def _unsafe(path: str, what: str) -> LocalProblem:
    return LocalProblem(
        "unsafe_product", f"{path!a} {what}.", "Replace it by its bytes, or deliver the product as a tar file."
    )
