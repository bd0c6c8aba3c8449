"""`SHA256SUMS`: the digests of what was downloaded into a folder, as `sha256sum --check` reads them."""

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

SUMS_NAME = "SHA256SUMS"
_LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)", re.DOTALL)
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}


class Sums:
    """Collects digests of several threads and merges them into the folder's list. A hundred bytes or two a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, path: str, sha256: str) -> None:
        """Note the digest of a file by its path below the folder."""
        with self._lock:
            self._digests[path] = sha256

    def write(self) -> None:
        """Merge what was noted into the list, sorted by path. Another process may do the same at the same time."""
        with self._lock:
            noted, self._digests = self._digests, {}
        if not noted:
            return
        with _alone(self._folder):
            place = self._folder / SUMS_NAME
            digests = {**read_sums(place), **noted}
            new = self._folder / f".{SUMS_NAME}.{os.getpid()}"
            try:
                with open(new, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
                    for path in sorted(digests, key=os.fsencode):
                        out.write(_line(path, digests[path]))
                os.replace(new, place)
            finally:
                new.unlink(missing_ok=True)


def read_sums(place: Path) -> dict[str, str]:
    """Path -> SHA-256 of a list that `sha256sum` could have written; empty if there is none."""
    try:
        text = place.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return {}
    found = (_LINE.fullmatch(line) for line in text.split("\n"))
    return {_unescaped(match[3]) if match[1] else match[3]: match[2] for match in found if match}


def _line(path: str, sha256: str) -> str:
    escaped = "".join(_ESCAPES.get(character, character) for character in path)
    mark = "" if escaped == path else "\\"
    return f"{mark}{sha256}  {escaped}\n"


def _unescaped(path: str) -> str:
    back = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
    return re.sub(r"\\[\\nr]", lambda found: back[found[0]], path)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder itself, where its file system has such locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # NFS locks no directories: two processes at once may lose lines then
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
