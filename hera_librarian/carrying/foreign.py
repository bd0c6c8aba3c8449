"""Handing the files of a disk to a Librarian that is not of our kind: one at a time, over a shared disk.

Such a server fails a staged copy when the same file is offered again before it was taken in. So what was staged is
never offered again, and what was begun goes on where it was.
"""

from pathlib import Path, PurePosixPath
from typing import Any

from hera_librarian.carrying.disk import copy, find, is_copied
from hera_librarian.carrying.journal import BEGUN, COPIED, STAGED, Noted
from hera_librarian.carrying.ours import NO_ACCESS, Hand
from hera_librarian.carrying.results import ALREADY_HERE, COMING, FAILED, NEW, EntryResult, failed
from hera_librarian.checksums import parse_checksum
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError, LibrarianTimeoutError
from hera_librarian.models.admin import ManifestEntry
from hera_librarian.models.clone import (
    CloneInitiationRequest,
    CloneInitiationResponse,
    CloneOngoingRequest,
    CloneOngoingResponse,
    CloneStagedRequest,
    CloneStagedResponse,
)
from hera_librarian.models.search import FileSearchRequest, FileSearchResponse, FileSearchResponses
from hera_librarian.shared_disk import check_reachable

HELD, ONGOING, FAILED_OLDER = 409, 425, 406
NO_ENDPOINT = (404, 405)


def hand_over(hand: Hand, entry: ManifestEntry) -> EntryResult:
    """Hand one file over; its result. Raises what concerns every file: no access, no endpoint, no connection."""
    said = {"name": entry.name, "size_bytes": entry.size, "transfer_id": entry.outgoing_transfer_id}
    try:
        noted = hand.journal.find(entry.name)
        if noted is not None and noted.step == STAGED:
            return _held(hand, entry, said)
        path = find(hand.root, entry)
        if noted is None or not _go_on(hand, entry, path, noted):
            _bring(hand, entry, path, _stage(hand, entry))
        return EntryResult(outcome=NEW, **said)
    except LibrarianTimeoutError:
        raise
    except LibrarianHTTPError as problem:
        if problem.status_code in (*NO_ACCESS, *NO_ENDPOINT):
            raise
        if problem.status_code == HELD:
            return _held(hand, entry, said)
        if problem.status_code == ONGOING:
            remedy = "Repeat the command later."
            return EntryResult(outcome=COMING, code="being_received", reason=problem.reason, remedy=remedy, **said)
        return failed(entry.name, problem, transfer_id=entry.outgoing_transfer_id)
    except (LibrarianError, OSError) as problem:
        return failed(entry.name, problem, transfer_id=entry.outgoing_transfer_id)


def _stage(hand: Hand, entry: ManifestEntry) -> Noted:
    """Room for the file. An attempt of which nothing is known here is failed by asking, and the next one is taken."""
    request = CloneInitiationRequest(
        upload_size=entry.size,
        upload_checksum=entry.checksum,
        upload_name=PurePosixPath(entry.name).name,
        destination_location=entry.name,
        uploader=entry.uploader,
        source=hand.manifest.librarian_name,
        source_transfer_id=entry.outgoing_transfer_id,
    )
    try:
        staged = hand.client.post("clone/stage", request, CloneInitiationResponse)
    except LibrarianHTTPError as problem:
        if problem.status_code != FAILED_OLDER:
            raise
        staged = hand.client.post("clone/stage", request, CloneInitiationResponse)
    hosts = [host for provider in staged.transfer_providers.values() for host in provider.hostnames]
    noted = Noted(BEGUN, staged.destination_transfer_id, staged.staging_location)
    hand.journal.note(BEGUN, {entry.name: (noted.transfer_id, noted.location)})
    check_reachable(Path(noted.location), hosts)
    return noted


def _bring(hand: Hand, entry: ManifestEntry, path: Path, noted: Noted) -> None:
    ids = {"source_transfer_id": entry.outgoing_transfer_id, "destination_transfer_id": noted.transfer_id}
    names = {entry.name: (noted.transfer_id, noted.location)}
    location = Path(noted.location)
    try:
        hand.client.post("clone/ongoing", CloneOngoingRequest(**ids), CloneOngoingResponse)
    except LibrarianHTTPError as problem:
        if problem.status_code != FAILED_OLDER or noted.step == STAGED:
            raise  # else it is ongoing since the attempt that is gone on with
    if noted.step != COPIED or not is_copied(location, entry):
        copy(path, location, entry, progress=hand.progress, pace=hand.pace)
        hand.journal.note(COPIED, names)
    hand.client.post("clone/staged", CloneStagedRequest(**ids), CloneStagedResponse)
    hand.journal.note(STAGED, names)


def _go_on(hand: Hand, entry: ManifestEntry, path: Path, noted: Noted) -> bool:
    """Go on with an attempt that was interrupted; False if the server knows nothing of it any more."""
    if not Path(noted.location).parent.is_dir():
        return False
    try:
        _bring(hand, entry, path, noted)
    except LibrarianHTTPError as problem:
        if problem.status_code in (400, 404, FAILED_OLDER):
            return False
        raise
    return True


def _held(hand: Hand, entry: ManifestEntry, said: dict[str, Any]) -> EntryResult:
    """What it means that the server has a file of this name: only with these bytes is it this file."""
    try:
        found = hand.client.post("search/file", FileSearchRequest(name=entry.name), FileSearchResponses).root
    except (LibrarianError, LibrarianHTTPError):
        return EntryResult(outcome=ALREADY_HERE, **said)  # it does not say where
    found = [file for file in found if file.name == entry.name]
    if any(_is_other(file, entry) for file in found):
        reason = f"The site holds other bytes under the name {entry.name}."
        remedy = "Find out which of the two is right. A name is for ever: the other one needs a new name."
        return EntryResult(outcome=FAILED, code="name_taken", reason=reason, remedy=remedy, **said)
    copies = [copy for file in found for copy in file.instances]
    stores = tuple(copy.store_id for copy in copies if copy.available and copy.store_id is not None)
    return EntryResult(outcome=ALREADY_HERE, store_ids=stores, **said)


def _is_other(file: FileSearchResponse, entry: ManifestEntry) -> bool:
    """True if it certainly is another file: of another size, or of another checksum of the same kind."""
    if file.size != entry.size:
        return True
    try:
        theirs, ours = parse_checksum(file.checksum), parse_checksum(entry.checksum)
    except ValueError:
        return False
    return theirs.algorithm == ours.algorithm and theirs.digest != ours.digest
