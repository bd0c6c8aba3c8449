"""What a disk holds by its manifest, page by page: the list may be long, and lies in a file."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.http import HttpRequest

from librarian.common.errors import ArchiveError
from network.models import Shipment
from network.services.shipping import contents_of, manifest_path

if TYPE_CHECKING:
    from network.services.shipping import ManifestEntry

SHOWN = 25
_TAIL_BYTES = 2**18  # several entries, whose longest has a few kB


@dataclass(slots=True)
class Contents:
    """One page of a manifest, its ends, and the query strings of the neighbours (None where there is none)."""

    rows: "list[ManifestEntry]" = field(default_factory=list)
    start: int = 0
    total: int = 0
    first_name: str = ""
    last_name: str = ""
    problem: ArchiveError | None = None

    @property
    def number(self) -> int:
        """Of the first line that is shown, counted from 1."""
        return self.start + 1

    @property
    def last_number(self) -> int:
        return self.start + len(self.rows)

    @property
    def next(self) -> str | None:
        return f"?start={self.start + SHOWN}" if self.last_number < self.total else None

    @property
    def previous(self) -> str | None:
        return f"?start={max(0, self.start - SHOWN)}" if self.start else None

    @property
    def is_only_one(self) -> bool:
        return self.next is None and self.previous is None


def contents_page(request: HttpRequest, shipment: Shipment) -> Contents:
    """The page of a manifest that the address names; a manifest that cannot be read says why."""
    text = request.GET.get("start", "0")
    start = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    total = shipment.file_count
    try:
        rows = contents_of(shipment, start, SHOWN)
        first = rows[:1] if start == 0 else contents_of(shipment, 0, 1)
    except ArchiveError as problem:
        return Contents(total=total, problem=problem)
    at_end = bool(rows) and start + len(rows) >= total
    last_name = rows[-1].name if at_end else _last_name(shipment)
    return Contents(rows, start, total, first[0].name if first else "", last_name)


def _last_name(shipment: Shipment) -> str:
    """Name in the last entry, found from the end: the file may have a million lines. Empty if it is not found."""
    with manifest_path(shipment).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        entries = [line for line in file.read().splitlines() if line.startswith(b'{"name":')]
    return str(json.loads(entries[-1].rstrip(b","))["name"]) if entries else ""
