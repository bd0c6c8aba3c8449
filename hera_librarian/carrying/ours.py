"""Handing the files of a disk to a site of our kind: batches, with an answer for each file.

An offer that is repeated is answered with the same transfers, so an interrupted command is simply run again. What the
site has been given already it recognises, and nothing fails by asking.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hera_librarian.carrying.delivery import send, source_of
from hera_librarian.carrying.disk import NotAsPacked, NotOnDisk, copy, find, is_copied
from hera_librarian.carrying.journal import BEGUN, COPIED, STAGED, Journal
from hera_librarian.carrying.manifest import Manifest
from hera_librarian.carrying.results import ALREADY_HERE, COMING, FAILED, NEW, EntryResult, failed
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError, LibrarianTimeoutError
from hera_librarian.features import BATCH_COMPLETE, FACTS, HTTP, LOCAL, PARTIAL_BATCH
from hera_librarian.models.admin import ManifestEntry
from hera_librarian.models.checkin import CheckinUpdateRequest, CheckinUpdateResponse
from hera_librarian.models.clone import (
    CloneBatchInitiationRequest,
    CloneBatchInitiationRequestFileItem,
    CloneBatchInitiationResponse,
    CloneBatchInitiationResponseFileItem,
    CloneFacts,
    CloneFailRequest,
    CloneRefusal,
)
from hera_librarian.shared_disk import NoSharedDisk, Pace, Progress, check_reachable
from hera_librarian.transfer import TransferStatus

if TYPE_CHECKING:
    from hera_librarian.admin import AdminClient

NO_ACCESS = (401, 403)
OTHER_STORE = "lost_race"  # the same offer was given room on another store: asked for alone


@dataclass
class Hand:
    """What handing over needs: the site, the disk, what was done before, and how fast it goes which way."""

    client: "AdminClient"
    manifest: Manifest
    root: Path
    journal: Journal
    way: str = "auto"
    progress: Progress | None = None
    pace: Pace | None = None


@dataclass
class Item:
    """One file of a batch: where it lies on the disk, and what it was answered with."""

    entry: ManifestEntry
    path: Path
    key: int  # `source_transfer_id` of the offer
    stream_bytes: int | None = None  # of a directory over HTTP
    room: CloneBatchInitiationResponseFileItem | None = None


class Batch:
    """Hands over some files."""

    def __init__(self, hand: Hand, entries: Sequence[ManifestEntry]) -> None:
        self.hand = hand
        self.entries = entries
        self.results: list[EntryResult] = []

    def hand_over(self) -> Iterator[EntryResult]:
        """Bring them; yields how each fared. Raises what concerns every file: no access, no connection."""
        items = self._find()
        again = self._bring(items)
        for item in again:
            self._bring([item])
        yield from self.results

    # --- Steps --------------------------------------------------------------------------------------------------------

    def _find(self) -> list[Item]:
        items = []
        for entry in self.entries:
            try:
                path = find(self.hand.root, entry)
                if not path.is_dir() and path.stat().st_size != entry.size:
                    said = f"{path} has {path.stat().st_size} bytes, the manifest says {entry.size}."
                    raise NotOnDisk(said)
                items.append(Item(entry, path, entry.outgoing_transfer_id, self._stream_bytes(entry, path)))
            except (LibrarianError, OSError) as problem:
                self._note_failed(entry, problem)
        return items

    def _stream_bytes(self, entry: ManifestEntry, path: Path) -> int | None:
        """Length of the stream in which a directory would come. Raises LibrarianError for one that cannot be read."""
        is_wanted = entry.kind == "directory" and self.hand.way != "disk"
        return source_of(path, entry.name).length_bytes if is_wanted else None

    def _bring(self, items: Sequence[Item]) -> list[Item]:
        """Offer, copy, tell; returns those that have to be offered alone."""
        if not items:
            return []
        answer, keyed = self._offer(items)
        again = []
        for refusal in answer.refused:
            item = keyed.pop(refusal.source_transfer_id)
            if refusal.code == OTHER_STORE and len(items) > 1:
                again.append(item)
            else:
                self.results.append(_refused(item, refusal))
        taken = []
        for room in answer.uploads:
            item = keyed[room.source_transfer_id]
            item.room = room
            taken.append(item)
        self._tell(taken, TransferStatus.ONGOING)
        self.hand.journal.note(BEGUN, self._places(each for each in taken if not self._is_copied(each)))
        brought = [item for item in taken if self._carry(item, answer)]
        self._tell(brought, TransferStatus.STAGED)
        self.hand.journal.note(STAGED, self._places(brought))
        self.results += [_result(item, NEW) for item in brought]
        return again

    def _offer(self, items: Sequence[Item]) -> tuple[CloneBatchInitiationResponse, dict[int, Item]]:
        keyed: dict[int, Item] = {}
        for number, item in enumerate(items, start=1):
            if item.entry.outgoing_transfer_id < 0 or item.key in keyed:
                item.key = -number  # without a transfer of the sender
            keyed[item.key] = item
        features = [PARTIAL_BATCH, FACTS, *([LOCAL] if self.hand.way != "http" else [])]
        features += [HTTP] if self.hand.way != "disk" else []
        features += [each for each in self.hand.manifest.features if each == BATCH_COMPLETE]
        message = CloneBatchInitiationRequest(
            uploads=[_item(item) for item in keyed.values()],
            source=self.hand.manifest.librarian_name,
            total_size=sum(item.entry.size for item in items),
            librarian_features=features,
        )
        answer = self.hand.client.transport.wire("clone/batch_stage", message, CloneBatchInitiationResponse, safe=True)
        return answer, keyed

    def _carry(self, item: Item, answer: CloneBatchInitiationResponse) -> bool:
        """Bring the bytes of one file; False if it failed, which its result tells."""
        try:
            if not self._is_copied(item):
                self._move(item, answer)
                self.hand.journal.note(COPIED, self._places([item]))
            elif self.hand.progress is not None:
                self.hand.progress(item.entry.size)
        except LibrarianTimeoutError:
            raise
        except NotAsPacked as problem:
            self._give_up(item, problem)
            self._note_failed(item.entry, problem)
        except (LibrarianError, LibrarianHTTPError, OSError) as problem:
            if getattr(problem, "status_code", None) in NO_ACCESS:
                raise
            self._note_failed(item.entry, problem)
        else:
            return True
        return False

    def _move(self, item: Item, answer: CloneBatchInitiationResponse) -> None:
        hand, room, ways = self.hand, item.room, answer.async_transfer_providers
        location = Path(room.staging_location)
        local, http = ways.get(LOCAL), ways.get(HTTP)
        try:
            check_reachable(location, local.hostnames if local is not None else [])
        except NoSharedDisk:
            if http is None or room.upload_id is None or hand.way == "disk":
                raise
        else:
            if local is not None and hand.way != "http":
                copy(item.path, location, item.entry, progress=hand.progress, pace=hand.pace)
                return
        if http is None or room.upload_id is None:
            raise NoSharedDisk("The site offers no way for these bytes that may be used.")
        url = f"{hand.client.transport.root}/{http.upload_path}{room.upload_id}/"
        send(hand.client.transport, item.path, item.entry, url, progress=hand.progress, pace=hand.pace)

    # --- Telling ------------------------------------------------------------------------------------------------------

    def _tell(self, items: Sequence[Item], status: TransferStatus) -> None:
        """Where these files stand. Saying it twice is harmless."""
        if not items:
            return
        keys = [item.room.destination_transfer_id for item in items]
        message = CheckinUpdateRequest(source_transfer_ids=[], destination_transfer_ids=keys, new_status=status)
        self.hand.client.transport.wire("checkin/update", message, CheckinUpdateResponse, safe=True)

    def _give_up(self, item: Item, problem: LibrarianError) -> None:
        """Tell the site that these bytes will not come, so that it need not wait for them."""
        message = CloneFailRequest(
            source_transfer_id=item.key,
            destination_transfer_id=item.room.destination_transfer_id,
            reason=problem.reason,
        )
        try:
            self.hand.client.transport.wire("clone/fail", message, safe=True)
        except LibrarianHTTPError:
            pass  # it ends by itself there when its upload expires

    def _note_failed(self, entry: ManifestEntry, problem: Exception) -> None:
        self.results.append(failed(entry.name, problem, transfer_id=entry.outgoing_transfer_id))

    def _is_copied(self, item: Item) -> bool:
        """True if an earlier run has copied all of it to the very place that it was answered with now."""
        noted, room = self.hand.journal.find(item.entry.name), item.room
        if noted is None or noted.step != COPIED or noted.location != room.staging_location:
            return False
        return is_copied(Path(room.staging_location), item.entry)

    def _places(self, items: "Iterator[Item] | Sequence[Item]") -> dict[str, tuple[int, str]]:
        return {
            item.entry.name: (item.room.destination_transfer_id, item.room.staging_location)
            for item in items
            if item.room is not None
        }


def _item(item: Item) -> CloneBatchInitiationRequestFileItem:
    entry = item.entry
    facts = None
    if entry.kind and entry.digest:
        facts = CloneFacts(
            kind=entry.kind,
            digest=entry.digest,
            obsid=entry.obsid,
            first_registered_at=entry.first_registered_at,
            stream_bytes=item.stream_bytes,
        )
    return CloneBatchInitiationRequestFileItem(
        upload_size=entry.size,
        upload_checksum=entry.checksum,
        upload_name=PurePosixPath(entry.name).name,
        destination_location=entry.name,
        uploader=entry.uploader,
        source_transfer_id=item.key,
        facts=facts,
    )


def _refused(item: Item, refusal: CloneRefusal) -> EntryResult:
    if refusal.held or refusal.staged:
        return _result(item, ALREADY_HERE, store_ids=tuple(refusal.store_ids))
    said = {"code": refusal.code, "reason": refusal.reason, "remedy": refusal.suggested_remedy}
    return _result(item, COMING if refusal.code == "being_received" else FAILED, **said)


def _result(item: Item, outcome: str, **more: object) -> EntryResult:
    entry = item.entry
    return EntryResult(
        name=entry.name,
        outcome=outcome,
        size_bytes=entry.size,
        transfer_id=entry.outgoing_transfer_id,
        **more,  # type: ignore[arg-type]
    )
