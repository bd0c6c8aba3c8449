"""Taking in one product where it lies in a store already: read, compared and catalogued, never moved."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from files.models import File, Instance, Upload, UploadKind
from files.names import FiledName, normalise_name
from files.services.claims import CLAIM_SECONDS, Claim, new_claim
from files.services.commit import algorithms_for, finish_deliveries, recover_claimant, verify_content
from files.services.registration import Delivery, Outcome, is_same_content
from files.services.uploads import check_checksum, check_label, expiry, fail_upload, name_taken
from librarian.common import steps
from librarian.common.errors import ArchiveError, Busy, InvalidRequest, StoreUnavailable
from stores.models import Store


def register_in_place(
    *,
    actor: User,
    name: str,
    store: Store,
    location: str,
    uploader: str,
    source: str,
    checksum: str = "",
    size_bytes: int | None = None,
    first_registered_at: datetime | None = None,
) -> tuple[File, bool]:
    """Make what lies at `location` (an address inside `store`) a file of the archive.

    Returns the file and whether the catalogue knew it, with these bytes, before.

    Raises
    ------
    InvalidName, InvalidChecksum, InvalidRequest, MissingBytes, UnsafeProduct
        Nothing that can be a file lies there under this name.
    ContentMismatch
        The bytes are not those that `checksum` and `size_bytes` declare.
    NameTaken
        The catalogue holds other bytes under this name.
    StoreUnavailable, Busy
        For now.
    """
    filed = normalise_name(name)
    place = _place_in(store, location, filed.name)
    if size_bytes is not None and size_bytes < 0:
        raise InvalidRequest("The size must not be negative.", remedy="Send the size of the product in bytes.")
    upload = Upload(
        kind=UploadKind.INGEST,
        owner=actor,
        owner_name=actor.username,
        store=store,
        upload_name=filed.name,
        destination=name,
        uploader=check_label("uploader", uploader),
        source=check_label("source", source),
        size_bytes=store.backend.stat(place)[1] if size_bytes is None else size_bytes,
        checksum=check_checksum(checksum) if checksum else "",
        first_registered_at=first_registered_at,
        null_obsid=True,
        committing_name=filed.name,
        place=place,
    )
    claim = _claim(upload)
    try:
        return _register(upload, claim, filed)
    except BaseException as problem:
        error = problem if isinstance(problem, ArchiveError) else ArchiveError("The registration was cut short.")
        fail_upload(upload, error=error)
        raise


def _register(upload: Upload, claim: Claim, filed: FiledName) -> tuple[File, bool]:
    store, delivery = upload.store, Delivery(upload=upload, filed=filed)
    delivery.content = store.backend.digest(upload.place, algorithms_for(upload), claim.renew_if_due)
    store.backend.sync_bytes([upload.place])
    verify_content(delivery)
    steps.passed("synced")
    known = _known_copy(delivery)
    if known is not None:
        fail_upload(upload, error=name_taken(known, same=True))
        return known, True
    finish_deliveries([delivery], store=store, claim=claim.token)
    if delivery.error is not None:
        raise delivery.error
    if delivery.outcome == Outcome.ALREADY_HERE:
        fail_upload(upload, error=name_taken(delivery.file, same=True))
    return delivery.file, delivery.outcome != Outcome.NEW


def _known_copy(delivery: Delivery) -> File | None:
    """The file of this name that is here already. Raises NameTaken when it has other bytes."""
    file = File.objects.with_copies().filter(name=delivery.filed.name).first()
    if file is None:
        return None
    if not is_same_content(file, delivery.content):
        raise name_taken(file, same=False)
    return file if file.local_count else None


def _place_in(store: Store, location: str, name: str) -> str:
    if not store.enabled or not store.available:
        raise StoreUnavailable(f"Store {store.name} is switched off or away.")
    place = store.backend.place_of(location)
    if place is None:
        raise InvalidRequest(
            f"{location[:300]} does not lie in store {store.name}.",
            remedy="Name an absolute path below the root of the store.",
        )
    refuse_other_holder(store, place, name, holders_of(store, [place]))
    return str(place)


def holders_of(store: Store, places: Iterable[str]) -> dict[str, str]:
    """Names of the files whose copies lie at these places, by place."""
    rows = Instance.objects.present().filter(store=store, path__in=list(places))
    return dict(rows.values_list("path", "file__name"))


def refuse_other_holder(store: Store, place: str, name: str, holders: Mapping[str, str]) -> None:
    """Raise InvalidRequest if the bytes at `place` are the copy of a file of another name."""
    holder = holders.get(place, name)
    if holder != name:
        raise InvalidRequest(
            f"{store.backend.locate(place)[:300]} is the copy of another file, {holder}.",
            remedy="Search for that name; one copy cannot be two files.",
        )


def _claim(upload: Upload) -> Claim:
    """Write the intent, with the name claimed. Raises Busy while another delivery of the name is under way."""
    now = timezone.now()
    upload.claim, upload.claim_until = new_claim(), now + timedelta(seconds=CLAIM_SECONDS)
    upload.commit_asked_at, upload.expires_at = now, now + expiry()
    for attempt in range(2):
        try:
            with transaction.atomic():
                upload.save(force_insert=True)
        except IntegrityError:
            if attempt:
                break
            recover_claimant(upload.committing_name)
        else:
            steps.passed("intent")
            return Claim(upload, upload.claim)
    raise Busy(f"Another delivery of {upload.committing_name} is under way.")
