"""What a complete resumable upload turns out to be: a file hashed as it arrived, or a product to be unpacked."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from files.models import Upload, UploadContent, UploadKind
from files.services.registration import Delivery
from files.services.tar_products import Tar, directory_entries
from stores.backends.base import Content, Progress


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


def unpack_product(delivery: Delivery, algorithms: Sequence[str], progress: Progress) -> None:
    """Write the directory product that arrived as a tar stream, and read it once."""
    upload = delivery.upload
    with open_tar(upload, progress) as tar:
        entries = directory_entries(tar, delivery.filed.name.rpartition("/")[2])
        delivery.content = upload.store.backend.write_tree(
            upload.token, entries, algorithms, progress, limit_bytes=2 * upload.length_bytes
        )
    if upload.kind == UploadKind.CLONE:
        return  # a peer declares the size of the product itself
    upload.size_bytes = delivery.content.size_bytes  # declared was the length of the stream
    held = Upload.objects.live().filter(pk=upload.pk, claim=upload.claim)
    held.update(size_bytes=upload.size_bytes)


@contextmanager
def open_tar(upload: Upload, progress: Progress | None = None) -> Iterator[Tar]:
    """The tar stream that an upload brought; `progress` is called as often as something of it is read."""
    with upload.store.backend.open_part(upload.token, "received") as file:
        yield Tar(file if progress is None else _Watched(file, progress), upload.length_bytes)


class _Watched:
    """An open file that tells of every read: going through a large tar takes longer than a claim is believed."""

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file, self._progress = file, progress
        self.seek = file.seek

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._progress(len(block))
        return block
