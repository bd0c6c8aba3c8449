"""What a watcher knows of each product, in SQLite on the instrument's own disk: it survives whatever the machine does.

It holds one row for each product and never more, however long a server is away. Losing it loses no data: products are
then offered again, and the archive answers "already here".
"""

import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from hera_librarian.uploading.results import UploadResult
from hera_librarian.watching.spool import make_spool

FILE = "journal.sqlite3"
BATCH = 500
logger = logging.getLogger(__name__)


class State(StrEnum):
    """seen -> settled (stopped growing) -> sending -> delivered | failed (tried again) | conflict (final).

    A product that changes is `seen` again, whatever it was. `vanished`: it was removed before it was delivered.
    """

    SEEN = "seen"
    SETTLED = "settled"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CONFLICT = "conflict"
    VANISHED = "vanished"


DUE = (State.SETTLED, State.SENDING, State.FAILED)
OVER = (State.DELIVERED, State.CONFLICT, State.VANISHED)

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS product (
    path BLOB PRIMARY KEY,            -- relative to the watched directory, as the bytes that the disk has
    identity TEXT NOT NULL,           -- sizes, times of change and inodes when it was last looked at
    size_bytes INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ({", ".join(f"'{state}'" for state in State)})),
    attempts INTEGER NOT NULL DEFAULT 0,
    changed_at TEXT NOT NULL,         -- by this machine's clock, for people; nothing is decided by it
    name TEXT NOT NULL DEFAULT '',    -- as filed
    outcome TEXT NOT NULL DEFAULT '',
    checksum TEXT NOT NULL DEFAULT '',
    receipt TEXT NOT NULL DEFAULT '', -- what the server answered, JSON
    code TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    remedy TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS product_by_state ON product (state);
CREATE TABLE IF NOT EXISTS location (key TEXT PRIMARY KEY, path TEXT NOT NULL, location TEXT NOT NULL,
    expires_at TEXT NOT NULL, noted_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One product of the journal."""

    path: str
    identity: str
    size_bytes: int
    state: State
    attempts: int = 0


class Journal:
    """The journal in a spool. Each call is one transaction, on disk when it returns."""

    def __init__(self, spool: str | os.PathLike[str]) -> None:
        self.spool = make_spool(spool)
        self.path = self.spool / FILE
        self._db = self._open()

    def close(self) -> None:
        """Close the file; the journal cannot be used after that."""
        self._db.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- Products -----------------------------------------------------------------------------------------------------

    def look_up(self, paths: Sequence[str]) -> dict[str, Entry]:
        """Those of the paths that are known."""
        found: dict[str, Entry] = {}
        for batch in _batches(paths):
            marks = ",".join("?" * len(batch))
            rows = self._db.execute(f"{_SELECT} WHERE path IN ({marks})", [os.fsencode(path) for path in batch])
            found |= {entry.path: entry for entry in map(_entry, rows)}
        return found

    def in_state(self, *states: State) -> Iterator[Entry]:
        """Products in these states, the longest known first."""
        marks = ",".join("?" * len(states))
        rows = self._db.execute(f"{_SELECT} WHERE state IN ({marks}) ORDER BY rowid", states).fetchall()
        yield from map(_entry, rows)

    def note_seen(self, products: Iterable[tuple[str, str, int]]) -> None:
        """Path, identity and size of products that are new, or are no longer what they were."""
        with self._db:
            self._db.executemany(
                "INSERT INTO product (path, identity, size_bytes, state, changed_at) VALUES (?, ?, ?, 'seen', ?) "
                "ON CONFLICT (path) DO UPDATE SET identity = excluded.identity, size_bytes = excluded.size_bytes, "
                "state = 'seen', changed_at = excluded.changed_at, attempts = 0, code = '', reason = '', remedy = ''",
                [(os.fsencode(path), identity, size, now_text()) for path, identity, size in products],
            )

    def move(self, paths: Iterable[str], state: State) -> None:
        """Note that products are in another state now."""
        with self._db:
            self._db.executemany(
                "UPDATE product SET state = ?, changed_at = ? WHERE path = ?",
                [(state, now_text(), os.fsencode(path)) for path in paths],
            )

    def note_results(self, results: Iterable[tuple[str, State, UploadResult]]) -> None:
        """How products fared: path, the state they are in now, and the answer for each."""
        with self._db:
            self._db.executemany(
                "UPDATE product SET state = ?, changed_at = ?, attempts = attempts + 1, name = ?, outcome = ?, "
                "checksum = ?, receipt = ?, code = ?, reason = ?, remedy = ? WHERE path = ?",
                [(state, now_text(), *_columns(told), os.fsencode(path)) for path, state, told in results],
            )

    def forget(self, paths: Iterable[str]) -> None:
        """Drop products that never settled and are gone: names under which something was being written."""
        with self._db:
            self._db.executemany("DELETE FROM product WHERE path = ?", [(os.fsencode(path),) for path in paths])

    def prune(self, directory: str, *, keep_days: float) -> int:
        """Drop what has been over for so long and is no longer on the disk; what still lies there stays known."""
        before = (datetime.now(UTC) - timedelta(days=keep_days)).isoformat(timespec="seconds")
        marks = ",".join("?" * len(OVER))
        rows = self._db.execute(
            f"SELECT path FROM product WHERE state IN ({marks}) AND changed_at < ?",  # noqa: S608 - marks only
            [*OVER, before],
        ).fetchall()
        if not os.path.isdir(directory):
            return 0  # not mounted: that says nothing of what is in it
        gone = [path for (path,) in map(_decoded, rows) if not os.path.lexists(os.path.join(directory, path))]
        self.forget(gone)
        return len(gone)

    # --- Where uploads stand ------------------------------------------------------------------------------------------

    def location(self, key: str) -> str:
        """Where on the server an upload stands that an earlier process began; empty if none is known."""
        row = self._db.execute("SELECT location FROM location WHERE key = ?", [key]).fetchone()
        return row[0] if row else ""

    def note_location(self, key: str, path: str, location: str, expires_at: str) -> None:
        """Remember where an upload stands."""
        with self._db:
            self._db.execute(
                "INSERT OR REPLACE INTO location VALUES (?, ?, ?, ?, ?)",
                [key, _text(path), location, expires_at, now_text()],
            )

    def forget_location(self, key: str) -> None:
        """An upload is over."""
        with self._db:
            self._db.execute("DELETE FROM location WHERE key = ?", [key])

    def forget_locations_before(self, days: float) -> int:
        """Drop places of uploads that the server no longer keeps by now."""
        before = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
        with self._db:
            return self._db.execute("DELETE FROM location WHERE noted_at < ?", [before]).rowcount

    # --- What people ask ----------------------------------------------------------------------------------------------

    def note(self, **values: Any) -> None:
        """Say how the watcher itself is; None takes a note back."""
        with self._db:
            for name, value in values.items():
                if value is None:
                    self._db.execute("DELETE FROM note WHERE name = ?", [name])
                else:
                    self._db.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", [name, json.dumps(value)])

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(self.path)
        except sqlite3.DatabaseError as problem:
            if isinstance(problem, sqlite3.OperationalError):
                raise  # the disk, not the file
            aside = self.path.with_name(f"{FILE}.broken-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
            logger.warning("The journal %s is broken (%s): kept as %s, a new one begins.", self.path, problem, aside)
            for suffix in ("", "-wal", "-shm"):
                if (old := Path(f"{self.path}{suffix}")).exists():
                    old.rename(f"{aside}{suffix}")
            return _connect(self.path)


_SELECT = "SELECT path, identity, size_bytes, state, attempts FROM product"


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=30)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("its pages do not fit together")
        db.executescript(SCHEMA)
        return db
    except BaseException:
        db.close()
        raise


def _entry(row: tuple[bytes, str, int, str, int]) -> Entry:
    return Entry(os.fsdecode(row[0]), row[1], row[2], State(row[3]), row[4])


def _columns(told: UploadResult) -> tuple[str, ...]:
    """Name, outcome, checksum, receipt, code, reason and remedy of an answer."""
    receipt = json.dumps(told.receipt, default=str)
    return (told.name, told.outcome, told.checksum, receipt, told.code, _text(told.reason), _text(told.remedy))


def _decoded(row: tuple[bytes]) -> tuple[str]:
    return (os.fsdecode(row[0]),)


def _batches(paths: Sequence[str]) -> Iterator[list[str]]:
    going = iter(paths)
    while batch := list(islice(going, BATCH)):
        yield batch


def _text(text: str) -> str:
    """Text that SQLite can store: bytes of the disk that are no UTF-8 written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def now_text() -> str:
    """The date and time of this machine, for people."""
    return datetime.now(UTC).isoformat(timespec="seconds")
