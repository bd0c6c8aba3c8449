"""The commit of a delivery: from bytes in staging to a file with an instance, safe to repeat after a crash anywhere.

Order (each step named in librarian/common/steps.py): bytes in staging -> synced and verified -> the name claimed ->
into place -> directory entries synced -> a line in the commit record -> rows in one transaction -> staging gone.
No transaction is open while bytes are read. Whoever finds an upload half-way repeats the steps; those already done
recognise their own result.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from files.models import File, Instance, Upload, UploadContent, UploadKind, UploadState
from files.models.upload import SERVER_SIDE
from files.names import FiledName, choose_place, next_place, normalise_name
from files.services.arrived import content_as_arrived, unpack_product
from files.services.claims import Claim, hold_longer, is_dead, take_claim
from files.services.places import refuse_entangled, refuse_shared_copy, remember_ways
from files.services.registration import Delivery, Outcome, build_file, is_same_content, record_line, register
from files.services.uploads import check_checksum, closing_fields, fail_upload, is_declared_same, name_taken
from hera_librarian.checksums import DEFAULT_ALGORITHM, Checksum, parse_checksum
from librarian.common import steps
from librarian.common.errors import (
    ArchiveError,
    Busy,
    Conflict,
    ContentMismatch,
    InvalidRequest,
    LostRace,
    NotFound,
    StoreUnavailable,
    rebuild_error,
)
from stores.backends.base import MissingBytes, PlaceOccupied, Progress, StoreBackend
from stores.models import Store

MAX_PLACES = 1000
RECOVERY_PATIENCE_SECONDS = 5.0  # of sweepers: they come again


class NothingStaged(MissingBytes):
    code = "nothing_staged"
    status = 404
    remedy = "Write the product to its staging location, or begin with a new upload."


class Interrupted(ArchiveError):
    code = "interrupted"
    remedy = "The process that delivered it ended half-way and nothing was kept: deliver the product again."


@dataclass
class Patience:
    """Waits a little longer each time, and raises Busy in the end."""

    limit_seconds: float = field(default_factory=lambda: settings.LIBRARIAN_COMMIT_WAIT_SECONDS)
    pause_seconds: float = 0.02
    waited_seconds: float = 0.0

    @classmethod
    def of(cls, limit_seconds: float | None) -> "Patience":
        """Patience of so many seconds; None: as the settings say."""
        return cls() if limit_seconds is None else cls(limit_seconds)

    def wait(self, why: str) -> None:
        if self.waited_seconds > self.limit_seconds:
            raise Busy(f"{why}, for {self.waited_seconds:.0f} s now.")
        time.sleep(self.pause_seconds)
        self.waited_seconds += self.pause_seconds
        self.pause_seconds = min(0.5, self.pause_seconds * 1.5)


def commit_upload(
    *,
    upload_id: int,
    destination: str | None = None,
    deletion_policy: int | None = None,
    null_obsid: bool | None = None,
    checksum: str | None = None,
    arrived: Mapping[str, Any] | None = None,
    seen: Upload | None = None,
    patience_seconds: float | None = None,
) -> File:
    """Make the staged product of an upload a file of the archive, and return it.

    Blocks until done. A repeated call joins a commit that is under way, redoes one that was cut short, and otherwise
    gives the answer of the first call again. `destination`, `deletion_policy` and `null_obsid` override what was
    said when staging, once; `checksum` may be declared now if it was not. `arrived` are columns that say what has
    come, if the row does not say it yet. `seen` is the upload's row, if the caller has just read it. Another process
    that commits this upload or its name is waited for, for `patience_seconds` or as LIBRARIAN_COMMIT_WAIT_SECONDS says.

    Raises
    ------
    NotFound, NothingStaged, ContentMismatch, NameTaken, InvalidName, UnsafeProduct
        The upload is closed with this reason (except for NotFound and InvalidName) and its staging is gone.
    StoreUnavailable, StoreFull, ChangedWhileRead, Busy
        For now; the upload stays and the same call may succeed later.
    """
    patience = Patience.of(patience_seconds)
    wishes = _wishes(destination, deletion_policy, null_obsid) | dict(arrived or {})
    while True:
        upload = seen or _read_upload(upload_id)
        seen = None
        filed = normalise_name(upload.destination if destination is None else destination)
        if upload.state != UploadState.STAGED:
            return past_answer(upload, filed, checksum)
        _refuse_other_name(upload, filed)
        if checksum is not None:
            wishes |= {"checksum": declare_checksum(upload, checksum)}
        claim = take_claim(upload, commit_asked_at=upload.commit_asked_at or timezone.now(), **wishes)
        if claim is None:
            patience.wait(f"Upload {upload_id} is being committed by another process")
            continue
        try:
            return _commit_claimed(claim, filed, Patience.of(patience_seconds))
        except LostRace:
            patience.wait(f"Upload {upload_id} was taken over by another process")


def _read_upload(upload_id: int) -> Upload:
    upload = Upload.objects.filter(pk=upload_id).first()
    if upload is None:
        raise NotFound(f"There is no upload {upload_id}.", remedy="Begin with a new upload.")
    return upload


def declare_checksum(upload: Upload, checksum: str) -> str:
    """The checksum of an upload, declared when it was staged or now. Raises InvalidChecksum, ContentMismatch."""
    said = check_checksum(checksum)
    if upload.checksum and upload.checksum != said:
        raise ContentMismatch(
            f"Upload {upload.pk} was declared with the checksum {upload.checksum}, now with {said}.",
            remedy="Declare one checksum, or begin with a new upload.",
        )
    return said


def _wishes(destination: str | None, deletion_policy: int | None, null_obsid: bool | None) -> dict[str, Any]:
    said = {"destination": destination, "deletion_policy": deletion_policy, "null_obsid": null_obsid}
    return {field: value for field, value in said.items() if value is not None}


def _refuse_other_name(upload: Upload, filed: FiledName) -> None:
    """A commit cut short goes on under the name it was asked for; asking for another is refused."""
    if upload.commit_asked_at and normalise_name(upload.destination).name != filed.name:
        raise InvalidRequest(
            f"A commit of upload {upload.pk} under the name {normalise_name(upload.destination).name} is under way.",
            remedy="Repeat the commit with the same destination, or begin with a new upload.",
        )


def past_answer(upload: Upload, filed: FiledName, checksum: str | None = None) -> File:
    """What an upload that has ended answers: its file, or the error that ended it.

    A checksum that is declared only now is compared with the file's; ContentMismatch changes nothing then.
    """
    if upload.state != UploadState.COMMITTED:
        raise rebuild_error(upload.failure_code, upload.failure_reason)
    if upload.file.name != filed.name:
        raise Conflict(
            f"Upload {upload.pk} was committed as {upload.file.name}, not as {filed.name}.",
            remedy="Begin with a new upload for another name.",
        )
    if checksum is not None and is_declared_same(upload.file, check_checksum(checksum), None) is False:
        raise ContentMismatch(
            f"{upload.file.name} was committed with the checksum {upload.file.checksum}; {checksum} is declared now.",
            remedy="The file stays as it came. Deliver the right bytes under a new name.",
        )
    return upload.file


def _commit_claimed(claim: Claim, filed: FiledName, patience: Patience) -> File:
    upload = claim.upload
    try:
        _refuse_absent_store(upload.store)
        require_obsid(upload)
        delivery = Delivery(upload=upload, filed=filed)
        with upload.store.backend.holding():
            take_bytes(delivery, claim)
            claim_name(claim, filed, patience)
            finish_deliveries([delivery], store=upload.store, claim=claim.token)
        if delivery.outcome == Outcome.ALREADY_HERE:
            _close_already_here(delivery, claim)
        if delivery.error is not None:
            raise delivery.error
    except LostRace:
        raise
    except ArchiveError as error:
        if error.passing:
            claim.release()
        elif isinstance(error, InvalidRequest):
            claim.release(commit_asked_at=None)  # the client has to ask differently; no sweeper can
        else:
            fail_upload(upload, error=error)
        raise
    except BaseException:
        claim.release()
        raise
    return delivery.file


def _refuse_absent_store(store: Store) -> None:
    if not store.enabled:
        raise StoreUnavailable(f"Store {store.name} is switched off.", remedy="Switch it on, then repeat the commit.")


def require_obsid(upload: Upload) -> None:
    """With LIBRARIAN_REQUIRE_OBSID a product needs an obsid, or the explicit word that it has none."""
    if settings.LIBRARIAN_REQUIRE_OBSID and upload.obsid is None and not upload.null_obsid:
        raise InvalidRequest(
            f"{upload.destination} comes without an obsid, which this site requires.",
            remedy="Give its obsid, or say null_obsid for logs, backups and other files of no observation.",
        )


def _close_already_here(delivery: Delivery, claim: Claim) -> None:
    """Same name, same bytes: a success for every way in but the wire, whose clients expect a 409."""
    upload = delivery.upload
    if upload.kind == UploadKind.WIRE:
        delivery.error = name_taken(delivery.file, same=True)
        return
    if not claim.held().update(**closing_fields(UploadState.COMMITTED), file=delivery.file, outcome=delivery.outcome):
        raise LostRace(f"Upload {upload.pk} was taken over by another process.")
    upload.store.backend.drop_staging(upload.token)


# --- The steps, for one delivery or a batch ---------------------------------------------------------------------------


def algorithms_for(upload: Upload) -> list[str]:
    """Digests to compute in the one read: the declared algorithm and SHA-256."""
    declared = parse_checksum(upload.checksum).algorithm if upload.checksum else DEFAULT_ALGORITHM
    return [declared] if declared == "sha256" else [declared, "sha256"]


def take_bytes(delivery: Delivery, claim: Claim) -> None:
    """Read the staged product once, make it durable and compare it with what was declared."""
    upload, backend = delivery.upload, delivery.upload.store.backend
    algorithms = algorithms_for(upload)
    if upload.place and backend.is_placed(upload.token, upload.place):
        delivery.content = backend.digest(upload.place, algorithms, claim.renew_if_due)
    else:
        if upload.kind == UploadKind.CLONE:
            bring_clone(delivery, algorithms, claim.renew_if_due)
        elif upload.content == UploadContent.DIRECTORY:
            unpack_product(delivery, algorithms, claim.renew_if_due)
        elif (content := content_as_arrived(upload, algorithms)) is not None:
            delivery.content = content
        elif not backend.has_item(upload.token):
            raise NothingStaged(f"Nothing lies at the staging location of upload {upload.pk}.")
        else:
            delivery.content = backend.adopt(upload.token, algorithms, claim.renew_if_due)
        steps.passed("staged")
        backend.sync_items([upload.token])
    verify_content(delivery)
    steps.passed("synced")


def bring_clone(delivery: Delivery, algorithms: Sequence[str], progress: Progress) -> None:
    """Content of what a peer delivered, by whatever way it came, as freshly read from the disk."""
    upload, backend = delivery.upload, delivery.upload.store.backend
    if not backend.has_item(upload.token):
        if upload.content != UploadContent.DIRECTORY or not backend.part_size(upload.token, "received"):
            raise NothingStaged(f"Nothing lies at the staging location of upload {upload.pk}.")
        unpack_product(delivery, algorithms, progress)
    delivery.content = backend.adopt(upload.token, algorithms, progress, fresh=True)


def verify_content(delivery: Delivery) -> None:
    """Compare size and declared checksum with what was read. Raises ContentMismatch naming both."""
    upload, content = delivery.upload, delivery.content
    algorithm = algorithms_for(upload)[0]
    found = Checksum(algorithm, content.checksums[algorithm])
    if not upload.checksum:
        upload.checksum = str(found)
    if content.size_bytes != upload.size_bytes:
        raise ContentMismatch(
            f"{delivery.filed.name} has {content.size_bytes} bytes; {upload.size_bytes} were declared.",
            expected_size_bytes=upload.size_bytes,
            found_size_bytes=content.size_bytes,
        )
    if str(found) != upload.checksum:
        raise ContentMismatch(
            f"{delivery.filed.name} has the checksum {found}; {upload.checksum} was declared.",
            expected_checksum=upload.checksum,
            found_checksum=str(found),
        )
    if upload.digest and upload.digest != content.digest:  # of a directory, the checksum binds no names
        raise ContentMismatch(
            f"{delivery.filed.name} has the digest {content.digest}; {upload.digest} was declared.",
            expected_digest=upload.digest,
            found_digest=content.digest,
        )


def claim_name(claim: Claim, filed: FiledName, patience: Patience) -> None:
    """Claim the name for this upload. Waits for a living claimant; recovers a dead one first. Raises LostRace, Busy."""
    upload = claim.upload
    place = upload.place or choose_place(filed, today=upload.created_at.date())
    while True:
        try:
            with transaction.atomic():
                held = claim.held().update(committing_name=filed.name, place=place)
        except IntegrityError:
            recover_claimant(filed.name)
            patience.wait(f"Another delivery of {filed.name} is being committed")
            claim.renew_if_due()
            continue
        if not held:
            raise LostRace(f"Upload {upload.pk} was taken over by another process.")
        upload.committing_name, upload.place = filed.name, place
        steps.passed("claimed")
        return


def recover_claimant(name: str) -> None:
    """If the upload that holds `name` is dead, finish or undo it."""
    other = Upload.objects.live().select_related("store").filter(committing_name=name).first()
    if other is not None and is_dead(other):
        recover_upload(other)


def finish_deliveries(deliveries: Sequence[Delivery], *, store: Store, claim: str) -> None:
    """Bring verified deliveries with claimed names into the archive; sets the outcome of each.

    Raises only what touches them all: StoreUnavailable, LostRace. What was done by then is recognised by a repetition.
    """
    backend = store.backend
    held = Upload.objects.filter(claim=claim, state=UploadState.STAGED)
    size_bytes = sum(delivery.content.size_bytes for delivery in deliveries if delivery.goes_on)
    hold_longer(held, size_bytes=size_bytes, items=len(deliveries))
    settle_known(deliveries)
    _give_rows(_going(deliveries))
    for delivery in _going(deliveries):
        _place(delivery, backend)
    steps.passed("placed")
    placed = _going(deliveries)
    backend.sync_places([delivery.upload.place for delivery in placed])
    steps.passed("places_synced")
    backend.append_record((record_line(delivery), delivery.content.members) for delivery in placed)
    steps.passed("recorded")
    register(placed, store=store, claim=claim)
    steps.passed("committed")
    for delivery in placed:
        if delivery.upload.token:
            backend.drop_staging(delivery.upload.token)
    steps.passed("cleaned")


def _going(deliveries: Iterable[Delivery]) -> list[Delivery]:
    return [delivery for delivery in deliveries if delivery.goes_on]


def settle_known(deliveries: Sequence[Delivery]) -> None:
    """Decide what the catalogue already decides: same bytes are here, other bytes are a conflict.

    A file without any present copy goes on: the delivery brings it back. So does a copy between our own stores, unless
    its own store has the file.
    """
    going = _going(deliveries)
    names = [delivery.filed.name for delivery in going]
    known = {file.name: file for file in File.objects.filter(name__in=names)}
    present = Instance.objects.present().filter(file__in=known.values())
    here = set(present.values_list("file", "store")) if known else set()
    files_here = {file for file, _ in here}
    for delivery in going:
        file = known.get(delivery.filed.name)
        if file is None:
            continue
        delivery.file = file
        if not is_same_content(file, delivery.content):
            delivery.fail(name_taken(file, same=False))
        elif (file.pk, delivery.upload.store_id) in here or (file.pk in files_here and not _adds_a_copy(delivery)):
            delivery.outcome = Outcome.ALREADY_HERE


def _adds_a_copy(delivery: Delivery) -> bool:
    return delivery.upload.kind == UploadKind.COPY


def _give_rows(deliveries: Sequence[Delivery]) -> None:
    at = timezone.now()
    for delivery in deliveries:
        if delivery.file is None:
            delivery.file = build_file(delivery, at=at)


def _place(delivery: Delivery, backend: StoreBackend) -> None:
    """Into place; where other bytes lie, into the next free `<dir>~2`, `<dir>~3`, …"""
    upload = delivery.upload
    if not upload.token:
        _refuse_shared(delivery)
        return
    wanted = choose_place(delivery.filed, today=upload.created_at.date())
    for attempt in range(2, MAX_PLACES):
        try:
            refuse_entangled(delivery, backend)
            backend.place_item(upload.token, upload.place)
        except PlaceOccupied:
            upload.place = next_place(wanted, attempt)
            Upload.objects.filter(pk=upload.pk, claim=upload.claim).update(place=upload.place)
        except StoreUnavailable:
            raise
        except ArchiveError as error:
            delivery.fail(error)
            return
        else:
            remember_ways(upload)
            return
    delivery.fail(PlaceOccupied(f"{MAX_PLACES} places for {delivery.filed.name} are occupied on {upload.store.name}."))


def _refuse_shared(delivery: Delivery) -> None:
    """What lies in place already stays there, unless its bytes are another file's too."""
    try:
        refuse_shared_copy(delivery)
    except InvalidRequest as error:
        delivery.fail(error)


# --- After a crash ----------------------------------------------------------------------------------------------------


def recover_upload(upload: Upload) -> str:
    """Finish or undo an upload whose process died; returns "finished", "undone", "freed" or "" when it is alive.

    Placed bytes are finished: they were verified before they were placed. Otherwise a server-side delivery is undone,
    and one of a client only gives its name free, for its client or the sweeper to go on.
    """
    claim = take_claim(upload)
    if claim is None:
        return ""
    try:
        return _recover_claimed(claim)
    except BaseException:
        claim.release()  # else whoever wants the name waits for a claim that nobody is working on
        raise


def _recover_claimed(claim: Claim) -> str:
    upload = claim.upload
    if upload.place and upload.token and upload.store.backend.is_placed(upload.token, upload.place):
        _commit_placed(claim)
        return "finished"
    if upload.kind in SERVER_SIDE:
        fail_upload(upload, error=Interrupted(f"The delivery of {upload.destination} was interrupted."))
        return "undone"
    claim.held().update(committing_name="", claim="", claim_until=None)
    return "freed"


def _commit_placed(claim: Claim) -> None:
    upload = claim.upload
    filed = normalise_name(upload.destination)
    delivery = Delivery(upload=upload, filed=filed)
    take_bytes(delivery, claim)
    if upload.committing_name != filed.name:
        claim_name(claim, filed, Patience.of(RECOVERY_PATIENCE_SECONDS))
    finish_deliveries([delivery], store=upload.store, claim=claim.token)
    if delivery.outcome == Outcome.ALREADY_HERE:
        _close_already_here(delivery, claim)
    if delivery.error is not None:
        fail_upload(upload, error=delivery.error)
