"""Directory products: walked in the order of the tree digest, read once, and copied in the same pass if asked.

The tree digest is SHA-256 over the records, sorted by path bytes, `f <size> <sha256hex> <path>\\0` and, for an empty
directory, `d <path>\\0`. A link to a file inside the product counts as a file with that file's bytes.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Protocol

from hera_librarian.checksums import new_hasher
from stores.backends import durable
from stores.backends.base import ChangedWhileRead, Content, Progress, UnsafeProduct
from stores.backends.pipe import Digested
from stores.backends.places import check_member_name, shown
from stores.backends.reading import Explain, Settling, is_ours, read_file
from stores.backends.sorting import MemberRecords, SortedLines

MAX_DEPTH = 128  # directories within directories; each level holds descriptors open
_MAX_LINKS = 40  # as the kernel
_VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


class Opener(Protocol):
    """Opens a name in a directory."""

    def __call__(self, name: str | bytes, *, at: int | None = None) -> int: ...


class Sink(Protocol):
    """Where a tree that is read is written to."""

    def enter(self, name: str) -> None: ...
    def leave(self) -> None: ...
    def create(self, name: str) -> int: ...
    def finish(self, fd: int) -> None: ...


class NewTree:
    """A sink that makes a new directory tree `name` in the directory `at`."""

    def __init__(self, name: str, *, at: int, settling: Settling) -> None:
        os.mkdir(name, 0o755, dir_fd=at)
        self._levels = [durable.open_directory(name, at=at)]
        self._settling = settling

    def enter(self, name: str) -> None:
        os.mkdir(name, 0o755, dir_fd=self._levels[-1])
        self._levels.append(durable.open_directory(name, at=self._levels[-1]))

    def leave(self) -> None:
        with durable.closing(self._levels.pop()) as fd:
            self._settling.apply(fd, directory=True)

    def create(self, name: str) -> int:
        return os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=self._levels[-1]
        )

    def finish(self, fd: int) -> None:
        self._settling.apply(fd)

    def close(self) -> None:
        """Close what is open; the top keeps its mode, since a directory must be writable to be moved."""
        while self._levels:
            os.close(self._levels.pop())


class TreeTally:
    """Adds up the members of a directory product, which come in the order of the tree digest.

    Attributes
    ----------
    hashed : list of str
        The algorithms by which each file must be read.
    count : int
        Members so far.
    """

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._digests = {algorithm: SortedLines() for algorithm in algorithms}
        self.hashed = list(dict.fromkeys(["sha256", *self._digests]))
        self._records = MemberRecords()
        self._tree = hashlib.sha256()
        self._size_bytes = 0

    @property
    def count(self) -> int:
        return self._records.count

    def add_file(self, path: bytes, found: Digested) -> None:
        """The next member is a file, read to its end."""
        self._size_bytes += found.size_bytes
        for algorithm, lines in self._digests.items():
            lines.add(found.hexdigests[algorithm].encode())
        self._record(b"f %d %s %s\0" % (found.size_bytes, found.hexdigests["sha256"].encode(), path))

    def add_empty_directory(self, path: bytes) -> None:
        """The next member is an empty directory."""
        self._record(b"d " + path + b"\0")

    def _record(self, record: bytes) -> None:
        self._records.add(record)
        self._tree.update(record)

    def content(self) -> Content:
        """What the product holds."""
        return Content(
            kind="directory",
            size_bytes=self._size_bytes,
            digest=self._tree.hexdigest(),
            checksums={algorithm: _combined(algorithm, lines) for algorithm, lines in self._digests.items()},
            members=self._records,
            member_count=self._records.count,
        )


class TreeReader:
    """One reading of a directory product.

    Parameters
    ----------
    algorithms : iterable of str
        Algorithms of the wire's directory checksum.
    explain : callable
        Turns an OSError met on the product into what the caller is told.
    location : str
        Where the product lies; an absolute link below it counts as a link inside the product.
    sink : Sink, optional
        Gets a copy.
    ours_only : bool
        Refuse with ChangedWhileRead what not only the server's own user can have written.
    """

    def __init__(
        self,
        algorithms: Iterable[str],
        *,
        explain: Explain,
        location: str,
        sink: Sink | None = None,
        ours_only: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._tally = TreeTally(algorithms)
        self._explain = explain
        self._location = os.fsencode(location)
        self._sink = sink
        self._ours_only = ours_only
        self._progress = progress
        self._root = -1

    def read(self, root: int) -> Content:
        """Read the product whose top directory is open as `root`."""
        self._root = root
        self._directory(root, b"", 0)
        return self._tally.content()

    def _directory(self, fd: int, prefix: bytes, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise UnsafeProduct(
                f"The product nests more than {MAX_DEPTH} directories.", remedy="Deliver it as a tar file instead."
            )
        before = os.fstat(fd)
        if self._ours_only and not is_ours(before):
            raise self._changed(prefix)
        for name, kind in self._entries(fd, prefix):
            self._member(fd, name, kind, prefix, depth)
        if os.fstat(fd).st_mtime_ns != before.st_mtime_ns:
            raise self._changed(prefix)

    def _entries(self, fd: int, prefix: bytes) -> Iterator[tuple[str, str]]:
        """Names and kinds of a directory's entries in the order in which their paths sort.

        All paths below a directory start with its name and a slash, so it sorts as if the slash were part of its name;
        an empty one has a record of its own, without.
        """
        lines = SortedLines()
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    path = check_member_name(entry.name, prefix)
                    kind = self._kind(entry, fd, path)
                    lines.add(entry.name.encode() + (b"/\0d" if kind == "d" else b"\0" + kind.encode()))
        except OSError as error:
            raise self._say(error, prefix) from error
        for line in lines:
            key, _, kind = line.partition(b"\0")
            yield key.removesuffix(b"/").decode(), kind.decode()

    def _kind(self, entry: "os.DirEntry[str]", fd: int, path: bytes) -> str:
        if entry.is_file(follow_symlinks=False):
            return "f"
        if entry.is_symlink():
            return "l"
        if not entry.is_dir(follow_symlinks=False):
            raise UnsafeProduct(f"The product's member {shown(path)} is a device, socket or pipe.")
        with durable.closing(durable.open_directory(entry.name, at=fd)) as below, os.scandir(below) as inside:
            return "e" if next(inside, None) is None else "d"

    def _member(self, fd: int, name: str, kind: str, prefix: bytes, depth: int) -> None:
        path = prefix + name.encode()
        if kind in ("f", "l"):
            self._file(fd, name, kind, path)
            return
        if self._sink is not None:
            self._sink.enter(name)
        with durable.closing(self._open(durable.open_directory, name, fd, path)) as below:
            count = self._tally.count
            self._directory(below, path + b"/", depth + 1)
            if (self._tally.count == count) != (kind == "e"):
                raise self._changed(path)  # filled or emptied after it was sorted
            if kind == "e":
                self._tally.add_empty_directory(path)
        if self._sink is not None:
            self._sink.leave()

    def _file(self, fd: int, name: str, kind: str, path: bytes) -> None:
        opened = (
            self._open_link(fd, name, path) if kind == "l" else self._open(durable.open_for_reading, name, fd, path)
        )
        with durable.closing(opened) as source:
            seen = os.fstat(source)
            if not stat.S_ISREG(seen.st_mode) or (self._ours_only and (kind == "l" or not is_ours(seen))):
                raise self._changed(path)
            found = self._read(source, name, path)
        self._tally.add_file(path, found)

    def _read(self, source: int, name: str, path: bytes) -> Digested:
        options = {"explain": self._explain, "progress": self._progress}
        if self._sink is None:
            return read_file(source, path, self._tally.hashed, **options)
        with durable.closing(self._sink.create(name)) as target:
            found = read_file(source, path, self._tally.hashed, target=target, **options)
            self._sink.finish(target)
            return found

    def _open_link(self, fd: int, name: str, path: bytes) -> int:
        try:
            return open_link(self._root, path, os.readlink(os.fsencode(name), dir_fd=fd), location=self._location)
        except OSError as error:
            raise self._say(error, path) from error

    def _open(self, opener: Opener, name: str, fd: int, path: bytes) -> int:
        try:
            return opener(name, at=fd)
        except OSError as error:
            raise self._say(error, path) from error

    def _say(self, error: OSError, path: bytes) -> Exception:
        """A member that was listed and is no longer there, or is something else now, has changed."""
        return self._changed(path) if error.errno in _VANISHED else self._explain(error, path)

    def _changed(self, path: bytes) -> ChangedWhileRead:
        return ChangedWhileRead(f"The product changed at {shown(path or b'.')} while it was read.")


def _combined(algorithm: str, digests: Iterable[bytes]) -> str:
    """The wire's checksum of a directory: of the sorted hex digests of its files, joined by nothing.

    The same rule as `hera_librarian.checksums.combine_directory_digests`, which holds them all in memory.
    """
    hasher = new_hasher(algorithm)
    for digest in digests:
        hasher.update(digest)
    return str(hasher.hexdigest())


def open_link(root: int, path: bytes, target: bytes, *, location: bytes) -> int:
    """Open the regular file that a product's link at `path` leads to, if it lies inside the product.

    Each component is looked at without following it, so no step of the way can leave the product. Raises
    UnsafeProduct for any other link.
    """
    here = path.split(b"/")[:-1]
    todo = target.split(b"/")
    links = 1
    if target.startswith(b"/"):
        here, todo = [], _below(location, target, path)
    while todo:
        part = todo.pop(0)
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not here:
                raise _bad_link(path, "leads out of the product")
            here.pop()
            continue
        with durable.closing(durable.descend(root, here)) as at:
            seen = durable.look(part, at=at)
            if seen is None:
                raise _bad_link(path, "leads to nothing")
            if stat.S_ISREG(seen.st_mode) and not todo:
                return durable.open_for_reading(part, at=at)
            if stat.S_ISLNK(seen.st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise _bad_link(path, "leads in a circle")
                next_target = os.readlink(part, dir_fd=at)
                if next_target.startswith(b"/"):
                    here, todo = [], [*_below(location, next_target, path), *todo]
                else:
                    todo = [*next_target.split(b"/"), *todo]
            elif stat.S_ISDIR(seen.st_mode):
                here.append(part)
            else:
                raise _bad_link(path, "does not lead to a file")
    raise _bad_link(path, "leads to a directory")


def _below(location: bytes, target: bytes, path: bytes) -> list[bytes]:
    if not target.startswith(location + b"/"):
        raise _bad_link(path, "leads out of the product")
    return target[len(location) + 1 :].split(b"/")


def _bad_link(path: bytes, why: str) -> UnsafeProduct:
    return UnsafeProduct(f"The product's member {shown(path)} is a symbolic link that {why}.")


def is_all_ours(root: int) -> bool:
    """True if only the server's own user can have written anything of a tree, and it holds no links."""
    return all(
        is_ours(seen) and not (stat.S_ISREG(seen.st_mode) and _is_written(name, at))
        for seen, name, at in _everything(root)
    )


def _is_written(name: str, at: int) -> bool:
    with durable.closing(durable.open_for_reading(name, at=at)) as fd:
        return durable.has_writer(fd)


def settle_tree(root: int, settling: Settling) -> None:
    """Settle everything below the top of a tree that is ours; the top itself is settled once it has its place."""
    for seen, name, at in _everything(root):
        if name == ".":
            continue
        directory = stat.S_ISDIR(seen.st_mode)
        with durable.closing((durable.open_directory if directory else durable.open_for_reading)(name, at=at)) as fd:
            settling.apply(fd, directory=directory)


def tree_size(root: int, location: str) -> int:
    """Sum of the sizes in bytes of the files of a tree; a link to a file inside it counts as that file."""
    total = 0
    for seen, name, at, prefix in _walk(root):
        if stat.S_ISREG(seen.st_mode):
            total += seen.st_size
        elif stat.S_ISLNK(seen.st_mode):
            path, target = prefix + os.fsencode(name), os.readlink(os.fsencode(name), dir_fd=at)
            with durable.closing(open_link(root, path, target, location=os.fsencode(location))) as fd:
                total += os.fstat(fd).st_size
    return total


def sync_tree(root: int, *, forget: bool = False) -> None:
    """fsync each file and directory of a tree; with `forget` the page cache lets go of the files."""
    for seen, name, at in _everything(root):
        if stat.S_ISDIR(seen.st_mode) or stat.S_ISREG(seen.st_mode):
            with durable.closing(durable.open_for_reading(name, at=at)) as fd:
                durable.sync_and_forget(fd) if forget and stat.S_ISREG(seen.st_mode) else os.fsync(fd)


def latest_change(root: int) -> float:
    """When anything of a tree last changed, Unix seconds: its ctime, since rsync copies the mtime of its source."""
    return max((seen.st_ctime for seen, _, _ in _everything(root)), default=0.0)


def _everything(root: int) -> Iterator[tuple[os.stat_result, str, int]]:
    return ((seen, name, at) for seen, name, at, _ in _walk(root))


def _walk(root: int) -> Iterator[tuple[os.stat_result, str, int, bytes]]:
    """What a tree holds, itself last (as "."), each with its name, the directory it is in and that one's path.

    A directory comes after what it holds. In no particular order otherwise; holds one directory of names a level.
    """
    yield from _walk_below(root, b"", 0)
    yield os.fstat(root), ".", root, b""


def _walk_below(fd: int, prefix: bytes, depth: int) -> Iterator[tuple[os.stat_result, str, int, bytes]]:
    if depth > MAX_DEPTH:
        raise UnsafeProduct(f"The product nests more than {MAX_DEPTH} directories.")
    with os.scandir(fd) as entries:
        for entry in entries:
            seen = durable.look(entry.name, at=fd)
            if seen is None:
                continue
            if stat.S_ISDIR(seen.st_mode):
                try:
                    below = durable.open_directory(entry.name, at=fd)
                except FileNotFoundError:
                    continue
                with durable.closing(below):
                    yield from _walk_below(below, prefix + os.fsencode(entry.name) + b"/", depth + 1)
            yield seen, entry.name, fd, prefix
