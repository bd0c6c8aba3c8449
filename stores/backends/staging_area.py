"""Staging in a directory of this machine: all that happens to a delivery before its bytes get a place.

A kind that uses it says where by `Corners`, and what missing bytes mean there.
"""

import errno
import logging
import os
import stat
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any

from librarian.common.errors import ArchiveError, Misconfigured
from stores.backends import arriving, corners, durable, placing, staging, trees, unpacking
from stores.backends.base import (
    TOKEN,
    Content,
    Part,
    Progress,
    Space,
    StoreBackend,
    TreeEntry,
    UnsafeProduct,
)
from stores.backends.places import shown
from stores.backends.reading import Settling, explain_source

if TYPE_CHECKING:
    from stores.models import Store

logger = logging.getLogger(__name__)

MAX_LOCATION_CHARACTERS = 256  # of the wire protocol
FEW = 4  # up to so many things are made durable one by one, more by one syncfs
_PART_BUFFER_BYTES = 128 * 1024  # headers of a tar are small and near each other


class StagingArea(StoreBackend):
    """The half of a backend that deals with deliveries, in a directory that `Corners` opens."""

    def __init__(self, store: "Store", area: corners.Corners, settling: Settling) -> None:
        super().__init__(store)
        self._corners = area
        self._settling = settling

    @abstractmethod
    def _missing(self, reason: str) -> ArchiveError:
        """Bytes are missing only on a store that is itself available; else nothing is known of them."""

    def space(self) -> Space:
        with self._corners.speaking("measuring its space"), self._corners.open_root() as root:
            found = os.fstatvfs(root)
        free = found.f_bavail * found.f_frsize
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        return Space(capacity_bytes=used + free, free_bytes=free)  # what is reserved for root is nobody's

    def item_location(self, token: str) -> str:
        check_token(token)
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

    def _refuse_odd_item(self, token: int, location: str) -> None:
        seen = durable.look(placing.ITEM, at=token)
        if seen is None:
            raise self._missing(f"Nothing was written to {location}.")
        if stat.S_ISLNK(seen.st_mode):
            raise UnsafeProduct("What was delivered is a symbolic link.", remedy="Deliver the file that it leads to.")
        if not (stat.S_ISREG(seen.st_mode) or stat.S_ISDIR(seen.st_mode)):
            raise UnsafeProduct("What was delivered is a device, socket or pipe.")

    def has_item(self, token: str) -> bool:
        check_token(token)
        with self._corners.speaking("looking into staging"):
            try:
                with self._corners.open_token(token) as fd:
                    return durable.exists(placing.ITEM, at=fd)
            except FileNotFoundError:
                return False

    def sync_items(self, tokens: Iterable[str]) -> None:
        wanted = [check_token(token) for token in tokens]
        with self._corners.speaking("making staged bytes durable"), self._corners.open_staging() as area:
            if durable.HAS_SYNCFS and (len(wanted) > FEW or self._any_directory(area, wanted)):
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

    def drop_staging(self, token: str) -> None:
        check_token(token)
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

    @contextmanager
    def _token(self, doing: str, token: str) -> Iterator[int]:
        """The staging directory of a delivery, and errors said for the store."""
        check_token(token)
        with self._corners.speaking(doing), ExitStack() as stack:
            try:
                fd = stack.enter_context(self._corners.open_token(token))
            except FileNotFoundError as error:
                raise self._missing(f"The staging directory {token} of store {self.store.name} is gone.") from error
            yield fd

    def _explain(self, error: OSError, path: bytes | str) -> ArchiveError:
        return self._corners.explain(error, f"reading {shown(path)}")


def check_token(token: str) -> str:
    """The token, if it is one; ValueError otherwise, since tokens come from our own rows."""
    if not TOKEN.fullmatch(token):
        raise ValueError(f"{token!r} is not a token")
    return token
