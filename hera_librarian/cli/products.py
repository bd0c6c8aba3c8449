"""From the paths and the destination of `upload` to pairs of product and name."""

import glob
import os
from collections import Counter
from pathlib import Path

from hera_librarian.cli.failures import nothing_found, wrong_usage

WILDCARDS = "*?["


def plan_uploads(paths: list[str], destination: str) -> list[tuple[Path, str]]:
    """What is to be sent under which name.

    One path goes to the destination itself. Several, a pattern, or a destination that ends in `/` or is `.` make the
    destination a directory, in which each product keeps its last component.
    """
    if destination.startswith("/"):
        raise wrong_usage(
            f"The destination {destination} is absolute.", "Give a name, or a path relative to the root of the store."
        )
    if not destination:
        raise wrong_usage("The destination is empty.", "Give a name, or . to keep the names as they are.")
    found = [each for path in paths for each in expand(path)]
    into_directory = len(found) > 1 or any(_is_pattern(path) for path in paths)
    if not into_directory and not destination.endswith("/") and destination != ".":
        return [(found[0], destination)]
    folder = "" if destination in (".", "./") else destination.rstrip("/") + "/"
    plan = [(path, folder + last_component(path)) for path in found]
    twice = [name for name, number in Counter(name for _, name in plan).items() if number > 1]
    if twice:
        raise wrong_usage(f"More than one of these paths would be named {twice[0]}.", "Upload them one by one.")
    return plan


def expand(path: str) -> list[Path]:
    """The path, or what a pattern that the shell has left alone matches, in order."""
    if not _is_pattern(path):
        return [Path(path)]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise nothing_found(f"Nothing matches {path}.", "Check the pattern and the directory it starts from.")
    return [Path(each) for each in found]


def last_component(path: Path) -> str:
    """Name of a product, also of `.` and `..`."""
    return path.name if path.name not in ("", "..") else path.resolve().name


def total_size_bytes(paths: list[Path]) -> int:
    """Sum of what lies there now, for a progress bar; what cannot be looked at counts nothing."""
    return sum(_size_bytes(path) for path in paths)


def _size_bytes(path: Path) -> int:
    try:
        if not path.is_dir():
            return path.stat().st_size
        inside = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        return sum(each.stat().st_size for each in inside)
    except OSError:
        return 0


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in WILDCARDS) and not os.path.lexists(path)
