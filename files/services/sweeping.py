"""What finds half-done deliveries and finishes or undoes them: the row is the queue, a sweeper its patient reader."""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from django.db import DatabaseError
from django.db.models import Q, QuerySet
from django.utils import timezone

from files.models import Upload, UploadKind, UploadState
from files.models.upload import SERVER_SIDE
from files.services.claims import is_dead
from files.services.commit import RECOVERY_PATIENCE_SECONDS, commit_upload, recover_upload
from files.services.finishing import finish_upload
from files.services.uploads import expiry, fail_upload, is_in_place, live_tokens
from librarian.common.errors import ArchiveError
from librarian.common.identity import own_host
from librarian.common.inbox import report_error
from librarian.common.models import Category, Severity
from stores.models import Store

log = logging.getLogger(__name__)
BATCH = 200
ORPHAN_SECONDS = 3600


class Expired(ArchiveError):
    code = "upload_expired"
    remedy = "Begin with a new upload."


def finish_commits(*, limit: int = BATCH) -> dict[str, int]:
    """Go on with commits whose process died, and undo server-side deliveries that nobody works on any more.

    `limit` bounds how many are brought to an end; those that wait or fail take nobody's turn.
    """
    counts = {"finished": 0, "undone": 0, "waiting": 0, "failed": 0}
    stores = Store.objects.reachable().here()
    asked = Upload.objects.live().filter(commit_asked_at__isnull=False, store__in=stores).select_related("store")
    stale = Q(claim="") | Q(claim_until__lt=timezone.now()) | Q(claim__startswith=f"{own_host()}:")
    for upload in _in_turn(asked.filter(stale)):
        if is_dead(upload):
            counts[_finish(upload)] += 1
        if counts["finished"] + counts["undone"] >= limit:
            break
    return counts


def _in_turn(uploads: QuerySet[Upload]) -> Iterator[Upload]:
    """All of them, the oldest first, in batches."""
    last = 0
    while batch := list(uploads.filter(pk__gt=last).order_by("pk")[:BATCH]):
        yield from batch
        last = batch[-1].pk


def _finish(upload: Upload) -> str:
    try:
        if upload.kind in SERVER_SIDE:
            return {"finished": "finished", "undone": "undone"}.get(recover_upload(upload), "waiting")
        if upload.kind == UploadKind.TUS:
            finish_upload(upload, patience_seconds=RECOVERY_PATIENCE_SECONDS)
        else:
            commit_upload(upload_id=upload.pk, patience_seconds=RECOVERY_PATIENCE_SECONDS)
        return "finished"
    except ArchiveError as error:
        if error.passing:
            return "waiting"
        report_error(
            severity=Severity.ERROR,
            category=Category.DATA_AVAILABILITY,
            code=error.code,
            message=f"The delivery of {upload.destination} by {upload.owner_name} cannot be finished: {error.reason}",
            remedy=error.suggested_remedy,
            caller="finish_commits",
            target=str(upload.pk),
        )
        return "failed"
    except DatabaseError:
        raise
    except Exception as problem:  # a mistake of ours in one delivery must not keep the others waiting for ever
        log.exception("finishing upload %s failed", upload.pk)
        report_error(
            severity=Severity.ERROR,
            category=Category.PROGRAMMING,
            code="commit_not_finished",
            message=f"Finishing the delivery of {upload.destination} failed: {type(problem).__name__}: {problem}",
            remedy="Report this with the log of the job worker. The delivery stays in staging until it expires.",
            caller="finish_commits",
            target=str(upload.pk),
        )
        return "failed"


def sweep_staging(*, older_than_seconds: float = ORPHAN_SECONDS) -> dict[str, int]:
    """Expire uploads nobody came back for, and remove staging that belongs to no live upload.

    `older_than_seconds` spares young orphans: a row may be about to be written for them.
    """
    counts = {"expired": expire_uploads(), "orphans": 0, "stores": 0}
    for store in Store.objects.reachable().here():
        try:
            counts["orphans"] += _drop_orphans(store, older_than_seconds)
        except ArchiveError as error:  # away since it was measured; its neighbours are swept all the same
            log.warning("staging of store %s is swept another time: %s", store.name, error.reason)
            continue
        counts["stores"] += 1
    return counts


def expire_uploads() -> int:
    """Close live uploads whose staging has not changed for as long as LIBRARIAN_UPLOAD_EXPIRES_DAYS says."""
    return sum(_expire_on(store) for store in Store.objects.all().here())


def _expire_on(store: Store) -> int:
    """The same on one store, whose staging is looked through once. A look that fails keeps the uploads."""
    overdue = Upload.objects.live().filter(store=store, expires_at__lt=timezone.now())
    due = [upload for upload in overdue.select_related("store").order_by("id")[:BATCH] if is_dead(upload)]
    if not due:
        return 0
    tokens = {upload.token for upload in due}
    try:
        changed = {token: at for token, at in store.backend.list_staging() if token in tokens}
    except ArchiveError as error:
        log.warning("uploads on store %s expire another time: %s", store.name, error.reason)
        return 0
    return sum(_expire(upload, changed.get(upload.token)) for upload in due)


def _expire(upload: Upload, changed: float | None) -> bool:
    """Close one upload unless its staging `changed` (Unix seconds; None: it is gone) not so long ago."""
    if changed is not None:
        changed_at = datetime.fromtimestamp(changed, tz=UTC)
        if changed_at + expiry() > timezone.now():
            Upload.objects.filter(pk=upload.pk).update(staging_changed_at=changed_at, expires_at=changed_at + expiry())
            return False
    if is_in_place(upload):
        return False  # finish_commits goes on with it
    error = Expired(f"Nothing was written to the staging of upload {upload.pk} for {expiry().days} days.")
    return fail_upload(upload, error=error, state=UploadState.EXPIRED)


def _drop_orphans(store: Store, older_than_seconds: float) -> int:
    before = time.time() - older_than_seconds
    dropped = 0
    old = (token for token, changed in store.backend.list_staging() if changed < before)
    while batch := list(islice(old, BATCH)):
        live = live_tokens(store, batch)
        for token in batch:
            if token not in live:
                store.backend.drop_staging(token)
                dropped += 1
    return dropped


def forget_finished_uploads(*, older_than_days: float = 90.0) -> dict[str, int]:
    """Remove rows of uploads that ended long ago: nobody repeats their commit any more. Files and events stay."""
    before = timezone.now() - timedelta(days=older_than_days)
    total = 0
    while True:
        old = list(Upload.objects.filter(finished_at__lt=before).values_list("pk", flat=True)[:1000])
        if not old:
            return {"uploads": total}
        total += Upload.objects.filter(pk__in=old).delete()[0]
