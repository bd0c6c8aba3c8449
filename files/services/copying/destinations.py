"""To where a copy goes: the first of its stores that takes it, and room there that nobody else is promised."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from files.models import File, Instance, Offload, OffloadState, Presence, StoreCopy, Upload, UploadKind
from files.names import normalise_name
from files.services.claims import claimed_until
from files.services.copying.sources import BAD, Sources
from files.services.uploads import expiry, reserved_bytes_by_store
from librarian.common.bulk import bulk_insert
from librarian.common.errors import ArchiveError, Conflict, InvalidName, NoStore
from stores.backends.base import new_token
from stores.models import Store
from stores.services import Room, look_for_room


class CopyInTheWay(Conflict):
    code = "copy_in_the_way"
    remedy = "Repair the copy that lies there, or name another store; then retry this one."


@dataclass(frozen=True, slots=True)
class Standing:
    """Where files stand on the stores of a pile, by their keys: stores with a sound copy, and stores with any row.

    A store with a row that is not sound (bad, set aside, handed over) takes no second copy.
    """

    sound: dict[int, list[int]]
    held: dict[int, set[int]]


def standing_of(files: Sequence[int], targets: Sequence[int]) -> Standing:
    """What is there of each file on these stores: one query."""
    rows = Instance.objects.filter(file__in=files, store__in=targets).exclude(presence=Presence.GONE)
    sound: dict[int, list[int]] = {}
    held: dict[int, set[int]] = {}
    for file, store, presence, condition in rows.values_list("file", "store", "presence", "condition"):
        held.setdefault(file, set()).add(store)
        if presence == Presence.PRESENT and condition not in BAD:
            sound.setdefault(file, []).append(store)
    return Standing(sound, held)


def rooms_on(targets: Sequence[int], *, lock: bool = False) -> list[Room]:
    """What each store of a pile can take, in its order. One that is being emptied takes nothing."""
    rooms = look_for_room(store_ids=targets, reserved=reserved_bytes_by_store, lock=lock)
    emptied = set(emptied_stores().values_list("pk", flat=True))
    for room in rooms:
        if room.store.pk in emptied and not room.refusal:
            room.refusal = room.why_not = "is being emptied, or was"
    return rooms


def emptied_stores() -> QuerySet[Store]:
    """Stores that are being emptied, or were to be taken out of service and take no new files since.

    Nothing is copied to them, and what lies there counts for nobody else.
    """
    live = Offload.objects.live().values("store")
    drained = Offload.objects.filter(state=OffloadState.DONE, drains=True).values("store")
    return Store.objects.filter(Q(pk__in=live) | Q(pk__in=drained, ingestable=False))


def pick(rooms: Sequence[Room], copy: StoreCopy, held: set[int]) -> Room | None:
    """The first store that takes a copy; None if none does."""
    return next((room for room in rooms if room.store.pk not in held and room.takes(copy.size_bytes)), None)


def why_barred(copy: StoreCopy, rooms: Sequence[Room], standing: Standing) -> ArchiveError:
    """Why none of the stores takes a copy though one of them has room: a person's matter only if all are barred."""
    held = standing.held.get(copy.file_id, set())
    barred = ", ".join(room.store.name for room in rooms if room.store.pk in held)
    reason = f"{copy.file.name} cannot be copied to {barred}: what lies there is not a good copy, or has left."
    if all(room.store.pk in held for room in rooms):
        return CopyInTheWay(reason)
    return NoStore(
        f"{reason} The others take nothing now.", remedy="Bring one of the others back, or free space there."
    )


def choose_batch(
    copies: Sequence[StoreCopy], rooms: Sequence[Room], standing: Standing
) -> tuple[Room, list[StoreCopy]]:
    """The store for the first of these copies, and those of them that go there as well, each file once.

    None of them may be without a store that takes it.
    """
    first: Room | None = None
    chosen: list[StoreCopy] = []
    files: set[int] = set()
    for copy in copies:
        if copy.file_id in files:
            continue  # two want it: the other finds it there
        room = pick(rooms, copy, standing.held.get(copy.file_id, set()))
        first = first or room
        if room is not None and room is first:
            room.room_bytes -= copy.size_bytes
            chosen.append(copy)
            files.add(copy.file_id)
    if first is None:
        raise CopyInTheWay("No store takes the first of these copies.")
    return first, chosen


# --- The intent -------------------------------------------------------------------------------------------------------


def reserve(
    copies: Sequence[StoreCopy], *, store: Store, sources: dict[int, Sources], claim: str
) -> list[tuple[StoreCopy, Upload]]:
    """Uploads that hold the room of claimed copies on a store; those for which there is none any more are left out."""
    with transaction.atomic():
        (room,) = rooms_on([store.pk], lock=True)
        fitting = []
        for copy in copies:
            if room.takes(copy.size_bytes):
                room.room_bytes -= copy.size_bytes
                fitting.append(copy)
        uploads = [_upload(copy, store, sources[copy.file_id], claim) for copy in fitting]
        bulk_insert(uploads)
        for copy, upload in zip(fitting, uploads, strict=True):
            copy.upload, copy.store, copy.source = upload, store, sources[copy.file_id].readable[0]
        StoreCopy.objects.bulk_update(fitting, ["upload", "store", "source"], batch_size=200)
    for upload in uploads:
        upload.store = store  # one row object, so that its backend is shared
    return list(zip(fitting, uploads, strict=True))


def _upload(copy: StoreCopy, store: Store, sources: Sources, claim: str) -> Upload:
    file, source, now = copy.file, sources.readable[0], timezone.now()
    return Upload(
        kind=UploadKind.COPY,
        owner_name=copy.asked_by or copy.group[:64],
        store=store,
        token=new_token(),
        upload_name=file.name,
        destination=_destination(file, source),
        uploader=file.uploader,
        source=source.store.name,
        size_bytes=file.size_bytes,
        reserved_bytes=file.size_bytes,
        checksum="" if file.is_directory else f"sha256:::{file.digest}",  # no other is worth computing
        digest=file.digest,
        obsid=file.obsid,
        null_obsid=file.obsid is None,
        commit_asked_at=now,
        claim=claim,
        claim_until=claimed_until(),
        expires_at=now + expiry(),
    )


def _destination(file: File, source: Instance) -> str:
    """As the file lies at its source, where that is a way to file it under its name; else by the usual rules."""
    try:
        if normalise_name(source.path).name == file.name:
            return source.path
    except InvalidName:
        pass
    return file.name
