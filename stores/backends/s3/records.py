"""The commit record of a store in a bucket: one object for each batch, in the form of the record's segments.

An object appears whole or not at all, so a batch is either told or not. Each names the one before it of its process,
so that a missing one is seen.
"""

import hashlib
import io
import os
import re
import secrets
import socket
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import IO, Any

from stores.backends.base import Member, RecordLine
from stores.backends.record import RecordReader, line_facts, sealed, segment_header
from stores.backends.s3 import fetching
from stores.backends.s3.bucket import Bucket
from stores.backends.s3.layout import RECORD
from stores.backends.s3.target import Target
from stores.backends.s3.uploading import upload


@dataclass(slots=True)
class _Last:
    """The batch that this process wrote last to a store."""

    lock: Any
    name: str = ""
    digest: str = ""


@lru_cache(maxsize=256)
def _last(process: int, target: Target, marker: str) -> _Last:
    return _Last(threading.Lock())


def append(bucket: Bucket, marker: str, lines: Iterable[tuple[RecordLine, Iterable[Member]]]) -> None:
    """Write a batch; durable when this returns."""
    last = _last(os.getpid(), bucket.target, marker)
    with last.lock, tempfile.TemporaryFile(prefix="librarian-record-") as file:
        header = {**segment_header(bucket.store_name, marker), "begun_at": datetime.now(UTC).isoformat()}
        if last.name:
            header["continues"] = {"segment": last.name, "digest": last.digest}
        whole, digest = hashlib.sha256(), ""
        for facts in chain([header], line_facts(lines)):
            line, digest = sealed(facts, digest)
            file.write(line)
            whole.update(line)
        file.flush()
        name = _new_name()
        written = upload(bucket, file.fileno(), RECORD + name, whole.hexdigest(), {})
        # Its name is nobody else's: if it is taken, an answer was lost and the SDK's repetition found our own object.
        if not written and bucket.look(RECORD + name) is None:
            raise bucket.unavailable(f"{bucket.address(RECORD + name)} was not written")
        last.name, last.digest = name, digest


def _new_name() -> str:
    """Names sort by time."""
    host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64]
    now = datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S.%f")
    return f"{now}-{host}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"


def read(bucket: Bucket, reader: RecordReader) -> Iterator[tuple[RecordLine, Iterator[Member]]]:
    """What the record tells, the oldest batch first."""
    names = (entry.key.removeprefix(RECORD) for entry in bucket.list(RECORD))
    return reader.read_segments(names, lambda name: _open(bucket, name))


def _open(bucket: Bucket, name: str) -> AbstractContextManager[IO[bytes]]:
    seen = bucket.look(RECORD + name)
    if seen is None:
        raise bucket.unavailable(f"{bucket.address(RECORD + name)} went away while the record was read")
    return io.BufferedReader(_Raw(fetching.blocks(bucket, seen)), buffer_size=2**16)


class _Raw(io.RawIOBase):
    """Blocks as a file."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._fill = fetching.Filler(source)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._fill(memoryview(buffer))
