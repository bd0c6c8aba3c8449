"""Proving histories: every chain recomputed from its stored text, up to what the signed roots say.

The roots are believed, the database is not. A line that was changed, removed, reordered or cut off shows as a
difference between them. A database older than its roots (a restore) looks like many cut-off histories at once; a named
person accepts it once, which starts a new root.
"""

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from files.models import EventHead, File, FileEvent
from files.services.events import FIRST_DIGEST, chain_digest
from files.services.roots import RootedHead, read_root, root_digest, root_paths, write_root
from librarian.common.errors import Refused

BATCH = 1000
MAX_FINDINGS = 1000


@dataclass(slots=True)
class Verdict:
    """What a verification found. `younger` lines are consistent but not yet covered by a root."""

    histories: int = 0
    lines: int = 0
    rooted_lines: int = 0
    younger: int = 0
    roots: int = 0
    behind_roots: int = 0
    findings: list[str] = field(default_factory=list)
    looks_restored: bool = False

    @property
    def is_good(self) -> bool:
        return not self.findings

    def found(self, sentence: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(sentence)

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def verify_events() -> Verdict:
    """Check every root and every history. Memory stays bounded: what roots say is kept in a temporary file."""
    verdict = Verdict()
    with tempfile.NamedTemporaryFile(prefix="librarian-roots-") as scratch, closing(_Rooted(scratch.name)) as rooted:
        for heads in _checked_roots(verdict):
            rooted.add(heads)
        for batch in _histories():
            _check_batch(batch, rooted, verdict)
        missing = rooted.unseen()
        for name, count in missing:
            verdict.behind_roots += 1
            verdict.found(f"{name}: its history of {count} lines is gone from the database, a root knows it.")
        verdict.looks_restored = _looks_restored(verdict)
    return verdict


def accept_restore(*, accepted_by: str, verdict: Verdict) -> dict[str, Any]:
    """Let a restored database start a new root, under the name of who says that it was restored.

    Raises Refused when what was found is not what a restore leaves behind: those findings are no cut-off tails.
    """
    if not verdict.looks_restored:
        raise Refused(
            "These histories do not look like those of a restored database.",
            remedy="Look at each finding: a changed or reordered line never comes from a restore.",
        )
    EventHead.objects.update(rooted_count=0)
    return write_root(restore_accepted_by=accepted_by)


def _looks_restored(verdict: Verdict) -> bool:
    """True if every finding is a history that ends earlier than its root: an older database, not a changed one."""
    return bool(verdict.behind_roots) and verdict.behind_roots == len(verdict.findings)


def _checked_roots(verdict: Verdict) -> Iterator[Iterator[RootedHead]]:
    """Heads of each trusted root, oldest first. After an accepted restore only that root and later ones count."""
    paths = root_paths()
    previous: str | None = FIRST_DIGEST
    for path in paths:
        root, heads = read_root(path, previous=previous)
        verdict.roots += 1
        for problem in root.problems:
            verdict.found(problem)
        if not root.problems:
            if root.header.get("restore_accepted_by"):
                yield iter([RootedHead("", 0, "")])  # forget what earlier roots said
            yield heads
        previous = root_digest(path)


class _Rooted:
    """The newest rooted count and digest of each history, in a temporary SQLite file of our own."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute(
            "CREATE TABLE head (name TEXT PRIMARY KEY, count INTEGER, digest TEXT, seen INTEGER DEFAULT 0)"
        )

    def add(self, heads: Iterable[RootedHead]) -> None:
        for head in heads:
            if not head.file_name:
                self._db.execute("DELETE FROM head")
                continue
            self._db.execute(
                "INSERT INTO head (name, count, digest) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET count = excluded.count, digest = excluded.digest",
                (head.file_name, head.count, head.digest),
            )

    def get(self, names: list[str]) -> dict[str, tuple[int, str]]:
        marks = ",".join("?" * len(names))
        self._db.execute(f"UPDATE head SET seen = 1 WHERE name IN ({marks})", names)  # noqa: S608  only marks
        rows = self._db.execute(f"SELECT name, count, digest FROM head WHERE name IN ({marks})", names)  # noqa: S608
        return {name: (count, digest) for name, count, digest in rows}

    def unseen(self) -> list[tuple[str, int]]:
        return list(self._db.execute("SELECT name, count FROM head WHERE seen = 0 LIMIT ?", (MAX_FINDINGS,)))

    def close(self) -> None:
        self._db.close()


@dataclass(slots=True)
class _History:
    """Lines and head of one file as the database has them."""

    file_id: int
    name: str
    head: tuple[int, str] | None
    lines: list[FileEvent]


def _histories() -> Iterator[list[_History]]:
    """Every file with its lines, in batches by id."""
    last = 0
    while True:
        files = list(File.objects.filter(pk__gt=last).order_by("pk").values_list("pk", "name")[:BATCH])
        if not files:
            return
        ids = [pk for pk, _ in files]
        heads = {head.pk: (head.count, head.digest) for head in EventHead.objects.filter(pk__in=ids)}
        events = FileEvent.objects.filter(file__in=ids).order_by("file_id", "number")
        lines = {pk: list(group) for pk, group in groupby(events, key=lambda event: event.file_id)}
        yield [_History(pk, name, heads.get(pk), lines.get(pk, [])) for pk, name in files]
        last = ids[-1]


def _check_batch(batch: list[_History], rooted: _Rooted, verdict: Verdict) -> None:
    said = rooted.get([history.name for history in batch])
    for history in batch:
        verdict.histories += 1
        verdict.lines += len(history.lines)
        count, digest = said.get(history.name, (0, FIRST_DIGEST))
        verdict.rooted_lines += count
        verdict.younger += max(0, len(history.lines) - count)
        problem = _first_problem(history)
        if problem:
            verdict.found(f"{history.name}: {problem}")
        elif len(history.lines) < count:
            verdict.behind_roots += 1
            verdict.found(f"{history.name}: it has {len(history.lines)} lines, a root covers {count}: it was cut off.")
        elif count and history.lines[count - 1].digest != digest:
            verdict.found(f"{history.name}: its first {count} lines are not those that a root covers.")


def _first_problem(history: _History) -> str:
    """What is wrong inside a history, read from its stored text alone; empty when it is consistent."""
    digest = FIRST_DIGEST
    for number, line in enumerate(history.lines, start=1):
        if line.number != number:
            return f"line {number} is missing."
        digest = chain_digest(digest, line.text)
        if digest != line.digest:
            return f"line {number} is not the one that was written."
        if not _says_the_same(line, history.name):
            return f"the columns of line {number} do not repeat its text."
    if history.head is None:
        return "it has no head."
    if history.head != (len(history.lines), digest):
        return f"its head covers {history.head[0]} lines, it has {len(history.lines)}."
    return ""


def _says_the_same(line: FileEvent, name: str) -> bool:
    try:
        said = json.loads(line.text)
    except ValueError:
        return False
    at = line.at.isoformat(timespec="microseconds")
    return (said.get("file"), said.get("number"), said.get("type"), said.get("at"), said.get("actor")) == (
        name,
        line.number,
        line.type,
        at,
        line.actor,
    )
