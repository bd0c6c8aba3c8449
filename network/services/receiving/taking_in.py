"""Taking in what senders have brought into staging, and completing or failing the transfers accordingly.

The bytes are read, compared and kept by `files.services.receiving`; here is decided which, when, and what it means for
a transfer. Safe to run twice at the same time: whoever claims an upload takes it in, and a transfer moves once.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from django.db.models import QuerySet
from django.utils import timezone

from files.models import UploadState
from files.services.receiving import Received, receive_staged
from librarian.common import steps
from librarian.common.errors import ArchiveError, StoreUnavailable
from librarian.common.inbox import clear_matching, report_error
from librarian.common.jobs import BY_SCHEDULE, queue_job
from librarian.common.models import Category, Severity
from network.models import IncomingTransfer, TransferState
from network.services.nudging import wishes_for
from network.services.transfers import complete_incoming, fail_incoming
from network.services.transfers.retries import pause
from stores.models import Store

BATCH_FILES = 256
BATCH_BYTES = 2**30
REPORTED_AFTER = 5  # tries in vain
CALLER = "transfers"


class UploadGone(ArchiveError):
    code = "upload_gone"
    remedy = "Nothing: the sender brings it again."


def receive_transfers(*, limit: int = 4096) -> dict[str, int]:
    """Take in staged transfers of stores that this host reaches, the oldest first, and end those whose upload ended.

    What cannot be taken in now (its store is away or full, somebody else delivers the same name) is tried again later,
    with its reason in the row. Stops after `limit` transfers.
    """
    counts = {"completed": 0, "failed": 0, "waiting": 0}
    left, turn = limit, deque[Store | None]([*Store.objects.order_by("pk").here(), None])
    while left > 0 and turn:
        store = turn.popleft()
        batch = _batch_on(store, most=min(BATCH_FILES, left))
        if not batch:
            continue
        turn.append(store)
        left -= len(batch)
        for outcome in _take_in(batch):
            counts[outcome] += 1
        _report_soon()
    return counts


def _report_soon() -> None:
    """Have senders told now, unless that is about to happen. Without it they would be told within the job's cadence."""
    is_due = IncomingTransfer.objects.reportable().exists()
    if is_due and ("report_transfers", "") not in wishes_for({"report_transfers"}):
        queue_job("report_transfers", trigger=BY_SCHEDULE)


def _batch_on(store: Store | None, *, most: int) -> list[IncomingTransfer]:
    """Due transfers of one store, the oldest first, bounded in number and bytes."""
    batch, size_bytes = list[IncomingTransfer](), 0
    for transfer in _due(store).order_by("pk")[:most]:
        size_bytes += transfer.size_bytes
        if batch and size_bytes > BATCH_BYTES:
            break
        batch.append(transfer)
    return batch


def _due(store: Store | None) -> QuerySet[IncomingTransfer]:
    """Transfers that may be taken in now from the staging of `store`; None: those whose upload was forgotten."""
    due = IncomingTransfer.objects.receivable().select_related("upload")
    return due.filter(upload__isnull=True) if store is None else due.filter(upload__store=store)


def _take_in(batch: Sequence[IncomingTransfer]) -> Iterator[str]:
    """Bring a batch to an end; yields for each transfer how it fared."""
    uploads = [transfer.upload_id for transfer in batch if transfer.upload_id is not None]
    received = receive_staged(uploads)
    steps.passed("taken_in")
    arrived = []
    for transfer in batch:
        found = received.get(transfer.upload_id) or _lost(transfer)
        if found.error is None:
            arrived.append((transfer, found.file, found.store_id))
        elif found.error.passing and transfer.upload.state == UploadState.STAGED:
            yield _wait(transfer, found.error)
        else:
            fail_incoming(transfer, error=found.error, kept_aside_at=found.kept_aside_at)
            yield "failed"
    _mended(transfer for transfer, _, _ in arrived if transfer.attempts >= REPORTED_AFTER)
    complete_incoming(arrived)
    steps.passed("completed")
    yield from ["completed"] * len(arrived)


def _lost(transfer: IncomingTransfer) -> Received:
    return Received(error=UploadGone(f"The delivery of {transfer.name} is not known any more."))


def _wait(transfer: IncomingTransfer, error: ArchiveError) -> str:
    """Note why a transfer waits, and when it is tried again: after 30 s, doubling to an hour."""
    attempts = transfer.attempts + 1
    still = IncomingTransfer.objects.filter(pk=transfer.pk, state=TransferState.STAGED)
    still.update(
        attempts=attempts,
        next_try_at=timezone.now() + pause(attempts),
        code=error.code,
        reason=error.reason,
        remedy=error.suggested_remedy,
    )
    if attempts >= REPORTED_AFTER:
        _tell_people(transfer, error, attempts)
    return "waiting"


def _tell_people(transfer: IncomingTransfer, error: ArchiveError, attempts: int) -> None:
    category = Category.DATA_AVAILABILITY if isinstance(error, StoreUnavailable) else Category.TRANSFER
    report_error(
        severity=Severity.WARNING,
        category=category,
        code=error.code,
        message=f"{transfer.name} from {transfer.account_name} waits after {attempts} tries. {error.reason}",
        remedy=error.suggested_remedy,
        caller=CALLER,
        target=_target(transfer),
    )


def _mended(transfers: Iterable[IncomingTransfer]) -> None:
    """Close what was reported of transfers that are taken in after all."""
    for code, target in {(transfer.code, _target(transfer)) for transfer in transfers}:
        clear_matching(code=code, caller=CALLER, target=target, cleared_by="files were taken in")


def _target(transfer: IncomingTransfer) -> str:
    return f"store {transfer.upload.store_id}"
