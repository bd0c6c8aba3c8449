"""Stores in a directory of this machine or of a shared file system.

Configuration: `root`, and `staging` if it is not to be `<root>/.librarian/staging`; both absolute, on one file system.
"""

import errno
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

from librarian.common.errors import ArchiveError, Misconfigured
from stores.backends import corners, durable, placing, staging, trees
from stores.backends.base import (
    BLOCK_BYTES,
    Availability,
    Content,
    Entry,
    Kind,
    Member,
    MissingBytes,
    PlaceOccupied,
    Progress,
    RecordLine,
    UnsafeProduct,
)
from stores.backends.places import CORNER, PAPERS, QUARANTINE, split_new_place, split_place
from stores.backends.reading import Settling, read_file
from stores.backends.record import RecordReader, RecordWriter
from stores.backends.staging_area import FEW, StagingArea, check_token

if TYPE_CHECKING:
    from stores.models import Store

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
_writers_lock = threading.Lock()


@lru_cache(maxsize=256)
def _shared_writer(store_name: str, marker: str, root: str) -> RecordWriter:
    return RecordWriter(store_name, marker)


def _record_writer(store_name: str, marker: str, root: str) -> RecordWriter:
    """The one writer of this process for a store, so that threads share a segment."""
    with _writers_lock:
        return _shared_writer(store_name, marker, root)


class PosixBackend(StagingArea):
    """Bytes below a directory."""

    def __init__(self, store: "Store") -> None:
        problems = corners.check_configuration(store.configuration)
        if problems:
            raise Misconfigured(f"Store {store.name}: {' '.join(problems)}")
        settling = Settling(read_only=store.read_only_after_commit, own=store.own_after_commit)
        super().__init__(store, corners.Corners(store), settling)
        self._problems: list[str] = []

    # --- The store itself ---

    @staticmethod
    def check_configuration(configuration: dict[str, Any]) -> list[str]:
        return corners.check_configuration(configuration)

    def initialise(self) -> None:
        self._corners.initialise()

    def carries_marker(self) -> bool:
        return self._corners.carries_marker()

    def check(self) -> Availability:
        return self._corners.check()

    def holding(self) -> AbstractContextManager[None]:
        return self._corners.holding()

    # --- Bytes in ---

    def place_item(self, token: str, place: str) -> None:
        *above, name = split_new_place(place)
        location = self.locate(place)
        with self._corners.speaking(f"placing {location}"), ExitStack() as stack:
            root = stack.enter_context(self._corners.open_root())
            try:
                fd = stack.enter_context(self._corners.open_token(check_token(token)))
                parent = stack.enter_context(durable.closing(self._parent_for(root, above, location)))
                placing.place(fd, parent, name, location, self._settling)
            except FileNotFoundError as error:
                raise self._missing(f"The staged item of {location} is no longer there.") from error

    def _parent_for(self, root: int, above: list[str], location: str) -> int:
        try:
            return durable.descend(root, above, make=True)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise PlaceOccupied(f"A file or link lies where {location} needs a directory.") from error
            raise

    def sync_bytes(self, places: Iterable[str]) -> None:
        wanted = [split_place(place) for place in places]
        with self._corners.speaking("making bytes durable"), self._corners.open_root() as root:
            if durable.HAS_SYNCFS and len(wanted) > FEW:
                durable.sync_filesystem(root)
                return
            for parts in wanted:
                with durable.closing(self._open_committed(root, parts)) as fd:
                    if stat.S_ISDIR(os.fstat(fd).st_mode):
                        trees.sync_tree(fd)
                    else:
                        os.fsync(fd)

    def sync_places(self, places: Iterable[str]) -> None:
        wanted = [split_new_place(place) for place in places]
        above = {tuple(parts[:depth]) for parts in wanted for depth in range(len(parts))}
        with self._corners.speaking("making places durable"), self._corners.open_root() as root:
            if durable.HAS_SYNCFS and len(above) + len(wanted) > 2 * FEW:
                durable.sync_filesystem(root)
                return
            for parts in sorted(above, key=len, reverse=True):
                with durable.closing(durable.descend(root, parts)) as fd:
                    os.fsync(fd)
            for parts in wanted:  # the mode of what was just placed
                with durable.closing(self._open_committed(root, parts)) as fd:
                    os.fsync(fd)

    def is_placed(self, token: str, place: str) -> bool:
        *above, name = split_new_place(place)
        with self._corners.speaking("looking at a place"), self._corners.open_root() as root:
            try:
                with (
                    self._corners.open_token(check_token(token)) as fd,
                    durable.closing(durable.descend(root, above)) as parent,
                ):
                    return placing.is_placed(fd, parent, name)
            except OSError as error:
                if error.errno in (*_NOT_THERE, errno.ELOOP):
                    return False
                raise

    def set_aside_item(self, token: str) -> str:
        aside = f"{QUARANTINE}/{token}/{placing.ITEM}"
        with self._corners.speaking(f"setting staging {token} aside"), ExitStack() as stack:
            root = stack.enter_context(self._corners.open_root())
            corner = stack.enter_context(self._corners.open_corner("quarantine", token, make=True))
            if durable.exists(placing.ITEM, at=corner):
                return aside  # moved before a crash
            _sync_with_parent(root, corner)
            with self._token(f"setting staging {token} aside", token) as fd:
                if not durable.exists(placing.ITEM, at=fd):
                    raise self._missing(f"Nothing lies in staging {token}.")
                _move_aside(placing.ITEM, fd, corner)
                os.fsync(corner)
                os.fsync(fd)
        return aside

    # --- Bytes held ---

    def locate(self, place: str) -> str:
        split_place(place)
        return f"{self._corners.root}/{place}"

    def place_of(self, location: str) -> str | None:
        if not location.startswith("/") or "\x00" in location:
            return None
        above, name = os.path.split(os.path.normpath(location))
        root = os.path.realpath(self._corners.root)
        resolved = os.path.join(os.path.realpath(above), name)
        if not resolved.startswith(root + "/"):
            return None
        place = resolved[len(root) + 1 :]
        return None if place.split("/")[0] == CORNER or self._is_paper(place) else place

    def stat(self, place: str) -> tuple[Kind, int]:
        with self._at(place) as fd:
            seen = os.fstat(fd)
            if stat.S_ISDIR(seen.st_mode):
                return "directory", trees.tree_size(fd, self.locate(place))
            return "flat", seen.st_size

    def read(self, place: str, member: str = "", offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        with self._at(place) as fd:
            opened = self._open_member(fd, place, member) if member else os.dup(fd)
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            raise self._missing(f"{self.locate(place)}{member and '/'}{member} is a directory; name one of its files.")
        file = os.fdopen(opened, "rb", buffering=0)  # closed with the iterator, even one that was never started
        return self._blocks(file, self.locate(place), offset, length)

    def _open_member(self, top: int, place: str, member: str) -> int:
        parts = split_place(member)
        location = f"{self.locate(place)}/{member}"
        try:
            with durable.closing(durable.descend(top, parts[:-1])) as parent:
                seen = durable.look(parts[-1], at=parent)
                if seen is not None and stat.S_ISLNK(seen.st_mode):
                    target = os.readlink(os.fsencode(parts[-1]), dir_fd=parent)
                    return trees.open_link(top, os.fsencode(member), target, location=os.fsencode(self.locate(place)))
                return durable.open_for_reading(parts[-1], at=parent)
        except OSError as error:
            if error.errno in (*_NOT_THERE, errno.ELOOP):
                raise self._missing(f"There is no file at {location}.") from error
            raise

    def _blocks(self, file: IO[bytes], location: str, offset: int, length: int | None) -> Iterator[bytes]:
        with file:
            while length is None or length > 0:
                wanted = BLOCK_BYTES if length is None else min(BLOCK_BYTES, length)
                with self._corners.speaking(f"reading {location}"):
                    block = os.pread(file.fileno(), wanted, offset)
                if not block:
                    return
                offset += len(block)
                if length is not None:
                    length -= len(block)
                yield block

    def digest(self, place: str, algorithms: Iterable[str], progress: Progress | None = None) -> Content:
        wanted, location = [*algorithms], self.locate(place)
        with self._at(place) as fd:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                return trees.TreeReader(wanted, explain=self._explain, location=location, progress=progress).read(fd)
            found = read_file(fd, location, staging.with_sha256(wanted), explain=self._explain, progress=progress)
            return staging.flat_content(found, wanted)

    def list(self, below: str = "") -> Iterator[Entry]:
        todo = [below] if below else [""]
        with self._corners.open_root() as root:
            while todo:
                directory = todo.pop()
                with self._corners.speaking(f"listing {self._corners.root}/{directory}"):
                    try:
                        fd = durable.descend(root, split_place(directory) if directory else [])
                    except OSError as error:
                        if error.errno in (*_NOT_THERE, errno.ELOOP):
                            continue  # gone, or something else, since it was listed
                        raise
                    with durable.closing(fd):
                        yield from self._entries(fd, directory, todo)

    def _entries(self, fd: int, directory: str, todo: "list[str]") -> Iterator[Entry]:
        prefix = f"{directory}/" if directory else ""
        with os.scandir(fd) as entries:
            for entry in entries:
                place = prefix + entry.name
                if place == CORNER or self._is_paper(place):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    todo.append(place)
                elif entry.is_file(follow_symlinks=False):
                    seen = durable.look(entry.name, at=fd)
                    if seen is not None:
                        yield Entry(place, seen.st_size, seen.st_mtime_ns)

    def set_aside(self, place: str, token: str) -> str:
        *above, name = split_new_place(place)
        check_token(token)
        aside = f"{QUARANTINE}/{token}/{name}"
        with self._corners.speaking(f"setting {self.locate(place)} aside"), ExitStack() as stack:
            root = stack.enter_context(self._corners.open_root())
            corner = stack.enter_context(self._corners.open_corner("quarantine", token, make=True))
            if durable.exists(name, at=corner):
                return aside  # moved before a crash
            try:
                parent = stack.enter_context(durable.closing(durable.descend(root, above)))
                _sync_with_parent(root, corner)
                _move_aside(name, parent, corner)
                os.fsync(corner)
            except OSError as error:
                if error.errno in _NOT_THERE:
                    raise self._missing(f"Nothing lies at {self.locate(place)}.") from error
                raise
            os.fsync(parent)
        return aside

    def remove(self, place: str) -> None:
        *above, name = split_place(place)
        with self._corners.speaking(f"removing {self.locate(place)}"), self._corners.open_root() as root:
            try:
                parent = durable.descend(root, above)
            except OSError as error:
                if error.errno in _NOT_THERE:
                    return
                raise
            with durable.closing(parent):
                problems = durable.remove_tree(name, at=parent)
                os.fsync(parent)
        if problems:
            raise self._corners.unavailable(f"{self.locate(place)} was not removed: {'; '.join(problems)}")

    # --- The papers of a disk that travels ---

    def write_paper(self, name: str, blocks: Iterable[bytes]) -> None:
        if name not in PAPERS:
            raise ValueError(f"{name!r} is not one of the disk's own papers")
        with (
            self._corners.speaking(f"writing {name}"),
            self._corners.open_root() as root,
            self._corners.open_corner("papers", make=True) as desk,
        ):
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644, dir_fd=desk)
            with durable.closing(fd):
                for block in blocks:
                    durable.write_all(fd, block)
                os.fsync(fd)
            os.rename(name, name, src_dir_fd=desk, dst_dir_fd=root)
            os.fsync(root)

    def read_paper(self, name: str, *, limit_bytes: int) -> bytes | None:
        with self._corners.speaking(f"reading {name}"), self._corners.open_root() as root:
            try:
                return durable.read_small(name, at=root, limit_bytes=limit_bytes)
            except FileNotFoundError:
                return None

    def _is_paper(self, place: str) -> bool:
        return self.store.travelling and place in PAPERS

    # --- The commit record ---

    def append_record(self, lines: Iterable[tuple[RecordLine, Iterable[Member]]]) -> None:
        writer = _record_writer(self.store.name, self._corners.marker, self._corners.root)
        with self._corners.speaking("writing its commit record"), self._corners.open_corner("record") as fd:
            writer.append(fd, lines)

    def read_record(self) -> Iterator[tuple[RecordLine, Iterator[Member]]]:
        reader = RecordReader(self._corners.marker)
        self._problems = reader.problems
        with self._corners.speaking("reading its commit record"), self._corners.open_corner("record") as fd:
            yield from reader.read(fd)

    @property
    def record_problems(self) -> "list[str]":
        return list(self._problems)

    # --- Helpers ---

    @contextmanager
    def _at(self, place: str) -> Iterator[int]:
        """What lies at a place, opened without following links. Raises MissingBytes or UnsafeProduct."""
        parts = split_place(place)
        with self._corners.speaking(f"reading {self.locate(place)}"), self._corners.open_root() as root:
            try:
                opened = self._open_committed(root, parts)
            except OSError as error:
                if error.errno in _NOT_THERE:
                    raise self._missing(f"Nothing lies at {self.locate(place)}.") from error
                if error.errno in (errno.ELOOP, errno.ENXIO):
                    raise UnsafeProduct(f"{self.locate(place)} is, or lies behind, a link or a device.") from error
                raise
            with durable.closing(opened) as fd:
                if not stat.S_ISREG(os.fstat(fd).st_mode) and not stat.S_ISDIR(os.fstat(fd).st_mode):
                    raise UnsafeProduct(f"{self.locate(place)} is neither a file nor a directory.")
                yield fd

    def _open_committed(self, root: int, parts: "list[str]") -> int:
        with durable.closing(durable.descend(root, parts[:-1])) as parent:
            return durable.open_for_reading(parts[-1], at=parent)

    def _missing(self, reason: str) -> ArchiveError:
        """Bytes are missing only on a store that is itself available; else nothing is known of them."""
        found = self.check()
        if not found.available:
            return self._corners.unavailable(found.reason, found.remedy)
        return MissingBytes(reason, remedy="Deliver the bytes again, or look for another copy.")


def _sync_with_parent(root: int, corner: int) -> None:
    """Make the new directory in quarantine durable before bytes move there."""
    os.fsync(corner)
    with durable.closing(durable.descend(root, QUARANTINE.split("/"))) as quarantine:
        os.fsync(quarantine)


def _move_aside(name: str, parent: int, corner: int) -> None:
    """Rename into quarantine; a read-only directory must be opened up to be moved."""
    seen = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(seen.st_mode):
        os.rename(name, name, src_dir_fd=parent, dst_dir_fd=corner)
        return
    with durable.closing(durable.open_directory(name, at=parent)) as fd:
        mode = stat.S_IMODE(seen.st_mode)
        os.fchmod(fd, mode | 0o200)
        try:
            os.rename(name, name, src_dir_fd=parent, dst_dir_fd=corner)
        finally:
            os.fchmod(fd, mode)
