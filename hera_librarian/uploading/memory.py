"""What lets another process go on with an upload: where on the server it is. One small private file for each."""

import fcntl
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol

KEPT_AFTER_EXPIRY_SECONDS = 86400.0
UNDATED_SECONDS = 30 * 86400.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UploadKey:
    """Which upload is meant: the same product, unchanged, to the same place with the same wishes."""

    server: str
    account: str
    path: str
    identity: str
    wishes: str

    def digest(self) -> str:
        return hashlib.sha256("\0".join(self.parts()).encode("utf-8", "surrogateescape")).hexdigest()

    def parts(self) -> list[str]:
        return [self.server, self.account, self.path, self.identity, self.wishes]


class Held(Protocol):
    """What is known of one upload, for as long as this process works on it."""

    location: str

    def remember(self, location: str, expires_at: str) -> None: ...
    def forget(self) -> None: ...


class Forgetful:
    """Knows nothing and keeps nothing: when another process works on the same upload, or the disk refuses."""

    location = ""

    def remember(self, location: str, expires_at: str) -> None:
        self.location = location

    def forget(self) -> None:
        self.location = ""


def default_folder() -> Path:
    """`~/.cache/librarian/uploads`, or below `XDG_CACHE_HOME`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "librarian" / "uploads"


class Memory:
    """Remembers uploads under way in a folder of JSON files that only their owner can read.

    It only ever saves work: what it does not know is sent again, and what it cannot write is not remembered.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()

    @contextmanager
    def holding(self, key: UploadKey) -> Iterator[Held]:
        """The memory of one upload, for one process at a time; a second one gets one that knows nothing."""
        path = self.folder / f"{key.digest()}.json"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            logger.warning("Uploads are not remembered: %s", problem)
            yield Forgetful()
            return
        mine = _lock(lock)
        try:
            yield _Entry(path, key) if mine else Forgetful()
        finally:
            if mine and not path.exists():
                path.with_suffix(".lock").unlink(missing_ok=True)
            os.close(lock)

    def drop_expired(self) -> int:
        """Remove what the server has forgotten by now. A clock that is wrong costs a second sending, nothing else."""
        dropped = 0
        for path in self.folder.glob("*.json"):
            with suppress(OSError):
                if _is_expired(_read(path), path.stat().st_mtime):
                    path.unlink()
                    dropped += 1
        for path in self.folder.glob("*.lock"):  # of a process that was killed
            with suppress(OSError):
                if not path.with_suffix(".json").exists() and _is_expired({}, path.stat().st_mtime):
                    path.unlink()
        return dropped


class _Entry:
    """One file of the memory."""

    def __init__(self, path: Path, key: UploadKey) -> None:
        self._path = path
        self._key = key
        found = _read(path)
        self.location = str(found.get("location", "")) if found.get("key") == key.parts() else ""

    def remember(self, location: str, expires_at: str) -> None:
        self.location = location
        found = {"location": location, "expires_at": expires_at, "key": self._key.parts()}
        try:
            _write(self._path, json.dumps(found, indent=1))
        except OSError as problem:
            logger.warning("The upload of %s is not remembered: %s", ascii(self._key.path), problem)

    def forget(self) -> None:
        self.location = ""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: as good as it gets
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole. `mkstemp` makes it readable by its owner alone."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _is_expired(found: dict[str, Any], written_at: float) -> bool:
    try:
        expires_at = parsedate_to_datetime(str(found.get("expires_at"))).timestamp()
    except ValueError:
        expires_at = written_at + UNDATED_SECONDS
    return time.time() > expires_at + KEPT_AFTER_EXPIRY_SECONDS
