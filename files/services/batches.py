"""Many products that arrived as one tar stream: taken in like a tree on this machine, with an answer for each.

Repeating it is harmless: what the first attempt took in is "already here" for the second.
"""

import json
from collections.abc import Iterator
from typing import Any

from files.models import Upload, UploadKind, UploadState
from files.services.arrived import open_tar
from files.services.claims import Claim
from files.services.ingest import Report, Wishes, ingest_products
from files.services.registration import Outcome
from files.services.tar_products import TarProduct, batch_products
from files.services.uploads import closing_fields, fail_upload
from librarian.common import steps
from librarian.common.errors import ArchiveError, LostRace


def take_batch(claim: Claim) -> None:
    """Take in the products of a claimed batch upload and close it with their answers.

    Raises BadTar and TooLarge, which close it as failed with nothing taken in, and what is passing.
    """
    upload = claim.upload
    try:
        with open_tar(upload, claim.renew_if_due) as tar:
            products = batch_products(tar)
            claim.held().update(reserved_bytes=upload.length_bytes)  # from here on the products reserve for themselves
            lines = [_line(report) for report in _take_in(products, upload, claim)]
        closed = claim.held().update(
            **closing_fields(UploadState.COMMITTED), outcome=Outcome.NEW, products="\n".join(lines)
        )
    except LostRace:
        raise
    except ArchiveError as error:
        if error.passing:
            claim.release()
        else:
            fail_upload(upload, error=error)
        raise
    except BaseException:
        claim.release()
        raise
    if not closed:
        raise LostRace(f"Upload {upload.pk} was taken over by another process.")
    steps.passed("batch_closed")
    upload.store.backend.drop_staging(upload.token)


def _take_in(products: list[TarProduct], upload: Upload, claim: Claim) -> Iterator[Report]:
    wishes = Wishes(
        actor=upload.owner,
        acting_as=upload.owner_name,
        uploader=upload.uploader,
        source=upload.source,
        null_obsid=upload.null_obsid,
        obsid=upload.obsid,
        deletion_policy=upload.deletion_policy,
        kind=UploadKind.BATCH,
    )
    for report in ingest_products(products, wishes, progress=claim.renew_if_due):
        claim.renew_if_due()
        yield report


def _line(report: Report) -> str:
    """How a product fared, as its line in the row of the upload."""
    said: dict[str, Any] = {"path": report.path, "name": report.name, "outcome": report.outcome}
    said |= {"size_bytes": report.size_bytes, "checksum": report.checksum}
    if report.code:
        said |= {"code": report.code, "reason": report.reason, "suggested_remedy": report.remedy}
    return json.dumps(said)
