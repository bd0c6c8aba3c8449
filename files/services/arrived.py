"""What a complete resumable upload turns out to be: a file hashed as it arrived, or a product to be unpacked."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from files.models import Upload, UploadContent
from files.services.claims import Claim
from files.services.registration import Delivery
from files.services.tar_products import Tar, directory_entries
from stores.backends.base import Content


def content_as_arrived(upload: Upload, algorithms: Sequence[str]) -> Content | None:
    """Content of a flat item whose every byte one process saw arrive; None where it has to be read."""
    if upload.content != UploadContent.FILE or not upload.arrived_digests:
        return None
    digests = json.loads(upload.arrived_digests)
    if any(algorithm not in digests for algorithm in (*algorithms, "sha256")):
        return None
    return Content(
        kind="flat",
        size_bytes=upload.store.backend.keep_item(upload.token),
        digest=digests["sha256"],
        checksums={algorithm: digests[algorithm] for algorithm in algorithms},
    )


def unpack_product(delivery: Delivery, algorithms: Sequence[str], claim: Claim) -> None:
    """Write the directory product that arrived as a tar stream, and read it once."""
    upload = delivery.upload
    with open_tar(upload) as tar:
        entries = directory_entries(tar, delivery.filed.name.rpartition("/")[2])
        delivery.content = upload.store.backend.write_tree(upload.token, entries, algorithms, claim.renew_if_due)
    upload.size_bytes = delivery.content.size_bytes  # declared was the length of the stream
    claim.held().update(size_bytes=upload.size_bytes)


@contextmanager
def open_tar(upload: Upload) -> Iterator[Tar]:
    """The tar stream that an upload brought."""
    with upload.store.backend.open_part(upload.token, "received") as file:
        yield Tar(file, upload.length_bytes)
