"""Where the copies of a file are: on a disk which this machine shares with the site, on which stores else."""

import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hera_librarian.finding.results import InstanceResult

_NEVER = datetime.min.replace(tzinfo=UTC)
_BEST_FIRST = {"good": 0, "never_checked": 1, "unknown": 1}


def path_here(instances: "Iterable[InstanceResult]", *, is_directory: bool, size_bytes: int) -> Path | None:
    """Path of the first present copy that is here with the right kind and size, those seen good first."""
    present = [each for each in instances if each.presence == "present" and os.path.isabs(each.location)]
    for instance in sorted(present, key=lambda each: _BEST_FIRST.get(each.condition, 2)):
        try:
            if _size_bytes(instance.location, is_directory) == size_bytes:
                return Path(instance.location)
        except OSError:
            continue  # another machine's disk, or one that we may not read
    return None


def host_and_path(location: str, *hosts: str | None) -> tuple[str, str]:
    """Where to fetch the copy at an address from, as scp takes it; no host for a copy that is in a bucket.

    `hosts` are names of machines that see the store, the best first; an address that names a machine itself is that of
    a store over there, whose only other name can be the first.
    """
    if "://" in location:
        return "", location
    host, colon, path = ("", "", location) if os.path.isabs(location) else location.partition(":")
    if colon:
        hosts = (hosts[0] if hosts else None, host)
    return next(filter(None, hosts), ""), path


def stores_to_try(instances: "Iterable[InstanceResult]") -> list[str]:
    """Stores to ask for a copy by name when the bytes of the one that the server chose are wrong.

    Empty when there is but one. The server reads copies that were seen good first, of those the nearest, the latest
    look first: so the last of them is the least likely to have been read.
    """
    present = [each for each in instances if each.presence == "present"]
    present.sort(key=lambda each: each.condition_at or _NEVER)
    present.sort(key=lambda each: each.condition == "good")
    return [each.store for each in present] if len(present) > 1 else []


def _size_bytes(path: str, is_directory: bool) -> int | None:
    """Size of what lies at a path, of a directory the sum of its files; None if it is of the other kind."""
    found = os.stat(path)
    if not is_directory:
        return found.st_size if stat.S_ISREG(found.st_mode) and os.access(path, os.R_OK) else None
    if not stat.S_ISDIR(found.st_mode):
        return None
    return sum(os.stat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)
