"""Reading objects: by range, ahead with a few requests for long ones, and going on where a line was cut."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from botocore.exceptions import HTTPClientError, IncompleteReadError, ResponseStreamingError
from urllib3.exceptions import HTTPError

from stores.backends.base import BLOCK_BYTES, ChangedWhileRead
from stores.backends.s3.bucket import Bucket, Seen
from stores.backends.s3.trouble import FAILURES, NOT_THERE, OCCUPIED, code_of

AHEAD_BYTES = 8 * 2**20
AHEAD = 3  # so many pieces are fetched before they are asked for
_CUTS = (HTTPClientError, IncompleteReadError, ResponseStreamingError, HTTPError)
_TRIES = 4


def blocks(bucket: Bucket, seen: Seen, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
    """Blocks of an object that was looked at. Nothing is asked for before the first, and little after the last taken.

    Raises ChangedWhileRead when it is another object by then.
    """
    end = seen.size_bytes if length is None else min(seen.size_bytes, offset + length)
    if end - offset > 2 * AHEAD_BYTES:
        return _ahead(bucket, seen, offset, end)
    return _in_turn(bucket, seen, offset, end)


def _in_turn(bucket: Bucket, seen: Seen, offset: int, end: int) -> Iterator[bytes]:
    cuts = 0
    while offset < end:
        with bucket.speaking(f"reading {bucket.address(seen.key)}"):
            body = _open(bucket, seen, offset, end)
        try:
            while offset < end:
                try:
                    block = body.read(min(BLOCK_BYTES, end - offset))
                except _CUTS as error:
                    cuts += 1
                    if cuts < _TRIES:
                        break  # the rest is asked for anew
                    with bucket.speaking(f"reading {bucket.address(seen.key)}"):
                        raise error
                offset += len(block)
                yield block
        finally:
            body.close()


def _ahead(bucket: Bucket, seen: Seen, offset: int, end: int) -> Iterator[bytes]:
    starts = iter(range(offset, end, AHEAD_BYTES))
    waiting: deque[Future[bytes]] = deque()
    pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="librarian-s3")

    def fetch(start: int) -> bytes:
        return b"".join(_in_turn(bucket, seen, start, min(start + AHEAD_BYTES, end)))

    try:
        waiting.extend(pool.submit(fetch, start) for start in islice(starts, AHEAD))
        while waiting:
            piece = waiting.popleft().result()
            following = next(starts, None)
            if following is not None:
                waiting.append(pool.submit(fetch, following))
            for start in range(0, len(piece), BLOCK_BYTES):
                yield piece[start : start + BLOCK_BYTES]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _open(bucket: Bucket, seen: Seen, offset: int, end: int) -> Any:
    try:
        found = bucket.client.get_object(**bucket.at(seen.key), Range=f"bytes={offset}-{end - 1}", IfMatch=seen.etag)
    except FAILURES as error:
        if code_of(error) in (*OCCUPIED, *NOT_THERE):
            raise ChangedWhileRead(f"{bucket.address(seen.key)} was replaced while it was read.") from error
        raise
    return found["Body"]


class Filler:
    """Fills buffers from blocks."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._rest = memoryview(b"")

    def __call__(self, view: memoryview) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._source, b""))
        part, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(part)] = part
        return len(part)
