"""Deliveries before their commit: making room, staging, giving up, expiring."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from accounts.models import User
from files.models import File, FileKind, Upload, UploadContent, UploadKind, UploadState
from files.names import MAX_NAME_CHARACTERS, normalise_name
from hera_librarian.checksums import parse_checksum
from librarian.common import steps
from librarian.common.bulk import bulk_insert
from librarian.common.errors import ArchiveError, InvalidChecksum, InvalidName, InvalidRequest, NameTaken, TooLarge
from librarian.common.texts import UNPRINTABLE
from stores.backends.base import new_token
from stores.models import Store
from stores.services import choose_store

MAX_SIZE_BYTES = 2**63 - 1
_NO_WAY_REMEDY = (
    "Give one of these stores a way that the sender knows (a name for rsync, a collection of Globus), or add a "
    "directory of this machine as a store that takes new files."
)


def reserved_bytes_by_store() -> dict[int, int]:
    """Bytes held free on each store for live uploads."""
    rows = Upload.objects.live().order_by().values_list("store").annotate(total=Sum("reserved_bytes"))
    return {store: total or 0 for store, total in rows}


def stage_upload(
    *,
    owner: User,
    upload_name: str,
    destination: str,
    size_bytes: int,
    checksum: str,
    uploader: str,
    source: str,
    kind: str = UploadKind.WIRE,
    store_name: str | None = None,
    reserved_bytes: int | None = None,
    **fields: Any,
) -> Upload:
    """Make room for one product in staging and return its upload, whose item may then be written.

    `reserved_bytes` is held free for it, its size if left out; `fields` are further columns of the row.

    Raises InvalidName, InvalidChecksum, InvalidRequest, TooLarge (over LIBRARIAN_MAX_UPLOAD_SIZE_BYTES), NameTaken,
    NoStore or StoreUnavailable; nothing is left behind then.
    """
    filed = normalise_name(destination)
    if kind == UploadKind.WIRE:
        refuse_used_name(filed.name, checksum=checksum, size_bytes=size_bytes)
    needed = size_bytes if reserved_bytes is None else reserved_bytes
    fields |= {
        "upload_name": normalise_upload_name(upload_name),
        "destination": destination,
        "size_bytes": check_size(size_bytes),
        "checksum": check_checksum(checksum) if checksum or kind == UploadKind.WIRE else "",
        "uploader": check_label("uploader", uploader),
        "source": check_label("source", source),
    }
    with transaction.atomic():
        store = choose_store(
            size_bytes=needed,
            reserved=reserved_bytes_by_store,
            name=store_name,
            unsuited=why_not_shared if kind == UploadKind.WIRE else None,
            remedy="Use resumable uploads, which share no disk: `librarian upload` of this version, POST v3/uploads/.",
        )
        upload = Upload.objects.create(
            kind=kind,
            owner=owner,
            owner_name=owner.username,
            store=store,
            token=new_token(),
            reserved_bytes=needed,
            expires_at=timezone.now() + expiry(),
            **fields,
        )
    steps.passed("intent")
    try:
        store.backend.stage(upload.token, private=kind == UploadKind.TUS)
    except ArchiveError as error:
        fail_upload(upload, error=error)
        raise
    return upload


@dataclass(frozen=True, slots=True)
class CloneOffer:
    """One file that a peer wants to bring. What it does not say is empty; `kind` is unknown of a foreign peer.

    `digest` is the SHA-256 of a flat file or the tree digest of a directory, whose tar stream has `stream_bytes`.
    """

    destination: str
    size_bytes: int
    checksum: str
    uploader: str
    source: str
    digest: str = ""
    kind: str = ""
    stream_bytes: int = 0
    obsid: int | None = None
    first_registered_at: datetime | None = None

    @property
    def reserved_bytes(self) -> int:
        """Room that it needs at most: a directory may lie in staging as a stream and as itself."""
        return self.size_bytes + self.stream_bytes


def stage_clones(
    *,
    owner: User,
    offers: Sequence[CloneOffer],
    deletion_policy: int,
    private: bool = False,
    unsuited: Callable[[Store], str] | None = None,
) -> tuple[Store, list[Upload]]:
    """Make room for a batch of files on one store and return it with the uploads, in the order of the offers.

    The offers must have been looked at: names legal and free, sizes and checksums valid. `private` staging is for
    bytes that only this server writes; `unsuited` says why the sender's bytes cannot come to a store. Raises NoStore or
    StoreUnavailable; nothing is left behind then.
    """
    needed = sum(offer.reserved_bytes for offer in offers)
    expires_at = timezone.now() + expiry()
    with transaction.atomic():
        store = choose_store(
            size_bytes=needed, reserved=reserved_bytes_by_store, unsuited=unsuited, remedy=_NO_WAY_REMEDY
        )
        uploads = [
            Upload(
                kind=UploadKind.CLONE,
                owner=owner,
                owner_name=owner.username,
                store=store,
                token=new_token(),
                upload_name=normalise_name(offer.destination).name,
                destination=offer.destination,
                uploader=offer.uploader,
                source=offer.source,
                size_bytes=offer.size_bytes,
                content=UploadContent.DIRECTORY if offer.stream_bytes else UploadContent.FILE,
                length_bytes=offer.stream_bytes or (offer.size_bytes if offer.kind == FileKind.FLAT else 0),
                reserved_bytes=offer.reserved_bytes,
                checksum=offer.checksum,
                digest=offer.digest,
                obsid=offer.obsid,
                null_obsid=offer.obsid is None,
                deletion_policy=deletion_policy,
                first_registered_at=offer.first_registered_at,
                expires_at=expires_at,
            )
            for offer in offers
        ]
        bulk_insert(uploads)
    steps.passed("intent")
    for upload in uploads:
        upload.store = store  # one row object, so that its backend is shared
    try:
        with store.backend.holding():
            for upload in uploads:
                store.backend.stage(upload.token, private=private)
    except ArchiveError as error:
        for upload in uploads:
            fail_upload(upload, error=error)
        raise
    return store, uploads


def why_not_shared(store: Store) -> str:
    """Why clients cannot reach a store's staging area by a path, as the end of a sentence; empty if they can."""
    return "" if store.kind == Store.Kind.POSIX else f"is no directory that clients share ({store.get_kind_display()})"


def staging_location(upload: Upload) -> str:
    """Path of the upload's item on the machine that holds it: where a client that shares the disk, or rsync, writes."""
    return str(upload.store.backend.item_location(upload.token))


def expiry() -> timedelta:
    """How long an upload stays after its staging last changed."""
    return timedelta(days=settings.LIBRARIAN_UPLOAD_EXPIRES_DAYS)


def refuse_used_name(name: str, *, checksum: str = "", size_bytes: int | None = None) -> None:
    """Raise NameTaken if the catalogue knows `name` and holds a copy of it; the remedy says whether the bytes agree.

    A name whose last copy is gone is let through: the same bytes may come again, which the commit decides.
    """
    file = File.objects.filter(name=name).first()
    if file is None:
        return
    if file.instances.present().exists() or not _may_be_same(file, checksum, size_bytes):
        raise name_taken(file, same=is_declared_same(file, checksum, size_bytes))


def name_taken(file: File, *, same: bool | None) -> NameTaken:
    """The refusal of a used name; `same` tells whether the bytes are known to agree (None: not compared)."""
    remedy = {
        True: "The archive already holds these very bytes under this name: nothing needs to be sent.",
        False: "The archive holds other bytes under this name: give the new version a new name.",
        None: "Compare checksums with search/file; a new version needs a new name.",
    }[same]
    return NameTaken(f"File {file.name} already exists on librarian.", remedy=remedy, same_content=same)


def _may_be_same(file: File, checksum: str, size_bytes: int | None) -> bool:
    return is_declared_same(file, checksum, size_bytes) is not False


def is_declared_same(file: File, checksum: str, size_bytes: int | None) -> bool | None:
    """Whether declared size and checksum agree with the file's; None when the algorithms differ."""
    if size_bytes is not None and size_bytes != file.size_bytes:
        return False
    try:
        declared = parse_checksum(checksum)
    except ValueError:
        return None
    if declared.algorithm == file.declared.algorithm:
        return declared == file.declared
    if declared.algorithm == "sha256" and not file.is_directory:
        return declared.digest == file.digest
    return None


def check_size(size_bytes: int) -> int:
    """Return a declared size that can be taken. Raises InvalidRequest or TooLarge."""
    if size_bytes < 0:
        raise InvalidRequest("Upload size must be positive.", remedy="Send the size of the product in bytes.")
    if size_bytes > min(settings.LIBRARIAN_MAX_UPLOAD_SIZE_BYTES, MAX_SIZE_BYTES):
        raise TooLarge(
            "Upload size is too large.",
            remedy=f"This site takes products of up to {settings.LIBRARIAN_MAX_UPLOAD_SIZE_BYTES} bytes "
            "(LIBRARIAN_MAX_UPLOAD_SIZE_BYTES); split the product or ask its operator.",
        )
    return size_bytes


def check_checksum(text: str) -> str:
    """Canonical form of a declared checksum. Raises InvalidChecksum."""
    try:
        return str(parse_checksum(text))
    except ValueError as problem:
        raise InvalidChecksum(f"{str(problem)[:1].upper()}{str(problem)[1:]}.") from problem


def check_label(field: str, text: str) -> str:
    """A person's or program's name as a row may keep it. Raises InvalidRequest."""
    if not text or len(text) > MAX_NAME_CHARACTERS or UNPRINTABLE.search(text):
        raise InvalidRequest(
            f"The {field} must have 1 to {MAX_NAME_CHARACTERS} printable characters.", remedy=f"Send another {field}."
        )
    return text


def normalise_upload_name(text: str) -> str:
    """What the client calls its product: kept for the record, never used as a path, yet refused when it climbs."""
    if len(text) > MAX_NAME_CHARACTERS:
        raise InvalidName(f"The upload name has {len(text)} characters; {MAX_NAME_CHARACTERS} are allowed.")
    normalise_name(text)
    return text


def fail_upload(upload: Upload, *, error: ArchiveError, state: str = UploadState.FAILED) -> bool:
    """Give a live upload up with its reason and remove its staging; True if it was still live.

    The row goes first: a crash in between leaves staging without a live upload, which the sweeper removes.
    """
    closed = Upload.objects.filter(pk=upload.pk, state=UploadState.STAGED, claim=upload.claim).update(
        **closing_fields(state), failure_code=error.code, failure_reason=error.reason
    )
    if closed and upload.token:
        upload.store.backend.drop_staging(upload.token)
    return bool(closed)


def is_in_place(upload: Upload) -> bool:
    """True if the bytes of a live upload have their place already: then it is finished, never given up."""
    return bool(upload.place and upload.token) and upload.store.backend.is_placed(upload.token, upload.place)


def closing_fields(state: str) -> dict[str, Any]:
    """Columns of an upload that ends."""
    return {
        "state": state,
        "finished_at": timezone.now(),
        "reserved_bytes": 0,
        "claim": "",
        "claim_until": None,
    }


def live_tokens(store: Store, tokens: Iterable[str]) -> set[str]:
    """Those of `tokens` that belong to a live upload on `store`."""
    rows = Upload.objects.live().filter(Q(store=store), token__in=list(tokens))
    return set(rows.values_list("token", flat=True))
