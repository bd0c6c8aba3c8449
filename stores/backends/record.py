"""The commit record of a store: append-only text from which its catalogue can be rebuilt.

It lies in segments `<UTC date>-<host>-<process>-<random>.jsonl`, each written by one process only, so that writers need
no lock between them; a new day or 64 MiB begin a new one. A line is canonical JSON with its own SHA-256 (`digest`) and
that of the line before it (`previous`), so that a changed, missing or torn line is seen. Kinds of lines: `segment`
(the first; names the store), `product` (place and facts), `members` (some members of the product before it).
"""

import hashlib
import json
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Any

from stores.backends import durable
from stores.backends.base import Member, RecordLine

MAX_SEGMENT_BYTES = 64 * 2**20
_MEMBERS_PER_LINE = 500
_WRITE_BYTES = 2**20
_SEGMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}-.+\.jsonl")
_FORMAT = 1


def canonical(facts: dict[str, Any]) -> bytes:
    """The one text of some facts: sorted keys, no spaces, ASCII."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sealed(facts: dict[str, Any], previous: str) -> tuple[bytes, str]:
    """A line of the record and its digest."""
    chained = {**facts, "previous": previous}
    digest = hashlib.sha256(canonical(chained)).hexdigest()
    return canonical({**chained, "digest": digest}) + b"\n", digest


def segment_header(store_name: str, marker: str) -> dict[str, Any]:
    """What the first line of a segment says of its store."""
    return {"kind": "segment", "format": _FORMAT, "store": store_name, "marker": marker}


@dataclass(slots=True)
class _Segment:
    """The segment that this process is writing."""

    name: str
    day: str
    size_bytes: int = 0
    last_digest: str = ""


class RecordWriter:
    """Appends to one store's record from one process; safe to share between threads and after a fork."""

    def __init__(self, store_name: str, marker: str) -> None:
        self._header = segment_header(store_name, marker)
        self._segment: _Segment | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()

    def append(self, directory: int, lines: Iterable[tuple[RecordLine, Iterable[Member]]]) -> None:
        """Append products with their members and make them durable; all or, after an error, none of them."""
        if self._process != os.getpid():
            # A child has its own segment, and its own lock: a thread of the parent may have held the old one.
            self._segment, self._process, self._lock = None, os.getpid(), threading.Lock()
        with self._lock:
            fd = self._open(directory)
            with durable.closing(fd):
                segment = self._segment
                start, last = segment.size_bytes, segment.last_digest
                try:
                    self._write(fd, segment, lines)
                    os.fsync(fd)
                except BaseException:
                    segment.size_bytes, segment.last_digest = start, last
                    self._take_back(fd, start)
                    raise

    def _take_back(self, fd: int, size_bytes: int) -> None:
        try:
            os.ftruncate(fd, size_bytes)
            os.fsync(fd)
        except OSError:
            self._segment = None  # its end is uncertain: nothing more goes there, and a reader reports it

    def _open(self, directory: int) -> int:
        """Open the present segment, or a new one when it is full, of another day, gone or not as we left it."""
        today = datetime.now(UTC).date().isoformat()
        segment = self._segment
        if segment is not None and segment.day == today and segment.size_bytes < MAX_SEGMENT_BYTES:
            try:
                fd = os.open(segment.name, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            except FileNotFoundError:
                return self._begin(directory, today)
            if os.fstat(fd).st_size == segment.size_bytes:
                return fd
            os.close(fd)
        return self._begin(directory, today)

    def _begin(self, directory: int, today: str) -> int:
        host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64]
        segment = _Segment(f"{today}-{host}-{os.getpid()}-{secrets.token_hex(4)}.jsonl", today)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        header = {**self._header, "begun_at": datetime.now(UTC).isoformat()}
        before = self._segment
        if before is not None:
            header["continues"] = {"segment": before.name, "digest": before.last_digest}
        self._segment = None
        fd = os.open(segment.name, flags, 0o644, dir_fd=directory)
        try:
            line, segment.last_digest = sealed(header, "")
            durable.write_all(fd, line)
            segment.size_bytes = len(line)
            os.fsync(directory)
        except BaseException:
            os.close(fd)
            os.unlink(segment.name, dir_fd=directory)
            self._segment = before
            raise
        self._segment = segment
        return fd

    def _write(self, fd: int, segment: _Segment, lines: Iterable[tuple[RecordLine, Iterable[Member]]]) -> None:
        waiting, size = [], 0
        for facts in line_facts(lines):
            line, segment.last_digest = sealed(facts, segment.last_digest)
            waiting.append(line)
            size += len(line)
            segment.size_bytes += len(line)
            if size >= _WRITE_BYTES:
                durable.write_all(fd, b"".join(waiting))
                waiting, size = [], 0
        durable.write_all(fd, b"".join(waiting))


def line_facts(lines: Iterable[tuple[RecordLine, Iterable[Member]]]) -> Iterator[dict[str, Any]]:
    """What the lines of some products say, members in lines of their own."""
    for line, members in lines:
        yield {"kind": "product", "place": line.place, "facts": line.facts}
        remaining = iter(members)
        while part := list(islice(remaining, _MEMBERS_PER_LINE)):
            rows = [[member.kind, member.path, member.size_bytes, member.sha256] for member in part]
            yield {"kind": "members", "place": line.place, "members": rows}


class RecordReader:
    """One reading of a store's record: segment by segment, the oldest first. `problems` grows while it goes on."""

    def __init__(self, marker: str) -> None:
        self.problems: list[str] = []
        self._marker = marker
        self._ends: dict[str, str] = {}  # digest of each segment's last line, for those that continue it

    def read(self, directory: int) -> Iterator[tuple[RecordLine, Iterator[Member]]]:
        """Products with their members. Members must be taken before the next product is, or are passed over."""
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in entries if _SEGMENT.fullmatch(entry.name))
        return self.read_segments(names, lambda name: os.fdopen(durable.open_for_reading(name, at=directory), "rb"))

    def read_segments(
        self, names: Iterable[str], open_segment: Callable[[str], AbstractContextManager[IO[bytes]]]
    ) -> Iterator[tuple[RecordLine, Iterator[Member]]]:
        """The same for segments that lie elsewhere, named from the oldest on."""
        continued: list[tuple[str, dict[str, str]]] = []
        for name in names:
            with open_segment(name) as file:
                yield from self._products(name, file, continued)
        for name, link in continued:
            end = self._ends.get(link["segment"])
            if end is None:
                self.problems.append(f"segment {link['segment']} is gone; {name} continues it")
            elif end != link["digest"]:
                self.problems.append(f"segment {link['segment']} has lost its end, as {name}, line 1 shows")

    def _products(
        self, name: str, file: IO[bytes], continued: list[tuple[str, dict[str, str]]]
    ) -> Iterator[tuple[RecordLine, Iterator[Member]]]:
        lines = _Lines(self._trusted(name, file, continued))
        while (found := lines.take()) is not None:
            where, facts = found
            if facts["kind"] == "members":
                self.problems.append(f"{where}: members of {facts['place']!r}, whose own line is not there")
                continue
            line = RecordLine(facts["place"], facts["facts"])
            taken = _Counted(_members(lines, line.place))
            yield line, taken
            for _ in taken:
                pass  # what the caller left
            expected = line.facts.get("member_count", 0)
            if taken.count != expected:
                self.problems.append(f"{where}: {line.place!r} has {expected} members, of which {taken.count} are told")

    def _trusted(
        self, name: str, file: IO[bytes], continued: list[tuple[str, dict[str, str]]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Lines whose digest is right, with their address; gaps and bad ones are reported."""
        previous = ""
        for number, raw in enumerate(file, start=1):
            where = f"segment {name}, line {number}"
            facts = self._checked(where, raw)
            if facts is None:
                previous = ""  # what follows it cannot be tied to it, and has been reported with it
                continue
            if number > 1 and previous and facts["previous"] != previous:
                self.problems.append(f"{where}: the line that stood before it is gone")
            if number == 1 and facts["previous"]:
                self.problems.append(f"{where}: the lines that stood before it are gone")
            previous = facts["digest"]
            if facts["kind"] != "segment":
                yield where, facts
                continue
            if facts["marker"] != self._marker:
                self.problems.append(f"{where}: written for another store, {facts['store']}")
            if "continues" in facts:
                continued.append((name, facts["continues"]))
        self._ends[name] = previous

    def _checked(self, where: str, raw: bytes) -> dict[str, Any] | None:
        if not raw.endswith(b"\n"):
            self.problems.append(f"{where}: torn, the write of it was cut short")
            return None
        try:
            facts = json.loads(raw)
            digest = facts.pop("digest")
            right = hashlib.sha256(canonical(facts)).hexdigest() == digest
            facts["digest"] = digest
            if right and _is_well_formed(facts):
                return facts
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass  # not a line of ours at all
        self.problems.append(f"{where}: changed, its digest is not that of its text")
        return None


def _is_well_formed(facts: dict[str, Any]) -> bool:
    needed = {
        "segment": {"marker", "store"},
        "product": {"place", "facts"},
        "members": {"place", "members"},
    }.get(facts["kind"], {"kind of a later version"})
    return needed <= facts.keys() and "previous" in facts


class _Lines:
    """Lines with the possibility to look at the next one first."""

    def __init__(self, lines: Iterator[tuple[str, dict[str, Any]]]) -> None:
        self._lines = lines
        self._ahead: tuple[str, dict[str, Any]] | None = None

    def peek(self) -> tuple[str, dict[str, Any]] | None:
        if self._ahead is None:
            self._ahead = next(self._lines, None)
        return self._ahead

    def take(self) -> tuple[str, dict[str, Any]] | None:
        found, self._ahead = self.peek(), None
        return found


def _members(lines: _Lines, place: str) -> Iterator[Member]:
    while (found := lines.peek()) is not None:
        facts = found[1]
        if facts["kind"] != "members" or facts["place"] != place:
            return
        lines.take()
        for kind, path, size_bytes, sha256 in facts["members"]:
            yield Member(kind, path, size_bytes, sha256)


class _Counted:
    def __init__(self, members: Iterator[Member]) -> None:
        self._members = members
        self.count = 0

    def __iter__(self) -> Iterator[Member]:
        return self

    def __next__(self) -> Member:
        member = next(self._members)
        self.count += 1
        return member
