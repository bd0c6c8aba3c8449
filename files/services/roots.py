"""Signed roots over the histories of files: proof, outside the database, of what they said on a day.

`LIBRARIAN_HOME/roots/<date>.jsonl` is one root. Its first line is a header `{"date", "previous", "site", "taken_at",
"format", "restore_accepted_by"?}` (`previous`: SHA-256 of the whole preceding root file, 64 zeros for the first), then
one line `[file name, line count, head digest]` for every head that changed since, and at the end
`{"lines", "signature"}`: Ed25519 (RFC 8032), base64, over the SHA-512 of all lines before it. The key lies in
`LIBRARIAN_HOME/keys`, never in the database.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.db.models import F
from django.utils import timezone

from files.models import EventHead
from files.services.events import FIRST_DIGEST, canonical_json
from librarian.common.errors import Refused
from librarian.common.keys import read_or_create

BATCH = 2000
FORMAT = 1


def roots_directory() -> Path:
    """Where this site's roots lie."""
    return Path(settings.LIBRARIAN_HOME) / "roots"


def _new_key() -> str:
    raw = Ed25519PrivateKey.generate().private_bytes_raw()
    return base64.b64encode(raw).decode()


def signing_key() -> Ed25519PrivateKey:
    """The key that signs roots, created with mode 0600 on first use."""
    text = read_or_create(Path(settings.LIBRARIAN_HOME) / "keys" / "roots_ed25519", _new_key)
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text))


def public_key() -> Ed25519PublicKey:
    """The key that proves them; publish it as `LIBRARIAN_HOME/roots/public_key`."""
    return signing_key().public_key()


def root_paths() -> list[Path]:
    """Every root, oldest first."""
    return sorted(roots_directory().glob("*.jsonl"))


def root_digest(path: Path) -> str:
    """SHA-256 of a whole root file, by which the next one refers to it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_root(*, restore_accepted_by: str = "") -> dict[str, Any]:
    """Write the root of now: every head changed since the last one. A day without change writes an empty root.

    The file is durable before the heads are marked as covered; a crash in between repeats them in the next root.
    """
    directory = roots_directory()
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    _publish_key(directory)
    path = _next_path(directory)
    aside = directory / f".{path.name}.{os.getpid()}"
    with aside.open("wb") as stream:
        signed = _Signed(stream)
        signed.write(_header(restore_accepted_by))
        for head in _changed_heads():
            signed.write([head.file.name, head.count, head.digest])
        signed.close(signing_key())
        stream.flush()
        os.fsync(stream.fileno())
    os.link(aside, path)  # never over an existing root
    aside.unlink()
    _sync_directory(directory)
    _mark_covered(_heads(path, signed.lines))
    return {"root": path.name, "histories": signed.lines - 1}


def _changed_heads() -> Iterator[EventHead]:
    changed = EventHead.objects.exclude(count=F("rooted_count")).select_related("file").order_by("pk")
    return changed.iterator(chunk_size=BATCH)


def _mark_covered(said: Iterator["RootedHead"]) -> None:
    """Note what a root covers, read back from it: a head may have grown since it was written."""
    while batch := {head.file_name: head.count for head in islice(said, BATCH)}:
        heads = list(EventHead.objects.filter(file__name__in=batch).select_related("file"))
        for head in heads:
            head.rooted_count = batch[head.file.name]
        EventHead.objects.bulk_update(heads, ["rooted_count"], batch_size=500)


def _header(restore_accepted_by: str) -> dict[str, Any]:
    paths = root_paths()
    header = {
        "format": FORMAT,
        "site": settings.LIBRARIAN_NAME,
        "taken_at": timezone.now().isoformat(timespec="seconds"),
        "previous": root_digest(paths[-1]) if paths else FIRST_DIGEST,
    }
    if restore_accepted_by:
        header["restore_accepted_by"] = restore_accepted_by
    return header


def _next_path(directory: Path) -> Path:
    """`<date>.jsonl`; a second root of a day (after a restore, or by hand) is `<date>_2.jsonl`, and so on."""
    date = timezone.now().date().isoformat()
    latest = root_paths()[-1].stem if root_paths() else ""
    if latest > f"{date}~":
        raise Refused(
            f"The newest root is of {latest}; this machine's clock says {date}.",
            remedy="Set the clock right: roots are ordered by date.",
        )
    path, number = directory / f"{date}.jsonl", 2
    while path.exists():
        path, number = directory / f"{date}_{number:03d}.jsonl", number + 1
    return path


def _publish_key(directory: Path) -> None:
    path = directory / "public_key"
    raw = public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    path.write_text(base64.b64encode(raw).decode() + "\n")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Signed:
    """Writes lines and the signature over them. What is signed is their SHA-512, so that a large root streams."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha512()
        self.lines = 0

    def write(self, value: Any) -> None:
        line = canonical_json(value).encode() + b"\n"
        self._hash.update(line)
        self._stream.write(line)
        self.lines += 1

    def close(self, key: Ed25519PrivateKey) -> None:
        signature = base64.b64encode(key.sign(self._hash.digest())).decode()
        self._stream.write(canonical_json({"lines": self.lines, "signature": signature}).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class RootedHead:
    """What a root says of one history."""

    file_name: str
    count: int
    digest: str


@dataclass(slots=True)
class Root:
    """One root as read and checked; `problems` are sentences, empty when it can be trusted."""

    path: Path
    header: dict[str, Any]
    problems: list[str]


def read_root(path: Path, *, previous: str | None) -> tuple[Root, Iterator[RootedHead]]:
    """Check signature and chaining of a root, then iterate its heads. `previous`: digest expected in its header."""
    problems = []
    header, body = _read_signed(path, problems)
    if previous is not None and header.get("previous") != previous:
        problems.append(f"{path.name} does not follow the root before it: a root was removed, added or changed.")
    if header.get("site") not in (None, settings.LIBRARIAN_NAME):
        problems.append(f"{path.name} is a root of the site {header.get('site')}.")
    return Root(path, header, problems), body


def _read_signed(path: Path, problems: list[str]) -> tuple[dict[str, Any], Iterator[RootedHead]]:
    digest = hashlib.sha512()
    lines = 0
    header: dict[str, Any] = {}
    last = b""
    with path.open("rb") as stream:
        for line in stream:
            if last:
                digest.update(last)
                lines += 1
            if lines == 0 and not last:
                header = _parse(line, dict)
            last = line
    end = _parse(last, dict)
    try:
        public_key().verify(base64.b64decode(end.get("signature", "")), digest.digest())
        if end.get("lines") != lines:
            raise InvalidSignature
    except (InvalidSignature, ValueError, TypeError):
        problems.append(f"{path.name} is not what was signed: it was changed or cut off.")
    return header, _heads(path, lines)


def _heads(path: Path, lines: int) -> Iterator[RootedHead]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream):
            if 0 < number < lines:
                value = _parse(line, list)
                if len(value) == 3:
                    yield RootedHead(str(value[0]), int(value[1]), str(value[2]))


def _parse(line: bytes, kind: type) -> Any:
    try:
        value = json.loads(line)
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()
