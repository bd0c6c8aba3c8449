"""The manifest of a store: the wire's JSON with one entry a line, so that one of a million files needs no memory.

Here it is written and read as text; which copies are listed, and what that means for them, is `packing`.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from files.models import Instance
from hera_librarian.deletion import DeletionPolicy
from hera_librarian.features import BATCH_COMPLETE
from hera_librarian.models.admin import ManifestEntry, ManifestShipment
from librarian.common.errors import NotFound
from network.models import Shipment
from stores.models import Store

NO_TRANSFER = -1
FEATURES = [BATCH_COMPLETE]  # of ours that a site which takes the disk in may use when it calls back
BATCH = 1_000
UNSEALED = "0" * 64  # of a trip whose manifest is still being written


class NoManifest(NotFound):
    code = "no_manifest"
    remedy = "Pack the store again: what was begun is found and finished."


def manifest_path(shipment: Shipment) -> Path:
    """Where the manifest of a trip is kept on the server."""
    return Path(settings.LIBRARIAN_HOME) / "manifests" / f"{shipment.pk}.json"


# --- Writing ----------------------------------------------------------------------------------------------------------


def head_line(store: Store, shipment: Shipment | None) -> str:
    """The first line: who wrote it, of which store, for which trip."""
    said: dict[str, Any] = {"librarian_name": settings.LIBRARIAN_NAME, "store_name": store.name}
    if shipment is not None:
        trip = ManifestShipment(id=shipment.pk, destination_librarian=shipment.peer_name, packed_at=shipment.created_at)
        said["shipment"] = trip.model_dump(mode="json")
    said["librarian_features"] = FEATURES
    return f'{_json(said)[:-1]},"store_files":[\n'


def tail_line(file_count: int, size_bytes: int) -> str:
    """The last line; without it a manifest was cut."""
    return f'\n],"file_count":{file_count},"size_bytes":{size_bytes}}}\n'


def entry_of(instance: Instance, store: Store, transfer_id: int = NO_TRANSFER) -> ManifestEntry:
    """One copy as the manifest lists it."""
    file = instance.file
    return ManifestEntry(
        name=file.name,
        create_time=file.registered_at,
        size=file.size_bytes,
        checksum=file.checksum,
        uploader=file.uploader,
        source=file.source,
        instance_path=store.backend.locate(instance.path),
        deletion_policy=DeletionPolicy(instance.deletion_policy),
        instance_create_time=instance.created_at,
        instance_available=True,
        outgoing_transfer_id=transfer_id,
        instance_id=instance.pk,
        place=instance.path,
        kind=file.kind,
        digest=file.digest,
        obsid=file.obsid,
        first_registered_at=file.first_registered_at,
    )


def listed_lines(store: Store, batches: Iterable[Sequence[Instance]]) -> Iterator[str]:
    """The manifest of a store that goes nowhere, piece by piece."""
    yield head_line(store, None)
    count = size_bytes = 0
    for batch in batches:
        lines = [entry_of(instance, store).model_dump_json() for instance in batch]
        yield (",\n" if count else "") + ",\n".join(lines)
        count += len(batch)
        size_bytes += sum(instance.file.size_bytes for instance in batch)
    yield tail_line(count, size_bytes)


class ManifestFile:
    """A manifest on its way to its place: durable there once it is closed, or nothing."""

    def __init__(self, shipment: Shipment, store: Store) -> None:
        self._path = manifest_path(shipment)
        self._path.parent.mkdir(mode=0o750, exist_ok=True)
        self._partial = self._path.with_name(f".{self._path.name}.{secrets.token_hex(6)}")
        self._file = self._partial.open("xb")
        self._hasher = hashlib.sha256()
        self.file_count = self.size_bytes = 0
        self._write(head_line(store, shipment))

    def add(self, entries: Sequence[ManifestEntry]) -> None:
        """Append entries."""
        if not entries:
            return
        lines = ",\n".join(entry.model_dump_json() for entry in entries)
        self._write((",\n" if self.file_count else "") + lines)
        self.file_count += len(entries)
        self.size_bytes += sum(entry.size for entry in entries)

    def keep(self) -> str:
        """Finish it and put it in its place; returns its seal."""
        self._write(tail_line(self.file_count, self.size_bytes))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return self._hasher.hexdigest()

    def drop(self) -> None:
        """Leave nothing behind unless it was kept."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        data = text.encode()
        self._hasher.update(data)
        self._file.write(data)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# --- Reading ----------------------------------------------------------------------------------------------------------


def contents_of(shipment: Shipment, start: int = 0, count: int | None = None) -> list[ManifestEntry]:
    """Entries of the manifest of a trip, from `start` on, in its order. Raises NoManifest."""
    stop = None if count is None else start + count
    return [ManifestEntry.model_validate_json(line) for line in islice(_entry_lines(shipment), start, stop)]


def batches_of(shipment: Shipment, size: int = BATCH) -> Iterator[list[ManifestEntry]]:
    """All entries of the manifest of a trip, so many at a time. Raises NoManifest."""
    lines = _entry_lines(shipment)
    while batch := [ManifestEntry.model_validate_json(line) for line in islice(lines, size)]:
        yield batch


def open_kept(shipment: Shipment) -> IO[bytes]:
    """The manifest of a trip for reading. Raises NoManifest."""
    try:
        return manifest_path(shipment).open("rb")
    except OSError as error:
        said = f"The manifest of shipment {shipment.pk} cannot be read here: {error.strerror}."
        raise NoManifest(said) from error


def _entry_lines(shipment: Shipment) -> Iterator[bytes]:
    with open_kept(shipment) as file:
        for line in file:
            if line.startswith(b'{"name":'):
                yield line.rstrip(b",\n")
