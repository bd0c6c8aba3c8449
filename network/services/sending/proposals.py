"""The offer of a batch as it is sent, and the peer's answer as it is believed: piece by piece, each checked by itself.

What is wrong with one file, or with one of the ways that a peer offers, must not make the rest of an answer worthless;
so an answer is not read as one message. Of what a peer names nothing is used that has not passed here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from pydantic import TypeAdapter, ValidationError

from files.models import File
from hera_librarian.features import FEATURES, GLOBUS, LOCAL, RSYNC, SSH_HOST
from hera_librarian.models.clone import (
    CloneBatchInitiationRequest,
    CloneBatchInitiationRequestFileItem,
    CloneFacts,
    CloneRefusal,
)
from hera_librarian.models.providers import AsyncTransferManager
from hera_librarian.models.types import MAX_ID, MAX_PATH_CHARACTERS
from librarian.common.texts import UNPRINTABLE
from network.models import OutgoingTransfer, Peer
from network.providers.streams import stream_bytes_of

MOST_WAYS = 32
MOST_WAY_CHARACTERS = 4_096  # kept with every batch, and read with it
_WAY: TypeAdapter[Any] = TypeAdapter(AsyncTransferManager)


@dataclass(frozen=True, slots=True)
class Room:
    """What a peer made for one file: its ids, where the bytes go, and what is wrong with that, if anything."""

    remote_transfer_id: int
    remote_upload_id: int | None
    destination_path: str
    problem: str = ""


@dataclass(slots=True)
class Answered:
    """A peer's answer to an offer, by the ids of our transfers. `strays` are ids that we did not offer."""

    rooms: dict[int, Room] = field(default_factory=dict)
    refused: dict[int, CloneRefusal] = field(default_factory=dict)
    offers: dict[str, dict[str, Any]] = field(default_factory=dict)
    features: list[str] | None = None
    strays: list[int] = field(default_factory=list)


# --- Out --------------------------------------------------------------------------------------------------------------


def make_offer(peer: Peer, transfers: Sequence[OutgoingTransfer]) -> CloneBatchInitiationRequest:
    """The message that offers these transfers, read with their files."""
    return CloneBatchInitiationRequest(
        uploads=[_item(transfer) for transfer in transfers],
        source=settings.LIBRARIAN_NAME,
        total_size=sum(transfer.file.size_bytes for transfer in transfers),
        librarian_features=features_for(peer),
    )


def features_for(peer: Peer) -> list[str]:
    """Our extensions as far as they work with this peer: what needs a person's word needs it."""
    left_out = set()
    if not peer.ssh_hosts:
        left_out |= {RSYNC, SSH_HOST}
    if not peer.shared_directories:
        left_out.add(LOCAL)
    if not peer.globus_endpoints or not settings.LIBRARIAN_GLOBUS_CLIENT_ID:
        left_out.add(GLOBUS)
    return [feature for feature in FEATURES if feature not in left_out]


def _item(transfer: OutgoingTransfer) -> CloneBatchInitiationRequestFileItem:
    file = transfer.file
    return CloneBatchInitiationRequestFileItem(
        upload_size=file.size_bytes,
        upload_checksum=file.checksum,
        upload_name=file.name,
        destination_location=file.name,
        uploader=file.uploader or settings.LIBRARIAN_NAME,
        source_transfer_id=transfer.pk,
        facts=_facts(file),
    )


def _facts(file: File) -> CloneFacts:
    return CloneFacts(
        kind=file.kind,
        digest=file.digest,
        obsid=file.obsid,
        first_registered_at=file.first_registered_at,
        stream_bytes=stream_bytes_of(file) if file.is_directory else None,
    )


# --- In ---------------------------------------------------------------------------------------------------------------


def read_answer(content: Any, transfers: Sequence[OutgoingTransfer]) -> Answered:
    """What of an answer can be used. Never raises: files that it does not speak of are in none of the tables."""
    answer = Answered()
    if not isinstance(content, Mapping):
        return answer
    asked = {transfer.pk for transfer in transfers}
    used: set[int] = set()
    for item in _objects(content.get("uploads")):
        key = item.get("source_transfer_id")
        if not _is_id(key) or key not in asked:
            answer.strays.append(key if _is_id(key) else -1)
        elif key not in answer.rooms and (room := _room(item, used)) is not None:
            answer.rooms[key] = room
            used.add(room.remote_transfer_id)
    for item in _objects(content.get("refused")):
        refusal = _refusal(item)
        if refusal is None or refusal.source_transfer_id not in asked - set(answer.rooms):
            answer.strays.append(refusal.source_transfer_id if refusal else -1)
        else:
            answer.refused[refusal.source_transfer_id] = refusal
    answer.offers = _ways(content.get("async_transfer_providers"))
    said = content.get("librarian_features")
    if isinstance(said, list) and said:
        answer.features = [feature for feature in FEATURES if feature in said]
    return answer


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID


def _room(item: Mapping[str, Any], used: set[int]) -> Room | None:
    key, upload_id = item.get("destination_transfer_id"), item.get("upload_id")
    if not _is_id(key) or key in used:
        return None
    location = item.get("staging_location")
    problem = _why_unsafe(location)
    return Room(key, upload_id if _is_id(upload_id) else None, "" if problem else location, problem)


def _why_unsafe(location: Any) -> str:
    """What is wrong with a place to which a peer wants bytes written; empty when nothing is."""
    if not isinstance(location, str) or not location:
        return "names no place for the bytes"
    if len(location) > MAX_PATH_CHARACTERS:
        return f"names a place of more than {MAX_PATH_CHARACTERS} characters"
    if UNPRINTABLE.search(location):
        return "names a place with control characters"
    if not location.startswith("/") or ".." in location.split("/"):
        return "names a place that is not absolute or that climbs"
    return ""


def _refusal(item: Mapping[str, Any]) -> CloneRefusal | None:
    try:
        refusal = CloneRefusal.model_validate(item)
    except ValidationError:
        return None
    refusal.store_ids = [each for each in refusal.store_ids if _is_id(each)]
    return refusal


def _ways(value: Any) -> dict[str, dict[str, Any]]:
    """The ways whose shape is one that we know, as they were sent."""
    ways: dict[str, dict[str, Any]] = {}
    if not isinstance(value, Mapping):
        return ways
    for label, way in list(value.items())[:MOST_WAYS]:
        try:
            _WAY.validate_python(way)
        except ValidationError:
            continue
        if len(json.dumps([label, way])) <= MOST_WAY_CHARACTERS:
            ways[label] = dict(way)
    return ways
