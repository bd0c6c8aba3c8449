"""Results as an astropy Table. The only module of the client that needs astropy, so it is imported when asked for."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hera_librarian.exceptions import LibrarianError

if TYPE_CHECKING:
    from astropy.table import Table

    from hera_librarian.finding.results import FileResult

_TEXTS = ("name", "kind", "checksum", "digest", "uploader", "source", "copies")
_COUNTS = ("local_count", "remote_count")
_TIMES = ("registered_at", "first_registered_at")
_ORDER = (
    "name", "kind", "size_bytes", "obsid", "registered_at", "uploader", "source", "copies", "local_count",
    "remote_count", "checksum", "digest", "first_registered_at",
)  # fmt: skip


def table_of(files: "Iterable[FileResult]", meta: dict[str, Any] | None = None) -> "Table":
    """Table of files: `size_bytes` in bytes, Time columns in UTC, `obsid` (GPS seconds) masked where not known."""
    try:
        from astropy.table import Column, MaskedColumn, Table
        from astropy.units import byte
    except ImportError as problem:
        raise LibrarianError(
            "Tables need the package astropy, which is not installed here.",
            remedy="pip install astropy, or use .dicts().",
            code="missing_package",
        ) from problem
    values: dict[str, list[Any]] = {name: [] for name in _ORDER}
    for file in files:
        for name, column in values.items():
            column.append(getattr(file, name))
    obsids = values["obsid"]
    columns: dict[str, Any] = {name: Column(values[name], dtype=str) for name in _TEXTS}
    columns |= {name: Column(values[name], dtype="int64") for name in _COUNTS}
    columns |= {name: _times(values[name]) for name in _TIMES}
    columns["size_bytes"] = Column(values["size_bytes"], dtype="int64", unit=byte)
    columns["obsid"] = MaskedColumn(
        [obsid or 0 for obsid in obsids],
        mask=[obsid is None for obsid in obsids],
        dtype="int64",
        description="Start of the observation in whole GPS seconds",
    )
    return Table([columns[name] for name in _ORDER], names=_ORDER, meta=meta or {})


def _times(moments: list[Any]) -> Any:
    from astropy.time import Time

    if not moments:  # of an empty list astropy cannot tell what it holds
        return Time([], format="jd", scale="utc")
    times = Time(moments, format="datetime", scale="utc", precision=6)
    times.format = "isot"
    return times
