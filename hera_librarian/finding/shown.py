"""How a result looks in a notebook. Everything that comes from the catalogue is escaped; credentials are not in it."""

from html import escape
from typing import TYPE_CHECKING

from hera_librarian.times import utc_text

if TYPE_CHECKING:
    from hera_librarian.finding.results import FileResult

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def size_text(size_bytes: int) -> str:
    """A size for people: one decimal, steps of 1024."""
    size = float(size_bytes)
    for unit in _UNITS[:-1]:
        if abs(size) < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"


def as_html(file: "FileResult") -> str:
    """A small table about one file."""
    facts = {
        "kind": file.kind,
        "size": f"{size_text(file.size_bytes)} ({file.size_bytes} bytes)",
        "obsid": "not known" if file.obsid is None else str(file.obsid),
        "registered": utc_text(file.registered_at),
        "uploader": file.uploader,
        "source": file.source,
        "copies": f"{file.local_count} here, {file.remote_count} at other sites",
        "digest": file.digest,
    }
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f"<table><caption>{escape(file.name)}</caption><tbody>{lines}</tbody></table>"
