"""The commit of whatever was delivered: one product or a batch of them, for the API and the sweeper alike."""

import json
from typing import Any

from django.utils import timezone

from files.models import Upload, UploadContent, UploadState
from files.services.arrivals import UploadOver
from files.services.arrived import open_tar
from files.services.batches import take_batch
from files.services.claims import take_claim
from files.services.commit import Patience, commit_upload
from files.services.uploads import check_checksum, fail_upload
from hera_librarian.checksums import MultiHasher, parse_checksum
from librarian.common.errors import Conflict, ContentMismatch, LostRace
from stores.backends.base import BLOCK_BYTES


class UploadIncomplete(Conflict):
    code = "upload_incomplete"
    remedy = "Ask with HEAD how many bytes have arrived, send the rest, then ask for the commit again."


def finish_upload(
    upload: Upload,
    *,
    checksum: str | None = None,
    stream_checksum: str | None = None,
    patience_seconds: float | None = None,
) -> Upload:
    """Bring a complete resumable upload into the archive and return its row as it is then.

    Blocks until done; a repeated call joins, redoes or gives the first answer again. `checksum` is the product's,
    `stream_checksum` that of the bytes as they were sent.

    Raises UploadIncomplete, UploadOver, and what the commit of its product raises; a batch answers for each product.
    """
    if upload.state in (UploadState.FAILED, UploadState.EXPIRED):
        raise UploadOver(f"Upload {upload.pk} has {upload.state}: {upload.failure_reason}")
    if upload.state == UploadState.STAGED and upload.offset_bytes < upload.length_bytes:
        raise UploadIncomplete(
            f"Upload {upload.pk} was announced with {upload.length_bytes} bytes and has not got them all."
        )
    if upload.content == UploadContent.FILE:
        checksum = checksum or stream_checksum
    elif stream_checksum is not None and upload.state == UploadState.STAGED:
        _check_stream(upload, check_checksum(stream_checksum))
    if upload.content == UploadContent.BATCH:
        _finish_batch(upload, Patience.of(patience_seconds))
    else:
        commit_upload(
            upload_id=upload.pk,
            checksum=checksum,
            arrived=_arrived(upload),
            seen=upload,
            patience_seconds=patience_seconds,
        )
    return Upload.objects.select_related("file", "store").get(pk=upload.pk)


def _arrived(upload: Upload) -> dict[str, Any]:
    if upload.content == UploadContent.FILE and not upload.length_bytes and not upload.arrived_digests:
        return {}
    return {"offset_bytes": upload.offset_bytes, "arrived_digests": upload.arrived_digests}


def _check_stream(upload: Upload, declared: str) -> None:
    """Compare a tar stream with its declared checksum. Raises ContentMismatch, which ends the upload."""
    algorithm = parse_checksum(declared).algorithm
    digests = json.loads(upload.arrived_digests or "{}")
    found = f"{algorithm}:::{digests[algorithm] if algorithm in digests else _read_stream(upload, algorithm)}"
    if found != declared:
        error = ContentMismatch(
            f"The stream of upload {upload.pk} has the checksum {found}; {declared} was declared.",
            expected_checksum=declared,
            found_checksum=found,
        )
        fail_upload(upload, error=error)
        raise error


def _read_stream(upload: Upload, algorithm: str) -> str:
    hasher = MultiHasher([algorithm])
    with open_tar(upload) as tar, tar.open() as file:
        while block := file.read(BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest(algorithm)


def _finish_batch(upload: Upload, patience: Patience) -> None:
    while upload.state == UploadState.STAGED:
        claim = take_claim(upload, commit_asked_at=upload.commit_asked_at or timezone.now(), **_arrived(upload))
        if claim is not None:
            try:
                take_batch(claim)
                return
            except LostRace:
                pass  # whoever took it over goes on with it; wait for them
        patience.wait(f"Upload {upload.pk} is being committed by another process")
        upload.refresh_from_db()
    if upload.state != UploadState.COMMITTED:
        raise UploadOver(f"Upload {upload.pk} has {upload.state}: {upload.failure_reason}")
