"""Writing what arrived into the catalogue: file, members, instance, first events and the closed upload, at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from files.models import File, FileMember, Instance, Presence, Upload, UploadState
from files.models.instance import Condition
from files.names import FiledName
from files.services.events import NewEvent, append_events, begin_histories
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
        for delivery in known:
            _bring_back(delivery, store)
        _close_uploads(new, known, claim)
        note_written(store=store, size_bytes=sum(d.content.size_bytes for d in deliveries if d.upload.token))
    for delivery in new:
        delivery.outcome = Outcome.NEW
    for delivery in known:
        delivery.outcome = Outcome.RESTORED


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
    return NewEvent("instance_created", upload.owner_name, facts)


def _instance(delivery: Delivery, store: Store) -> Instance:
    return Instance(
        file=delivery.file,
        store=store,
        path=delivery.upload.place,
        condition=Condition.GOOD,
        condition_at=delivery.file.registered_at,
        deletion_policy=delivery.upload.deletion_policy,
        created_at=delivery.file.registered_at,
    )


def _bring_back(delivery: Delivery, store: Store) -> None:
    """A copy of a file that the catalogue knows but has no copy of: its instance row is present again, or new."""
    at = timezone.now()
    Instance.objects.update_or_create(
        file=delivery.file,
        store=store,
        defaults={
            "path": delivery.upload.place,
            "presence": Presence.PRESENT,
            "condition": Condition.GOOD,
            "condition_at": at,
            "deletion_policy": delivery.upload.deletion_policy,
        },
    )
    append_events(file=delivery.file, events=[_arrived(delivery, store)])


def _close_uploads(new: Sequence[Delivery], known: Sequence[Delivery], claim: str) -> None:
    named = File.objects.filter(name=OuterRef("committing_name")).values("pk")[:1]
    for deliveries, outcome in ((new, Outcome.NEW), (known, Outcome.RESTORED)):
        if not deliveries:
            continue
        closed = Upload.objects.filter(
            pk__in=[delivery.upload.pk for delivery in deliveries], state=UploadState.STAGED, claim=claim
        ).update(**closing_fields(UploadState.COMMITTED), file=Subquery(named), outcome=outcome)
        if closed != len(deliveries):
            raise LostRace("Another process took over an upload of this batch.")
