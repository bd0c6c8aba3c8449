"""How a watcher is doing, read from its journal by anybody who may, whether it runs or not."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from hera_librarian.exceptions import LibrarianError
from hera_librarian.watching.journal import FILE, State
from hera_librarian.watching.spool import is_held

SHOWN = 50  # of the products that need somebody


def read_status(spool: str | os.PathLike[str]) -> dict[str, Any]:
    """The state of a watcher as plain data. Raises LibrarianError when there is no journal in the spool.

    `products` counts them by state and `waiting_bytes` is what is not delivered yet; `trouble` is what keeps everything
    from being delivered now, or None; `failed` and `conflicts` name the products that need somebody.
    """
    folder = Path(os.path.realpath(spool))
    try:
        with closing(sqlite3.connect(f"{(folder / FILE).as_uri()}?mode=ro", uri=True, timeout=30)) as db:
            return {"spool": str(folder), "is_running": is_held(folder), **_read(db)}
    except sqlite3.Error as problem:
        raise LibrarianError(
            f"There is no journal of a watcher in {folder} ({problem}).",
            remedy="Name the spool that the watcher was started with.",
            code="no_journal",
        ) from problem


def _read(db: sqlite3.Connection) -> dict[str, Any]:
    db.execute("BEGIN")  # one moment for all questions
    counts = dict(db.execute("SELECT state, count(*) FROM product GROUP BY state").fetchall())
    over = (State.DELIVERED, State.CONFLICT, State.VANISHED)
    waiting = db.execute("SELECT coalesce(sum(size_bytes), 0) FROM product WHERE state NOT IN (?, ?, ?)", over)
    notes = {name: json.loads(value) for name, value in db.execute("SELECT name, value FROM note")}
    trouble, away = notes.pop("trouble", None), notes.pop("directory_trouble", None)
    return {
        "products": {str(state): counts.get(state, 0) for state in State},
        "waiting_bytes": waiting.fetchone()[0],
        "trouble": trouble or away,
        "sending": notes.pop("sending", None),
        "failed": _problems(db, State.FAILED),
        "conflicts": _problems(db, State.CONFLICT),
        "vanished": _problems(db, State.VANISHED),
        **notes,
    }


def _problems(db: sqlite3.Connection, state: State) -> list[dict[str, Any]]:
    rows = db.execute(
        "SELECT path, size_bytes, changed_at, attempts, code, reason, remedy FROM product WHERE state = ? "
        "ORDER BY rowid LIMIT ?",
        [state, SHOWN],
    )
    names = ("path", "size_bytes", "at", "attempts", "code", "reason", "suggested_remedy")
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return [{**each, "path": each["path"].decode("utf-8", "backslashreplace")} for each in found]
