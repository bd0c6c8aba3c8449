"""One file of the spool on its way to one new object: in one request, or in parts of bounded size and number.

Nothing is ever overwritten, and an object appears whole or not at all. The bytes are hashed as they are read for
sending and compared with the digest that the spool had; the service compares what arrives.
"""

import hashlib
import logging
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any

from stores.backends.base import ChangedWhileRead
from stores.backends.s3.bucket import SHA256, Bucket, base64_sha256
from stores.backends.s3.trouble import FAILURES, OCCUPIED, UPLOAD_GONE, code_of

PART_BYTES = 8 * 2**20
WORKERS = 4
_MAX_PARTS = 9000  # of the 10,000 that S3 allows
_MEBIBYTE = 2**20
logger = logging.getLogger(__name__)


def upload(
    bucket: Bucket,
    fd: int,
    key: str,
    digest: str,
    facts: Mapping[str, str],
    *,
    on_begun: Callable[[str], None] = lambda upload_id: None,
) -> bool:
    """Make the open file `fd`, whose SHA-256 is `digest`, the object `key`; False when the key is taken.

    `on_begun` is told the id of an upload in parts, which costs room until it is ended.
    """
    size = os.fstat(fd).st_size
    if size > PART_BYTES:
        return _Parts(bucket, fd, size, key, digest, facts).send(on_begun)
    body = _read(fd, 0, size)
    if hashlib.sha256(body).hexdigest() != digest:
        raise _changed(bucket, key)
    return bucket.put_new(key, body, facts)


def send_in_parts(bucket: Bucket, key: str, body: bytes) -> bool:
    """Make some bytes an object by an upload in parts, however few they are; False when the key is taken."""
    with tempfile.TemporaryFile(prefix="librarian-probe-") as file:
        file.write(body)
        file.flush()
        digest = hashlib.sha256(body).hexdigest()
        return _Parts(bucket, file.fileno(), len(body), key, digest, {}).send(lambda upload_id: None)


def abort(bucket: Bucket, key: str, upload_id: str) -> None:
    """End an upload in parts that was not completed; harmless when it is gone."""
    with bucket.speaking(f"ending the upload of {bucket.address(key)}"):
        try:
            bucket.client.abort_multipart_upload(**bucket.at(key), UploadId=upload_id)
        except FAILURES as error:
            if code_of(error) not in (*UPLOAD_GONE, "404"):
                raise


def open_uploads(bucket: Bucket, below: str) -> Iterator[tuple[str, str, datetime]]:
    """Uploads in parts that were neither completed nor ended: key, id, and when they began."""
    with bucket.speaking(f"listing uploads to {bucket.address(below)}"):
        pages = bucket.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket.target.bucket, Prefix=bucket.target.prefix + below
        )
        for page in pages:
            for found in page.get("Uploads", ()):
                yield found["Key"].removeprefix(bucket.target.prefix), found["UploadId"], found["Initiated"]


class _Parts:
    """One upload in parts."""

    def __init__(self, bucket: Bucket, fd: int, size: int, key: str, digest: str, facts: Mapping[str, str]) -> None:
        self._bucket, self._fd, self._size = bucket, fd, size
        self._key, self._digest, self._facts = key, digest, facts
        # Whole mebibytes: some services want all parts but the last to be alike.
        self._part_bytes = max(PART_BYTES, -(-size // _MAX_PARTS // _MEBIBYTE) * _MEBIBYTE)
        self._id = ""

    def send(self, on_begun: Callable[[str], None]) -> bool:
        with self._bucket.speaking(f"writing {self._bucket.address(self._key)}"):
            begun = self._bucket.client.create_multipart_upload(
                **self._bucket.at(self._key),
                Metadata={**self._facts, SHA256: self._digest},
                ChecksumAlgorithm="SHA256",
            )
        self._id = begun["UploadId"]
        try:
            on_begun(self._id)
            parts = self._send_parts()
            done = self._complete(parts)
        except BaseException:
            self._give_up()
            raise
        if not done:
            self._give_up()
        return done

    def _send_parts(self) -> list[dict[str, Any]]:
        whole, parts = hashlib.sha256(), list[dict[str, Any]]()
        waiting: deque[Future[dict[str, Any]]] = deque()
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="librarian-s3")
        try:
            for number, offset in enumerate(range(0, self._size, self._part_bytes), start=1):
                while len(waiting) >= WORKERS:
                    parts.append(waiting.popleft().result())
                body = _read(self._fd, offset, min(self._part_bytes, self._size - offset))
                waiting.append(pool.submit(self._send_part, number, body))
                whole.update(body)
            parts += [part.result() for part in waiting]
        finally:
            pool.shutdown(cancel_futures=True)
        if whole.hexdigest() != self._digest:
            raise _changed(self._bucket, self._key)
        return parts

    def _send_part(self, number: int, body: bytes) -> dict[str, Any]:
        checksum = base64_sha256(hashlib.sha256(body).hexdigest())
        with self._bucket.speaking(f"writing {self._bucket.address(self._key)}"):
            sent = self._bucket.client.upload_part(
                **self._bucket.at(self._key),
                UploadId=self._id,
                PartNumber=number,
                Body=body,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum,
            )
        return {"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum}

    def _complete(self, parts: list[dict[str, Any]]) -> bool:
        with self._bucket.speaking(f"completing {self._bucket.address(self._key)}"):
            try:
                self._bucket.client.complete_multipart_upload(
                    **self._bucket.at(self._key),
                    UploadId=self._id,
                    MultipartUpload={"Parts": parts},
                    IfNoneMatch="*",
                )
            except FAILURES as error:
                # A repetition of a request whose answer was lost finds its own object, or the upload ended.
                if code_of(error) in (*OCCUPIED, *UPLOAD_GONE):
                    return False
                raise
        return True

    def _give_up(self) -> None:
        """The parts cost room until they are ended; what cannot be ended now is ended with the delivery."""
        try:
            abort(self._bucket, self._key, self._id)
        except Exception as error:
            logger.warning("an upload to %s was not ended: %s", self._bucket.address(self._key), error)


def _read(fd: int, offset: int, length: int) -> bytes:
    pieces = []
    while length and (piece := os.pread(fd, length, offset)):
        pieces.append(piece)
        offset, length = offset + len(piece), length - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _changed(bucket: Bucket, key: str) -> ChangedWhileRead:
    return ChangedWhileRead(
        f"The staged bytes of {bucket.address(key)} are no longer those that arrived.",
        remedy="Look after the disk of the spool, then deliver the file again.",
    )
