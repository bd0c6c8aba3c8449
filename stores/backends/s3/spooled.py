"""Notes beside a staged item: which digest it had as it arrived, and what of it may be left half done in the bucket."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from stores.backends import durable, staging
from stores.backends.base import Content
from stores.backends.placing import ITEM
from stores.backends.reading import Explain, is_ours, read_file

_DIGEST = "digest.json"
_BEGUN = "begun.json"
_PLACING = "placing"
_LIMIT_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Begun:
    """A place whose bytes may be there in part: a directory product, or a large file sent in parts."""

    place: str
    upload_id: str = ""  # empty for a directory product


def note_digest(token: int, content: Content) -> None:
    """Remember the digest of a flat item that was just read; others of its inode, size and time are not believed."""
    seen = durable.look(ITEM, at=token)
    if content.kind == "flat" and seen is not None:
        durable.replace_file(_DIGEST, json.dumps([content.digest, *_looks(seen)]).encode(), at=token)


def flat_digest(token: int, item: int, location: str, explain: Explain) -> str:
    """SHA-256 of the open flat item: as it was noted, else by reading it."""
    noted = _read(_DIGEST, token)
    if isinstance(noted, list) and noted[1:] == _looks(os.fstat(item)):
        return str(noted[0])
    return read_file(item, location, staging.with_sha256([]), explain=explain).hexdigests["sha256"]


def note_placing(token: int) -> None:
    """From now on the item may have its place, so nothing of it is cut off any more."""
    os.close(os.open(_PLACING, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=token))


def is_placing(token: int) -> bool:
    """True if the item may have its place."""
    return durable.exists(_PLACING, at=token)


def note_begun(token: int, begun: Begun) -> None:
    """Remember durably, before it is begun, what a crash would leave in the bucket."""
    durable.replace_file(_BEGUN, json.dumps(asdict(begun)).encode(), at=token)


def read_begun(token: int) -> Begun | None:
    """What was begun and not noted as ended."""
    noted = _read(_BEGUN, token)
    try:
        return Begun(**noted) if isinstance(noted, dict) else None
    except TypeError:
        return None


def note_ended(token: int) -> None:
    """Nothing is left half done."""
    durable.remove_tree(_BEGUN, at=token)


def _looks(seen: os.stat_result) -> list[int]:
    return [seen.st_ino, seen.st_size, seen.st_mtime_ns]


def _read(name: str, token: int) -> Any:
    """A note, if we wrote it: a client that may write to its staging directory could have left another."""
    try:
        with durable.closing(durable.open_for_reading(name, at=token)) as fd:
            return json.loads(os.read(fd, _LIMIT_BYTES)) if is_ours(os.fstat(fd)) else None
    except (FileNotFoundError, ValueError):
        return None
