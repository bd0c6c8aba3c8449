"""Which file of a failed Globus task was the reason, by the events that it left.

An event names a path in its details, and what went wrong in its code (docs.globus.org, "Task Events"). Where neither
fits a file of the batch nobody is blamed, and the whole of it is tried again.
"""

import errno
import re
from collections.abc import Iterable, Mapping
from typing import Any

from librarian.common.texts import storable
from network.providers import trouble
from network.providers.base import Outcome, Parcel, failed

PATH = re.compile(r"^(?:File|Path): (.+)$", re.MULTILINE)
SAID_CHARACTERS = 300
ABSENT = ("FILE_NOT_FOUND", "NOT_FOUND")
FORBIDDEN = ("PERMISSION_DENIED",)
FULL = ("QUOTA_EXCEEDED", "NO_SPACE", "DISK_FULL")


def blame(sources: Mapping[str, Parcel], events: Iterable[Mapping[str, Any]]) -> dict[int, Outcome]:
    """The outcomes of files that an event names, by transfer; `sources` are the parcels by their path at the source."""
    guilty: dict[int, Outcome] = {}
    for event in events:
        found = PATH.search(str(event.get("details") or ""))
        if found is None:
            continue
        for path, parcel in sources.items():
            outcome = None
            if _is_at(found[1], path):
                outcome = _at_source(parcel, path, event)
            elif _is_at(found[1], parcel.destination_path):
                outcome = _at_destination(parcel, event)
            if outcome is not None:
                guilty.setdefault(parcel.transfer_id, outcome)
    return guilty


def _is_at(named: str, path: str) -> bool:
    """True if an event names this path, or one below it (a member of a directory product)."""
    named = named.strip().rstrip("/")
    return named == path or named.startswith(f"{path}/")


def _at_source(parcel: Parcel, path: str, event: Mapping[str, Any]) -> Outcome | None:
    code = str(event.get("code"))
    if code in ABSENT:
        return failed(
            parcel,
            code="copy_missing",
            reason=f"Globus finds nothing at {path} of our collection, where the copy of {parcel.file_name} should be.",
            remedy="Check that its store is mounted where the collection is served, and LIBRARIAN_GLOBUS_ROOT.",
        )
    if code in FORBIDDEN:
        return failed(
            parcel,
            code="copy_unreadable",
            reason=f"Globus may not read {path} of our collection. {_words(event)}",
            remedy="Let the account that the collection maps our identity to read the store.",
        )
    return None


def _at_destination(parcel: Parcel, event: Mapping[str, Any]) -> Outcome | None:
    code = str(event.get("code"))
    if code in ABSENT:
        return trouble.destination_gone(parcel)
    if code in FORBIDDEN:
        return trouble.destination_forbidden(parcel, _words(event))
    return trouble.destination_full(parcel) if code in FULL else None


def _words(event: Mapping[str, Any]) -> str:
    said = " ".join(str(event.get("details") or event.get("description") or "").split())
    return storable(said, SAID_CHARACTERS) or str(errno.errorcode.get(errno.EACCES))
