"""Stores in a directory of this machine or of a shared file system.

Configuration: `root`, and `staging` if it is not to be `<root>/.librarian/staging`; both absolute, on one file system.
"""

import errno
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

from librarian.common.errors import ArchiveError, Misconfigured
from stores.backends import arriving, corners, durable, placing, staging, trees, unpacking
from stores.backends.base import (
    BLOCK_BYTES,
    TOKEN,
    Availability,
    Content,
    Entry,
    Kind,
    Member,
    MissingBytes,
    Part,
    PlaceOccupied,
    Progress,
    RecordLine,
    Space,
    StoreBackend,
    TreeEntry,
    UnsafeProduct,
)
from stores.backends.places import CORNER, QUARANTINE, shown, split_new_place, split_place
from stores.backends.reading import Settling, explain_source, read_file
from stores.backends.record import RecordReader, RecordWriter

if TYPE_CHECKING:
    from stores.models import Store

logger = logging.getLogger(__name__)

MAX_LOCATION_CHARACTERS = 256  # of the wire protocol
_PART_BUFFER_BYTES = 128 * 1024  # headers of a tar are small and near each other
_FEW = 4  # up to so many things are made durable one by one, more by one syncfs
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
_writers_lock = threading.Lock()


@lru_cache(maxsize=256)
def _shared_writer(store_name: str, marker: str, root: str) -> RecordWriter:
    return RecordWriter(store_name, marker)


def _record_writer(store_name: str, marker: str, root: str) -> RecordWriter:
    """The one writer of this process for a store, so that threads share a segment."""
    with _writers_lock:
        return _shared_writer(store_name, marker, root)


class PosixBackend(StoreBackend):
    """Bytes below a directory."""

    def __init__(self, store: "Store") -> None:
        super().__init__(store)
        problems = corners.check_configuration(store.configuration)
        if problems:
            raise Misconfigured(f"Store {store.name}: {' '.join(problems)}")
        self._corners = corners.Corners(store)
        self._settling = Settling(read_only=store.read_only_after_commit, own=store.own_after_commit)
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

    def space(self) -> Space:
        with self._corners.speaking("measuring its space"), self._corners.open_root() as root:
            found = os.fstatvfs(root)
        free = found.f_bavail * found.f_frsize
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        return Space(capacity_bytes=used + free, free_bytes=free)  # what is reserved for root is nobody's

    def holding(self) -> AbstractContextManager[None]:
        return self._corners.holding()

    # --- Bytes in ---

    def item_location(self, token: str) -> str:
        _check_token(token)
        return f"{self._corners.staging}/{token}/{placing.ITEM}"

    def stage(self, token: str, *, private: bool = False) -> str:
        location = self.item_location(token)
        if len(location) > MAX_LOCATION_CHARACTERS:
            raise Misconfigured(f"Store {self.store.name}: the staging path {location} is too long for the wire.")
        with self._corners.speaking("making a staging directory"), self._corners.open_staging() as area:
            try:
                os.mkdir(token, 0o700, dir_fd=area)
            except FileExistsError:
                return location  # staged already: the request was repeated
            if not private:
                os.chmod(token, 0o775 if self.store.group_writable_staging else 0o755, dir_fd=area)
        return location

    def write_item(
        self, token: str, source: IO[bytes], algorithms: Iterable[str], progress: Progress | None = None
    ) -> Content:
        with self._token("writing to staging", token) as fd:
            return staging.write_stream(fd, source, list(algorithms), self._settling, progress)

    def take_over(self, token: str, part: Part, *, writer: str, durable_bytes: int) -> int:
        with self._token("taking an upload over", token) as fd:
            return arriving.take_over(fd, part, writer=writer, durable_bytes=durable_bytes)

    def append(
        self,
        token: str,
        part: Part,
        source: IO[bytes],
        *,
        writer: str,
        at_bytes: int,
        hashers: Mapping[str, Any],
        on_durable: Callable[[int], None],
        accept: Callable[[int], bool] | None = None,
    ) -> int:
        with self._token("writing to staging", token) as fd:
            return arriving.append(
                fd,
                part,
                source,
                writer=writer,
                at_bytes=at_bytes,
                hashers=hashers,
                on_durable=on_durable,
                accept=accept,
            )

    def part_size(self, token: str, part: Part) -> int:
        with self._token("looking into staging", token) as fd:
            seen = durable.look(part, at=fd)
            return 0 if seen is None else seen.st_size

    @contextmanager
    def open_part(self, token: str, part: Part) -> Iterator[IO[bytes]]:
        with self._token("reading staging", token) as fd:
            try:
                opened = durable.open_for_reading(part, at=fd)
            except FileNotFoundError as error:
                raise self._missing(f"Nothing was written to staging {token}.") from error
        with os.fdopen(opened, "rb", buffering=_PART_BUFFER_BYTES) as file:
            yield file

    def keep_item(self, token: str) -> int:
        with self._token("reading staging", token) as fd:
            self._refuse_odd_item(fd, self.item_location(token))
            with durable.closing(durable.open_for_reading(placing.ITEM, at=fd)) as item:
                self._settling.apply(item)
                return os.fstat(item).st_size

    def write_tree(
        self,
        token: str,
        entries: Iterable[TreeEntry],
        algorithms: Iterable[str],
        progress: Progress | None = None,
        *,
        limit_bytes: int | None = None,
    ) -> Content:
        with self._token("writing to staging", token) as fd:
            staging.write_tree(fd, entries, unpacking.Limit(limit_bytes, progress))
        return self.adopt(token, algorithms, unpacking.Limit(limit_bytes, progress))

    def copy_in(self, token: str, source: str, algorithms: Iterable[str], progress: Progress | None = None) -> Content:
        try:
            opened = durable.open_for_reading(source)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise UnsafeProduct(f"{shown(source)} is a device, socket or pipe.") from error
            raise explain_source(error, source) from error
        with durable.closing(opened), self._token("copying into staging", token) as fd:
            return staging.copy(
                opened,
                source,
                fd,
                placing.ITEM,
                list(algorithms),
                explain=explain_source,
                settling=self._settling,
                progress=progress,
            )

    def adopt(
        self, token: str, algorithms: Iterable[str], progress: Progress | None = None, *, fresh: bool = False
    ) -> Content:
        location = self.item_location(token)
        with self._token("reading staging", token) as fd:
            self._refuse_odd_item(fd, location)
            take = staging.adopt_fresh if fresh else staging.adopt
            return take(
                fd, location, list(algorithms), explain=self._explain, settling=self._settling, progress=progress
            )

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

    def _refuse_odd_item(self, token: int, location: str) -> None:
        seen = durable.look(placing.ITEM, at=token)
        if seen is None:
            raise self._missing(f"Nothing was written to {location}.")
        if stat.S_ISLNK(seen.st_mode):
            raise UnsafeProduct("What was delivered is a symbolic link.", remedy="Deliver the file that it leads to.")
        if not (stat.S_ISREG(seen.st_mode) or stat.S_ISDIR(seen.st_mode)):
            raise UnsafeProduct("What was delivered is a device, socket or pipe.")

    def has_item(self, token: str) -> bool:
        _check_token(token)
        with self._corners.speaking("looking into staging"):
            try:
                with self._corners.open_token(token) as fd:
                    return durable.exists(placing.ITEM, at=fd)
            except FileNotFoundError:
                return False

    def sync_items(self, tokens: Iterable[str]) -> None:
        wanted = [_check_token(token) for token in tokens]
        with self._corners.speaking("making staged bytes durable"), self._corners.open_staging() as area:
            if durable.HAS_SYNCFS and (len(wanted) > _FEW or self._any_directory(area, wanted)):
                durable.sync_filesystem(area)
                return
            for token in wanted:
                with durable.closing(durable.open_directory(token, at=area)) as fd:
                    with durable.closing(durable.open_for_reading(placing.ITEM, at=fd)) as item:
                        if stat.S_ISDIR(os.fstat(item).st_mode):
                            trees.sync_tree(item)
                        else:
                            os.fsync(item)
                    os.fsync(fd)

    def _any_directory(self, area: int, tokens: Iterable[str]) -> bool:
        looks = (durable.look(f"{token}/{placing.ITEM}", at=area) for token in tokens)
        return any(seen is not None and stat.S_ISDIR(seen.st_mode) for seen in looks)

    def place_item(self, token: str, place: str) -> None:
        *above, name = split_new_place(place)
        location = self.locate(place)
        with self._corners.speaking(f"placing {location}"), ExitStack() as stack:
            root = stack.enter_context(self._corners.open_root())
            try:
                fd = stack.enter_context(self._corners.open_token(_check_token(token)))
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
            if durable.HAS_SYNCFS and len(wanted) > _FEW:
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
            if durable.HAS_SYNCFS and len(above) + len(wanted) > 2 * _FEW:
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
                    self._corners.open_token(_check_token(token)) as fd,
                    durable.closing(durable.descend(root, above)) as parent,
                ):
                    return placing.is_placed(fd, parent, name)
            except OSError as error:
                if error.errno in (*_NOT_THERE, errno.ELOOP):
                    return False
                raise

    def drop_staging(self, token: str) -> None:
        _check_token(token)
        with self._corners.speaking("clearing staging"), self._corners.open_staging() as area:
            problems = durable.remove_tree(token, at=area)
        if problems:
            # Another user's directory that we may not write to: it stays listed, and the sweeper tries again.
            logger.warning("staging %s of store %s was not removed: %s", token, self.store.name, "; ".join(problems))

    def list_staging(self) -> Iterator[tuple[str, float]]:
        with (
            self._corners.speaking("listing staging"),
            self._corners.open_staging() as area,
            os.scandir(area) as entries,
        ):
            for entry in entries:
                if TOKEN.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    changed = self._last_change(area, entry.name)
                    if changed is not None:
                        yield entry.name, changed

    def _last_change(self, area: int, token: str) -> float | None:
        try:
            with durable.closing(durable.open_directory(token, at=area)) as fd:
                try:
                    return trees.latest_change(fd)
                except (PermissionError, UnsafeProduct):
                    return os.fstat(fd).st_ctime  # a part of it is closed to us
        except FileNotFoundError:
            return None  # dropped meanwhile

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
        return None if place.split("/")[0] == CORNER else place

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
                if place == CORNER:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    todo.append(place)
                elif entry.is_file(follow_symlinks=False):
                    seen = durable.look(entry.name, at=fd)
                    if seen is not None:
                        yield Entry(place, seen.st_size, seen.st_mtime_ns)

    def set_aside(self, place: str, token: str) -> str:
        *above, name = split_new_place(place)
        _check_token(token)
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
    def _token(self, doing: str, token: str) -> Iterator[int]:
        """The staging directory of a delivery, and errors said for the store."""
        _check_token(token)
        with self._corners.speaking(doing), ExitStack() as stack:
            try:
                fd = stack.enter_context(self._corners.open_token(token))
            except FileNotFoundError as error:
                raise self._missing(f"The staging directory {token} of store {self.store.name} is gone.") from error
            yield fd

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

    def _explain(self, error: OSError, path: bytes | str) -> ArchiveError:
        return self._corners.explain(error, f"reading {shown(path)}")


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


def _check_token(token: str) -> str:
    if not TOKEN.fullmatch(token):
        raise ValueError(f"{token!r} is not a token")
    return token
