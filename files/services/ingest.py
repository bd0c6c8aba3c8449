"""Taking trees on this machine into the archive, in bounded batches with an answer for each product.

What is read is read once: copied into staging and hashed in the same pass, or hashed where it lies when it lies in a
store already. A product whose name is known is hashed to tell "already here" from a conflict, and copied nowhere.
Repeating an ingest that was cut short goes on where it was.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from files.models import File, Instance, Upload, UploadKind
from files.names import FiledName, choose_place, normalise_name
from files.services.claims import SharedClaim, claimed_until, new_claim
from files.services.commit import finish_deliveries, recover_claimant, require_obsid, verify_content
from files.services.in_place import holders_of, refuse_other_holder
from files.services.products import Product
from files.services.registration import Delivery, Outcome, is_same_content
from files.services.uploads import (
    check_label,
    expiry,
    fail_upload,
    is_in_place,
    name_taken,
    reserved_bytes_by_store,
)
from hera_librarian.checksums import DEFAULT_ALGORITHM
from librarian.common import steps
from librarian.common.bulk import bulk_insert
from librarian.common.errors import ArchiveError, Busy, InvalidRequest, StoreUnavailable
from stores.backends.base import Progress, UnsafeProduct, new_token
from stores.models import Store
from stores.services import choose_store

BATCH_FILES = 256
BATCH_BYTES = 2**30
ALGORITHMS = (DEFAULT_ALGORITHM, "sha256")


@dataclass(slots=True)
class Report:
    """How one product fared. `outcome` is one of Outcome, or "planned" in a dry run."""

    path: str
    name: str = ""
    kind: str = ""
    size_bytes: int = 0
    outcome: str = ""
    place: str = ""
    checksum: str = ""
    code: str = ""
    reason: str = ""
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What holds for every product of one ingest."""

    actor: User | None = None
    acting_as: str = ""  # the name of an actor whose account may be gone
    uploader: str = ""
    source: str = ""
    store_name: str | None = None
    in_place: bool = False
    null_obsid: bool = False
    obsid: int | None = None
    deletion_policy: int = 0
    jobs: int = 1
    kind: str = UploadKind.INGEST

    @property
    def actor_name(self) -> str:
        return self.actor.username if self.actor else self.acting_as or "manage.py"


@dataclass(slots=True)
class _Item:
    """A product of the batch at hand."""

    product: Product
    report: Report
    filed: FiledName | None = None
    size_bytes: int = 0
    delivery: Delivery | None = field(default=None)

    def fail(self, error: ArchiveError) -> None:
        self.report.outcome, self.report.code = Outcome.FAILED, error.code
        self.report.reason, self.report.remedy = error.reason, error.suggested_remedy

    def find_here(self, file: File) -> None:
        self.report.outcome, self.report.checksum = Outcome.ALREADY_HERE, file.checksum


def ingest_products(
    products: Iterable[Product], wishes: Wishes, *, progress: Progress | None = None
) -> Iterator[Report]:
    """Take products in and yield a report for each. One bad product never fails its neighbours.

    `progress` is called while bytes are read, if one product is read at a time. Raises InvalidRequest for wishes that
    can hold for no product.
    """
    check_label("uploader", wishes.uploader)
    check_label("source", wishes.source)
    with ThreadPoolExecutor(max_workers=max(1, wishes.jobs)) as pool:
        for batch in _batches(products):
            yield from _take_batch(batch, wishes, pool, progress)


def plan_products(products: Iterable[Product]) -> Iterator[Report]:
    """What an ingest would do with each product, reading none of its bytes."""
    for batch in _batches(products):
        known = File.objects.with_copies().in_bulk([item.filed.name for item in batch if item.filed], field_name="name")
        for item in batch:
            if not item.report.outcome:
                file = known.get(item.filed.name)
                item.report.outcome = "planned" if file is None or not file.local_count else "known, will be compared"
                item.report.place = choose_place(item.filed, today=timezone.now().date())
            yield item.report


def _batches(products: Iterable[Product]) -> Iterator[list[_Item]]:
    """Bounded batches; a name occurs once in each, so that a second product of a name meets the first as known."""
    batch: list[_Item] = []
    names: set[str] = set()
    size_bytes = 0
    for product in products:
        item = _look_at(product)
        name = item.filed.name if item.filed else ""
        if batch and (len(batch) >= BATCH_FILES or size_bytes + item.size_bytes > BATCH_BYTES or name in names):
            yield batch
            batch, names, size_bytes = [], set(), 0
        batch.append(item)
        names.add(name) if name else None
        size_bytes += item.size_bytes
    if batch:
        yield batch


def _look_at(product: Product) -> _Item:
    """Name and size of a product; what already speaks against it goes into its report."""
    item = _Item(product, Report(path=product.path, kind=product.kind))
    try:
        if product.problem:
            raise UnsafeProduct(f"{product.path} cannot be taken in: {product.problem}.")
        item.filed = normalise_name(product.handed_as)
        item.report.name = item.filed.name
        item.size_bytes = item.report.size_bytes = product.size_bytes()
    except ArchiveError as error:
        item.filed = None
        item.fail(error)
    except OSError as problem:
        item.filed = None
        item.fail(
            UnsafeProduct(f"{product.path} cannot be read: {problem.strerror}.", remedy="Repair its permissions.")
        )
    return item


# --- One batch --------------------------------------------------------------------------------------------------------


def _take_batch(
    batch: list[_Item], wishes: Wishes, pool: ThreadPoolExecutor, progress: Progress | None
) -> list[Report]:
    try:
        _settle_known(batch, wishes)
        if wishes.in_place:
            _look_at_places(batch, wishes)
        _open_uploads(batch, wishes)
        _deliver(batch, wishes, pool, progress)
    except ArchiveError as error:  # touches the whole batch: no store takes it, or the store went away
        for item in batch:
            if not item.report.outcome:
                item.fail(error)
    finally:
        _close_failed(batch)
    return [item.report for item in batch]


def _open(batch: Iterable[_Item]) -> list[_Item]:
    return [item for item in batch if not item.report.outcome]


def _settle_known(batch: list[_Item], wishes: Wishes) -> None:
    """Products whose name the catalogue holds: hashed where they are, and compared."""
    waiting = _open(batch)
    known = File.objects.with_copies().in_bulk([item.filed.name for item in waiting], field_name="name")
    places = _known_places(waiting, known) if wishes.in_place else set()
    for item in waiting:
        file = known.get(item.filed.name)
        if file is None or not file.local_count:
            continue
        if (file.pk, item.product.path) in places:  # this very copy is an instance already
            item.find_here(file)
            continue
        _compare(item, file)


def _look_at_places(batch: list[_Item], wishes: Wishes) -> None:
    """In place: every product must lie in the store, at a place that is no other file's copy."""
    waiting = _open(batch)
    if not waiting:
        return
    store = _store_that_holds(waiting, wishes)
    places = [store.backend.place_of(item.product.path) for item in waiting]
    holders = holders_of(store, [place for place in places if place is not None])
    for item in waiting:
        try:
            refuse_other_holder(store, _place_in(store, item), item.filed.name, holders)
        except ArchiveError as error:
            item.fail(error)


def _known_places(items: Sequence[_Item], known: dict[str, File]) -> set[tuple[int, str]]:
    rows = Instance.objects.present().filter(file__in=known.values()).select_related("store")
    return {(instance.file_id, instance.store.backend.locate(instance.path)) for instance in rows}


def _compare(item: _Item, file: File) -> None:
    if item.product.kind == "flat" and item.size_bytes != file.size_bytes:
        item.fail(name_taken(file, same=False))
        return
    try:
        content = item.product.digest(ALGORITHMS)
    except ArchiveError as error:
        item.fail(error)
        return
    if content is None:
        return  # compared when it is in staging
    if is_same_content(file, content):
        item.find_here(file)
    else:
        item.fail(name_taken(file, same=False))


def _open_uploads(batch: list[_Item], wishes: Wishes) -> None:
    """The intent rows of a batch, each with its name claimed and its room reserved."""
    waiting = _open(batch)
    if not waiting:
        return
    try:
        _create_uploads(waiting, wishes)
    except IntegrityError:  # somebody is delivering one of these names at this moment
        for item in waiting:
            try:
                recover_claimant(item.filed.name)
                _create_uploads([item], wishes)
            except IntegrityError:
                item.fail(Busy(f"Another delivery of {item.filed.name} is under way.", remedy="Run the ingest again."))
            except ArchiveError as error:
                item.fail(error)
    steps.passed("intent")


def _create_uploads(items: Sequence[_Item], wishes: Wishes) -> None:
    claim, now = new_claim(), timezone.now()
    here = _store_that_holds(items, wishes) if wishes.in_place else None  # looks at the disk: before the transaction
    places = [_place_in(here, item) if here else choose_place(item.filed, today=now.date()) for item in items]
    with transaction.atomic():
        store = here or _store_with_room(items, wishes)
        uploads = [
            Upload(
                kind=wishes.kind,
                owner=wishes.actor,
                owner_name=wishes.actor_name,
                store=store,
                token="" if wishes.in_place else new_token(),
                upload_name=item.filed.name,
                destination=item.product.handed_as,
                uploader=wishes.uploader,
                source=wishes.source,
                size_bytes=item.size_bytes,
                reserved_bytes=0 if wishes.in_place else item.size_bytes,
                obsid=wishes.obsid,
                null_obsid=wishes.null_obsid,
                deletion_policy=wishes.deletion_policy,
                committing_name=item.filed.name,
                place=place,
                commit_asked_at=now,
                claim=claim,
                claim_until=claimed_until(),
                expires_at=now + expiry(),
            )
            for item, place in zip(items, places, strict=True)
        ]
        for upload in uploads:
            require_obsid(upload)
        bulk_insert(uploads)
    for item, upload in zip(items, uploads, strict=True):
        upload.store = store  # one row object, so that its backend is shared
        item.delivery = Delivery(upload=upload, filed=item.filed)
        item.report.place = upload.place


def _store_with_room(items: Sequence[_Item], wishes: Wishes) -> Store:
    needed = sum(item.size_bytes for item in items)
    return choose_store(size_bytes=needed, reserved=reserved_bytes_by_store, name=wishes.store_name)


def _store_that_holds(items: Sequence[_Item], wishes: Wishes) -> Store:
    for store in Store.objects.reachable().filter(kind=Store.Kind.POSIX).here():  # products are paths of this machine
        if wishes.store_name in (None, store.name) and store.backend.place_of(items[0].product.path) is not None:
            return store
    raise InvalidRequest(
        f"{items[0].product.path} lies in no store that is available here.",
        remedy="Leave out --in-place to copy it into a store, or add the directory as a store first.",
    )


def _place_in(store: Store, item: _Item) -> str:
    place = store.backend.place_of(item.product.path)
    if place is None:
        raise InvalidRequest(f"{item.product.path} does not lie in store {store.name}.")
    return str(place)


def _deliver(batch: list[_Item], wishes: Wishes, pool: ThreadPoolExecutor, progress: Progress | None) -> None:
    """Bytes, then everything after them, for the uploads of the batch grouped by their claim."""
    by_claim: dict[str, list[_Item]] = {}
    for item in _open(batch):
        by_claim.setdefault(item.delivery.upload.claim, []).append(item)
    for claim, items in by_claim.items():
        store = items[0].delivery.upload.store
        with store.backend.holding():
            _deliver_claimed(items, store, SharedClaim(claim, progress), wishes, pool)


def _deliver_claimed(
    items: list[_Item], store: Store, renewal: SharedClaim, wishes: Wishes, pool: ThreadPoolExecutor
) -> None:
    _read_all(items, renewal, wishes, pool)
    going = _open(items)
    if wishes.in_place:
        store.backend.sync_bytes([item.delivery.upload.place for item in going])
    else:
        store.backend.sync_items([item.delivery.upload.token for item in going])
    steps.passed("synced")
    steps.passed("claimed")
    finish_deliveries([item.delivery for item in going], store=store, claim=renewal.token)
    for item in going:
        _report(item)


def _read_all(items: Sequence[_Item], renewal: SharedClaim, wishes: Wishes, pool: ThreadPoolExecutor) -> None:
    if wishes.jobs == 1:
        for item in items:
            _read(item, renewal, wishes)
    else:
        list(pool.map(lambda item: _read(item, None, wishes), items))
        renewal(0)
    for item in items:
        if not item.report.outcome:
            upload, content = item.delivery.upload, item.delivery.content
            upload.size_bytes = item.report.size_bytes = content.size_bytes
            verify_content(item.delivery)
    steps.passed("staged")


def _read(item: _Item, renewal: SharedClaim | None, wishes: Wishes) -> None:
    upload = item.delivery.upload
    try:
        if wishes.in_place:
            item.delivery.content = upload.store.backend.digest(upload.place, ALGORITHMS, renewal)
        else:
            upload.store.backend.stage(upload.token, private=True)
            item.delivery.content = item.product.bring(upload.store.backend, upload.token, ALGORITHMS, renewal)
    except StoreUnavailable:
        raise
    except ArchiveError as error:
        item.fail(error)


def _report(item: _Item) -> None:
    delivery, report = item.delivery, item.report
    if delivery.error is not None:
        item.fail(delivery.error)
        return
    report.outcome, report.place, report.checksum = delivery.outcome, delivery.upload.place, delivery.upload.checksum


def _close_failed(batch: list[_Item]) -> None:
    """Uploads whose product failed or turned out to be here already end too, and their staging goes."""
    for item in batch:
        delivery = item.delivery
        if delivery is None or delivery.outcome in (Outcome.NEW, Outcome.RESTORED):
            continue
        if delivery.goes_on and _may_be_in_place(delivery.upload):
            Upload.objects.filter(pk=delivery.upload.pk, claim=delivery.upload.claim).update(claim="", claim_until=None)
            continue  # the sweeper finishes it, or undoes it
        reason = item.report.reason or "The archive already holds these bytes under this name."
        error = ArchiveError(reason)
        error.code = item.report.code or "already_here"
        fail_upload(delivery.upload, error=error)


def _may_be_in_place(upload: Upload) -> bool:
    """False only if it is known that a delivery cut short by its store has not got its place yet."""
    try:
        return is_in_place(upload)
    except ArchiveError:
        return True
