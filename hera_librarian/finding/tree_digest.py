"""The tree digest of a directory product, from members in order or from a directory on this machine.

SHA-256 over the records, sorted by the bytes of the path, `f <size> <sha256> <path>\\0` and, for an empty directory,
`d <path>\\0` (docs/glossary.md).
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: its path in the product, its size in bytes and its SHA-256, empty for an empty directory."""

    path: str
    size_bytes: int
    sha256: str


class TreeDigest:
    """Takes the members in the order of the bytes of their paths."""

    def __init__(self) -> None:
        self._hasher = hashlib.sha256()
        self._last = b""
        self.size_bytes = 0
        self.count = 0

    def add(self, entry: Entry) -> None:
        """Take the next member. Raises ValueError if it belongs before the one that was taken last."""
        path = entry.path.encode()
        if path <= self._last:
            raise ValueError(f"{entry.path!r} is out of order")
        self._last = path
        record = b"f %d %s " % (entry.size_bytes, entry.sha256.encode()) if entry.sha256 else b"d "
        self._hasher.update(record + path + b"\0")
        self.size_bytes += entry.size_bytes
        self.count += 1

    def hexdigest(self) -> str:
        """The digest of all that was taken, lower-case hex."""
        return self._hasher.hexdigest()


def sha256_of(path: str | os.PathLike[str], seen: Callable[[int], None] = lambda _: None) -> str:
    """SHA-256 of a file on this machine; `seen` is told the bytes read."""
    hasher = hashlib.sha256()
    with open(path, "rb") as source:
        while block := source.read(READ_BYTES):
            hasher.update(block)
            seen(len(block))
    return hasher.hexdigest()


def paths_in(folder: str, below: str = "") -> Iterator[tuple[str, bool]]:
    """Files and empty directories below a folder, as (path, is a file), in the order of the bytes of their paths.

    Links and devices are given as files; who reads them must look what they are.
    """
    with os.scandir(os.path.join(folder, below)) as found:
        entries = [(each.name, each.is_dir(follow_symlinks=False)) for each in found]
    # A directory's members sort where its name and a slash would: `a-b` comes before `a/x`.
    for name, is_directory in sorted(entries, key=lambda each: os.fsencode(each[0]) + b"/" * each[1]):
        path = f"{below}/{name}" if below else name
        if is_directory:
            yield from paths_in(folder, path)
        else:
            yield path, True
    if not entries and below:
        yield below, False


def local_entries(folder: str, seen: Callable[[int], None] = lambda _: None) -> Iterator[Entry]:
    """Members of a directory on this machine, each read for its digest. Raises ValueError for links and devices."""
    for path, is_file in paths_in(folder):
        place = os.path.join(folder, path)
        if not is_file:
            yield Entry(path, 0, "")
        elif os.path.islink(place) or not os.path.isfile(place):
            raise ValueError(f"{place} is not an ordinary file")
        else:
            yield Entry(path, os.path.getsize(place), sha256_of(place, seen))
