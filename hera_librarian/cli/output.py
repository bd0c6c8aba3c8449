"""What the command writes: lines for people, tables, JSON. How a failure looks is said in failures.py."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import Any

UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")


# --- For people -------------------------------------------------------------------------------------------------------


def say(text: str = "") -> None:
    """Write a line to standard output, at once: somebody may be waiting for it at the other end of a pipe."""
    print(text, flush=True)


def complain(text: str) -> None:
    """Write a line to standard error; nowhere when that is closed, for `print` would take standard output instead."""
    if sys.stderr is not None:
        print(text, file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Write a remark to standard error, where it disturbs no script."""
    complain(f"note: {visible(text)}")


def on_terminal() -> bool:
    """Whether a person, and no file or program, reads standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def visible(value: object) -> str:
    """Text with everything that could drive a terminal, hide or forge a line shown as its escape."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def bold(text: str) -> str:
    """Emphasised on a terminal; plain in a file or a pipe, and when NO_COLOR is set."""
    return f"\x1b[1m{text}\x1b[0m" if on_terminal() and not os.environ.get("NO_COLOR") else text


def size_text(size_bytes: float) -> str:
    """A size with one decimal in steps of 1024: `18.0 B`, `70.9 GB`."""
    for unit in UNITS[:-1]:
        if abs(size_bytes) < 1024:
            return f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} {UNITS[-1]}"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write columns, aligned to the left and separated by ` | `. Only what is not known is an empty cell."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in [headings, *cells]) for column in range(len(headings))]
    say(_line(headings, widths))
    say("-" * (sum(widths) + 3 * (len(widths) - 1)))
    for row in cells:
        say(_line(row, widths))


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        value = value.isoformat(sep=" ", timespec="seconds")
    return "" if value is None else visible(value)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


# --- For programs -----------------------------------------------------------------------------------------------------


def document(value: object) -> None:
    """Write one JSON document."""
    say(json.dumps(value, default=_plain, indent=2))


def record(value: object) -> None:
    """Write one line of a JSON stream."""
    say(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no form in JSON")
