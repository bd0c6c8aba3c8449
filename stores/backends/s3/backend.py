"""The s3 kind: deliveries wait in a spool on this machine, committed bytes are objects of a bucket.

Configuration: `bucket` and `spool` (an absolute path); optionally `prefix`, `endpoint_url`, `region` and `profile`.
Credentials come from the AWS configuration of the server's user. What happens in the spool needs the spool only.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

from librarian.common.errors import ArchiveError, Misconfigured, StoreUnavailable
from stores.backends import corners, durable
from stores.backends.base import (
    Availability,
    Content,
    Entry,
    Kind,
    Member,
    MissingBytes,
    Part,
    Progress,
    RecordLine,
)
from stores.backends.places import CORNER, QUARANTINE, split_new_place, split_place
from stores.backends.placing import ITEM
from stores.backends.reading import Settling
from stores.backends.record import RecordReader
from stores.backends.s3 import fetching, held, moving, records, spooled, target, uploading
from stores.backends.s3.bucket import Bucket, Seen
from stores.backends.s3.marker import Marker
from stores.backends.s3.placing import Placer
from stores.backends.s3.treeobject import Tree
from stores.backends.staging_area import StagingArea, check_token

if TYPE_CHECKING:
    from stores.models import Store

ABANDONED_AFTER = timedelta(days=14)  # twice as long as a delivery may wait
_REMEDY = "Deliver the bytes again, or look for another copy."
logger = logging.getLogger(__name__)


class S3Backend(StagingArea):
    """Bytes in a bucket."""

    places_what_was_read = False  # the spool was read; of the bucket we have the service's word

    def __init__(self, store: "Store") -> None:
        problems = target.check_configuration(store.configuration)
        if problems:
            raise Misconfigured(f"Store {store.name}: {' '.join(problems)}")
        wanted = target.Target.of(store.configuration)
        settling = Settling(read_only=store.read_only_after_commit, own=store.own_after_commit)
        super().__init__(store, corners.Corners(store, spool=wanted.spool), settling)
        self._bucket = Bucket(store.name, wanted)
        self._marker = Marker(self._bucket, str(store.marker))
        self._placer = Placer(self._bucket)
        self._problems: list[str] = []

    # --- The store itself ---

    @staticmethod
    def check_configuration(configuration: dict[str, Any]) -> list[str]:
        return target.check_configuration(configuration)

    def initialise(self) -> None:
        self._marker.examine()  # first: a spool that was marked for a store that came to nothing takes no other
        self._corners.initialise()
        self._marker.write()

    def carries_marker(self) -> bool:
        return self._marker.is_there()

    def check(self) -> Availability:
        spool = self._corners.check()
        if not spool.available:
            return Availability(False, f"of its spool: {spool.reason}", spool.remedy)
        found = self._marker.check()
        return found if found.reason else spool

    @contextmanager
    def holding(self) -> Iterator[None]:
        with self._corners.holding(), self._marker.holding():
            yield

    # --- Bytes in ---

    def write_item(
        self, token: str, source: IO[bytes], algorithms: Iterable[str], progress: Progress | None = None
    ) -> Content:
        return self._noted(token, super().write_item(token, source, algorithms, progress))

    def copy_in(self, token: str, source: str, algorithms: Iterable[str], progress: Progress | None = None) -> Content:
        return self._noted(token, super().copy_in(token, source, algorithms, progress))

    def adopt(
        self, token: str, algorithms: Iterable[str], progress: Progress | None = None, *, fresh: bool = False
    ) -> Content:
        return self._noted(token, super().adopt(token, algorithms, progress, fresh=fresh))

    def _noted(self, token: str, content: Content) -> Content:
        """Its digest need not be taken again when it is uploaded, and is what the upload is compared with."""
        with self._token("writing to its spool", token) as area:
            spooled.note_digest(area, content)
        return content

    def take_over(self, token: str, part: Part, *, writer: str, durable_bytes: int) -> int:
        with self._token("taking an upload over", token) as area:
            if part == ITEM and spooled.is_placing(area):
                durable_bytes = max(durable_bytes, self.part_size(token, part))
        return super().take_over(token, part, writer=writer, durable_bytes=durable_bytes)

    def place_item(self, token: str, place: str) -> None:
        split_new_place(place)
        self._place(token, place)

    def _place(self, token: str, place: str) -> None:
        self._marker.verify()
        with self._token(f"placing {self.locate(place)}", token) as area:
            spooled.note_placing(area)
            try:
                self._placer.place(token, area, place, self.item_location(token), self._explain)
            except MissingBytes as error:
                raise self._missing(error.reason) from error

    def is_placed(self, token: str, place: str) -> bool:
        split_new_place(place)
        check_token(token)
        self._marker.verify()
        return self._placer.is_placed(token, place)

    def sync_bytes(self, places: Iterable[str]) -> None:
        """An object is durable once it is there."""
        for place in places:
            self._find(place)

    def sync_places(self, places: Iterable[str]) -> None:
        """The same."""
        for place in places:
            split_new_place(place)

    def set_aside_item(self, token: str) -> str:
        check_token(token)
        aside = f"{QUARANTINE}/{token}/{ITEM}"
        self._marker.verify()
        if not self._placer.is_placed(token, aside):
            if not self.has_item(token):
                raise self._missing(f"Nothing lies in staging {token}.")
            self._place(token, aside)
        with self._corners.speaking(f"clearing staging {token}"), ExitStack() as stack:
            try:
                area = stack.enter_context(self._corners.open_token(token))
            except FileNotFoundError:
                return aside
            durable.remove_tree(ITEM, at=area)
        return aside

    def drop_staging(self, token: str) -> None:
        check_token(token)
        with self._corners.speaking(f"clearing staging {token}"), ExitStack() as stack:
            try:
                area = stack.enter_context(self._corners.open_token(token))
            except FileNotFoundError:
                return
            if spooled.read_begun(area) is not None:
                self._marker.verify()
                self._placer.clean(token, area)
        super().drop_staging(token)

    def list_staging(self) -> Iterator[tuple[str, float]]:
        yield from super().list_staging()
        try:
            self._end_abandoned_uploads()
        except StoreUnavailable as error:
            logger.info("uploads that nobody goes on with are looked for another time: %s", error)

    def _end_abandoned_uploads(self) -> None:
        """Of deliveries whose spool is gone: their parts would cost room for ever."""
        self._marker.verify()
        for key, upload_id, begun in uploading.open_uploads(self._bucket, ""):
            if datetime.now(UTC) - begun > ABANDONED_AFTER:
                uploading.abort(self._bucket, key, upload_id)
                logger.warning("ended an upload of %s to %s that nobody goes on with", begun, self.locate(key))

    # --- Bytes held ---

    def locate(self, place: str) -> str:
        split_place(place)
        return self._bucket.address(place)

    def place_of(self, location: str) -> str | None:
        start = self._bucket.address("")
        place = location.removeprefix(start)
        if not location.startswith(start) or place.split("/")[0] == CORNER:
            return None
        try:
            split_place(place)
        except ValueError:
            return None
        return place

    def stat(self, place: str) -> tuple[Kind, int]:
        found = self._find(place)
        kind: Kind = "flat" if isinstance(found, Seen) else "directory"
        return kind, held.size_of(self._bucket, place, found)

    def read(self, place: str, member: str = "", offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        split_place(place)
        self._marker.verify()
        location = self.locate(place) + (member and f"/{member}")
        if member:
            split_place(member)
            whole = held.find_tree(self._bucket, place)
            seen = self._bucket.look(f"{place}/{member}") if whole is not None else None
        else:
            seen = self._bucket.look(place)
        if seen is None:
            raise self._missing(f"There is no file at {location}.")
        return fetching.blocks(self._bucket, seen, offset, length)

    def digest(self, place: str, algorithms: Iterable[str], progress: Progress | None = None) -> Content:
        found, wanted = self._find(place), [*algorithms]
        if isinstance(found, Seen):
            return held.digest_flat(self._bucket, found, wanted, progress)
        return held.digest_tree(self._bucket, place, found, wanted, progress)

    def list(self, below: str = "") -> Iterator[Entry]:
        if below:
            split_place(below)
        self._marker.verify()
        yield from held.entries(self._bucket, below)

    def set_aside(self, place: str, token: str) -> str:
        *_, name = split_new_place(place)
        aside = f"{QUARANTINE}/{check_token(token)}/{name}"
        self._marker.verify()
        found, moved = held.find(self._bucket, place), held.find(self._bucket, aside)
        if isinstance(moved, Seen | Tree):  # moved before a crash, all of it
            moving.finish(self._bucket, found, place, moved)
        elif found is not None:
            moving.move(self._bucket, found, place, aside)
        elif moved is None:
            raise self._missing(f"Nothing lies at {self.locate(place)}.")
        return aside

    def remove(self, place: str) -> None:
        split_place(place)
        self._marker.verify()
        found = held.find(self._bucket, place)
        if found is not None:
            moving.remove(self._bucket, found, place)

    # --- The commit record ---

    def append_record(self, lines: Iterable[tuple[RecordLine, Iterable[Member]]]) -> None:
        self._marker.verify()
        records.append(self._bucket, str(self.store.marker), lines)

    def read_record(self) -> Iterator[tuple[RecordLine, Iterator[Member]]]:
        reader = RecordReader(str(self.store.marker))
        self._problems = reader.problems
        self._marker.verify()
        yield from records.read(self._bucket, reader)

    @property
    def record_problems(self) -> "list[str]":
        return [*self._problems]

    # --- Helpers ---

    def _find(self, place: str) -> held.Found:
        split_place(place)
        self._marker.verify()
        found = held.find(self._bucket, place)
        if found is None:
            raise self._missing(f"Nothing lies at {self.locate(place)}.")
        return found

    def _missing(self, reason: str) -> ArchiveError:
        found = self._corners.check()
        if not found.available:
            return self._corners.unavailable(f"of its spool: {found.reason}", found.remedy)
        self._marker.verify(fresh=True)
        return MissingBytes(reason, remedy=_REMEDY)
