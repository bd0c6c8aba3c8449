"""Writing what arrived into the catalogue: file, members, instance, first events and the closed upload, at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import F, OuterRef, Subquery
from django.utils import timezone

from files.models import CopyState, File, FileMember, Instance, Presence, StoreCopy, Upload, UploadKind, UploadState
from files.models.instance import Condition
from files.names import FiledName
from files.services.events import NewEvent, begin_histories, extend_histories
from files.services.naming import require_naming_mode
from files.services.uploads import closing_fields
from librarian.common.bulk import bulk_insert
from librarian.common.errors import ArchiveError, LostRace
from stores.backends.base import Content, Member, RecordLine
from stores.models import Store
from stores.services import note_written

MEMBER_BATCH = 2000


class Outcome:
    """How a delivery ended."""

    NEW = "new"
    ALREADY_HERE = "already here"
    RESTORED = "restored"
    COPIED = "copied"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Delivery:
    """One product on its way in: its upload, its name as filed, what its bytes are, where it goes, how it ended."""

    upload: Upload
    filed: FiledName
    content: Content | None = None
    file: File | None = None
    outcome: str = ""
    error: ArchiveError | None = None

    @property
    def goes_on(self) -> bool:
        """True while nothing has decided how it ends."""
        return not self.outcome

    def fail(self, error: ArchiveError) -> None:
        self.outcome, self.error = Outcome.FAILED, error


def is_same_content(file: File, content: Content) -> bool:
    """True if the bytes are those of the file: kind, size and SHA-256 or tree digest agree."""
    return (file.kind, file.size_bytes, file.digest) == (content.kind, content.size_bytes, content.digest)


def build_file(delivery: Delivery, *, at: datetime) -> File:
    """The row of a new file, unsaved."""
    upload, content = delivery.upload, delivery.content
    return File(
        name=delivery.filed.name,
        kind=content.kind,
        size_bytes=content.size_bytes,
        checksum=upload.checksum,
        digest=content.digest,
        uploader=upload.uploader,
        source=upload.source,
        obsid=upload.obsid,
        registered_at=at,
        first_registered_at=upload.first_registered_at or at,
    )


def record_line(delivery: Delivery) -> RecordLine:
    """What the store's commit record keeps of a delivery: enough to rebuild its rows from the store alone."""
    file = delivery.file
    return RecordLine(
        place=delivery.upload.place,
        facts={
            "name": file.name,
            "kind": file.kind,
            "size_bytes": file.size_bytes,
            "checksum": file.checksum,
            "digest": file.digest,
            "uploader": file.uploader,
            "source": file.source,
            "obsid": file.obsid,
            "deletion_policy": delivery.upload.deletion_policy,
            "registered_at": file.registered_at.isoformat(),
            "first_registered_at": file.first_registered_at.isoformat(),
            "member_count": delivery.content.member_count,
        },
    )


def register(deliveries: Sequence[Delivery], *, store: Store, claim: str) -> None:
    """Commit placed and recorded deliveries of one store in one transaction, all or none.

    `claim` is the fencing: LostRace is raised, and nothing written, if any of the uploads is no longer claimed by it.
    """
    if not deliveries:
        return
    require_naming_mode()
    with transaction.atomic():
        new = [delivery for delivery in deliveries if delivery.file.pk is None]
        known = [delivery for delivery in deliveries if delivery.file.pk is not None]
        bulk_insert([delivery.file for delivery in new])
        for delivery in new:
            _write_members(delivery.file, delivery.content)
        begin_histories((delivery.file, [_registered(delivery), _arrived(delivery, store)]) for delivery in new)
        bulk_insert([_instance(delivery, store) for delivery in new])
        _bring_back(known, store)
        _close_uploads(new, known, claim)
        _close_copies(known, store)
        note_written(store=store, size_bytes=sum(d.content.size_bytes for d in deliveries if d.upload.token))
    for delivery in new:
        delivery.outcome = Outcome.NEW
    for delivery in known:
        delivery.outcome = _outcome_of(delivery)


def _write_members(file: File, content: Content) -> None:
    members = iter(content.members)
    while batch := list(islice(members, MEMBER_BATCH)):
        bulk_insert([_member(file, member) for member in batch])


def _member(file: File, member: Member) -> FileMember:
    return FileMember(file=file, kind=member.kind, path=member.path, size_bytes=member.size_bytes, sha256=member.sha256)


def _registered(delivery: Delivery) -> NewEvent:
    file = delivery.file
    return NewEvent(
        "file_registered",
        file.source,
        {
            "kind": file.kind,
            "size_bytes": file.size_bytes,
            "checksum": file.checksum,
            "digest": file.digest,
            "uploader": file.uploader,
            "obsid": file.obsid,
        },
    )


def _arrived(delivery: Delivery, store: Store) -> NewEvent:
    upload = delivery.upload
    facts = {"store": store.name, "path": upload.place, "upload": upload.pk, "kind": upload.kind}
    if upload.kind == UploadKind.COPY:
        facts["from"] = upload.source  # the store that was read
    return NewEvent("instance_created", upload.owner_name, facts)


def _instance(delivery: Delivery, store: Store) -> Instance:
    return Instance(
        file=delivery.file,
        store=store,
        path=delivery.upload.place,
        **_seen(store, delivery.file.registered_at),
        deletion_policy=delivery.upload.deletion_policy,
        created_at=delivery.file.registered_at,
    )


def _seen(store: Store, at: datetime) -> dict[str, Any]:
    """What is known of bytes that just got their place: they are good where they are those that were read."""
    if store.backend.places_what_was_read:
        return {"condition": Condition.GOOD, "condition_at": at}
    return {"condition": Condition.NEVER_CHECKED, "condition_at": None}


def _bring_back(deliveries: Sequence[Delivery], store: Store) -> None:
    """Copies of files that the catalogue knows: their instance rows are present again, or new."""
    if not deliveries:
        return
    at = timezone.now()
    files = [delivery.file.pk for delivery in deliveries]
    before = dict(Instance.objects.filter(store=store, file__in=files).values_list("file", "pk"))
    for delivery in deliveries:
        if delivery.file.pk in before:
            Instance.objects.filter(pk=before[delivery.file.pk]).update(**_as_arrived(delivery, at))
    bulk_insert(
        [
            Instance(file=delivery.file, store=store, created_at=at, **_as_arrived(delivery, at))
            for delivery in deliveries
            if delivery.file.pk not in before
        ]
    )
    extend_histories((delivery.file, [_arrived(delivery, store)]) for delivery in deliveries)


def _as_arrived(delivery: Delivery, at: datetime) -> dict[str, Any]:
    return {
        "path": delivery.upload.place,
        "presence": Presence.PRESENT,
        **_seen(delivery.upload.store, at),
        "deletion_policy": delivery.upload.deletion_policy,
    }


def _outcome_of(known: Delivery) -> str:
    return Outcome.COPIED if known.upload.kind == UploadKind.COPY else Outcome.RESTORED


def _close_uploads(new: Sequence[Delivery], known: Sequence[Delivery], claim: str) -> None:
    named = File.objects.filter(name=OuterRef("committing_name")).values("pk")[:1]
    by_outcome = {Outcome.NEW: list(new), Outcome.COPIED: [], Outcome.RESTORED: []}
    for delivery in known:
        by_outcome[_outcome_of(delivery)].append(delivery)
    for outcome, deliveries in by_outcome.items():
        if not deliveries:
            continue
        closed = Upload.objects.filter(
            pk__in=[delivery.upload.pk for delivery in deliveries], state=UploadState.STAGED, claim=claim
        ).update(**closing_fields(UploadState.COMMITTED), file=Subquery(named), outcome=outcome)
        if closed != len(deliveries):
            raise LostRace("Another process took over an upload of this batch.")


def _close_copies(known: Sequence[Delivery], store: Store) -> None:
    """What wanted these copies has them, whoever finishes their deliveries."""
    uploads = [delivery.upload.pk for delivery in known if delivery.upload.kind == UploadKind.COPY]
    if not uploads:
        return
    now = timezone.now()
    StoreCopy.objects.filter(upload__in=uploads, state=CopyState.COPYING).update(
        state=CopyState.DONE,
        store=store,
        copied_bytes=F("size_bytes"),
        claim="",
        claim_until=None,
        code="",
        reason="",
        remedy="",
        changed_at=now,
        finished_at=now,
    )
