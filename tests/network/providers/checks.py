"""Looking at what a provider brought."""

from collections.abc import Mapping
from pathlib import Path

ODD_NAMES: Mapping[str, bytes | None] = {
    "visdata": b"v" * 70_000,
    "header": b"",
    "with space": b"1",
    "quo\"te's": b"2",
    "back\\slash": b"3",
    "\\#012": b"4",
    "-rf": b"5",
    "$(touch x)": b"6",
    "*": b"7",
    "höhe/ünïcode/日本語": b"8",
    "a:b": b"9",
    "deep/er/down/file": b"10",
    "empty/here": None,
    "trailing ": b"11",
}


def tree_at(path: Path) -> dict[str, bytes | None]:
    """What lies below a directory: bytes by path, None for an empty directory."""
    found: dict[str, bytes | None] = {}
    for entry in path.rglob("*"):
        assert not entry.is_symlink(), entry
        if entry.is_file():
            found[str(entry.relative_to(path))] = entry.read_bytes()
        elif not any(entry.iterdir()):
            found[str(entry.relative_to(path))] = None
    return found


def everything_below(path: Path) -> set[str]:
    """The paths of all that lies below a directory."""
    return {str(entry.relative_to(path)) for entry in path.rglob("*")}
