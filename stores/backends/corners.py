"""A posix store's root, its marker and its own corners below `.librarian/`; whether all of that is really there.

The marker tells our mounted disk from an empty mount point and from another disk at the same place. Every operation
opens the root through here, so that none of them can mistake a store that is away for one without the bytes.
"""

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from librarian.common.errors import ArchiveError, Conflict, StoreFull, StoreUnavailable
from stores.backends import durable
from stores.backends.base import Availability
from stores.backends.places import CORNER

if TYPE_CHECKING:
    from stores.models import Store

MARKER = "store.json"
_MARKER_LIMIT_BYTES = 65536
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Markers that were read, by root and marker: how the marker file looked then.
_verified: dict[tuple[str, str], tuple[int, ...]] = {}


def check_configuration(configuration: dict[str, Any]) -> list[str]:
    """Sentences that say what is wrong with a posix configuration; empty when it is valid."""
    if not isinstance(configuration, dict):
        return ['The configuration must be an object such as {"root": "/data/archive"}.']
    problems = [
        f"'{key}' is not a setting of a posix store." for key in sorted(set(configuration) - {"root", "staging"})
    ]
    for key in ("root", "staging"):
        path = configuration.get(key)
        if path is None or (key == "staging" and path == ""):
            if key == "root":
                problems.append("'root' is missing: the absolute path of the directory that holds the files.")
        else:
            problems += path_problems(key, path)
    if not problems and len(os.fsencode(_staging_of(configuration))) > 200:
        problems.append("The path of the staging area is longer than 200 bytes, too long for clients of the wire.")
    if not problems and configuration.get("staging"):
        problems += _overlap(configuration["root"], configuration["staging"])
    return problems


def path_problems(key: str, path: object) -> list[str]:
    """What is wrong with the path of a directory, the setting `key` of a store."""
    if not isinstance(path, str) or not path.startswith("/"):
        return [f"'{key}' must be an absolute path."]
    if os.path.normpath(path) != path or not path.isprintable() or path == "/":
        return [f"'{key}' must be a plain path of a directory below /, without '..', '//' or a slash at its end."]
    return []


def _overlap(root: str, staging: str) -> list[str]:
    if root == staging or root.startswith(staging + "/"):
        return ["'staging' must not be the root itself, nor hold it."]
    if staging.startswith(root + "/") and not staging.startswith(f"{root}/{CORNER}/"):
        return [f"'staging' must lie outside the root, or below its {CORNER}/ directory."]
    return []


def _staging_of(configuration: dict[str, Any]) -> str:
    return configuration.get("staging") or f"{configuration['root']}/{CORNER}/staging"


class Corners:
    """Opens what belongs to one store, and says what is wrong when it cannot."""

    def __init__(self, store: "Store", *, spool: str = "") -> None:
        """With `spool` the directory is not the store, but where its deliveries wait for their place elsewhere."""
        configuration = {"root": spool} if spool else store.configuration
        self.store_name = store.name
        self.marker = str(store.marker)
        self.root: str = configuration["root"]
        self.staging: str = _staging_of(configuration)
        self._called = "spool" if spool else "root"
        self._held: tuple[int, int] | None = None  # root and staging, while a batch keeps them open

    # --- Errors ---

    @contextmanager
    def speaking(self, doing: str) -> Iterator[None]:
        """Turn an OSError of the store into what the caller is told."""
        try:
            yield
        except OSError as error:
            raise self.explain(error, doing) from error

    def explain(self, error: OSError, doing: str) -> ArchiveError:
        """What an error of the store's disk means: full, or away. Never that bytes are missing or different."""
        reason = f"Store {self.store_name}: {doing} failed: {error.strerror or error}."
        if error.errno in _FULL:
            return StoreFull(reason)
        return StoreUnavailable(reason)

    def unavailable(self, reason: str, remedy: str = "") -> StoreUnavailable:
        return StoreUnavailable(f"Store {self.store_name} is not available: {reason}.", remedy=remedy or None)

    # --- Opening ---

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Open root and staging once for all that is done inside; nested uses share them."""
        if self._held is not None:
            yield
            return
        with self.open_root() as root, self.open_staging() as staging:
            self._held = (root, staging)
            try:
                yield
            finally:
                self._held = None

    @contextmanager
    def open_root(self) -> Iterator[int]:
        """The root, once its marker has been seen to be ours. Raises StoreUnavailable."""
        if self._held is not None:
            yield self._held[0]
            return
        try:
            fd = durable.open_root(self.root)
        except OSError as error:
            raise self._refusal(_about_root(self.root, self._called, error)) from error
        with durable.closing(fd):
            self._verify(fd)
            yield fd

    def _verify(self, root: int) -> None:
        """Look at the marker; read it only when it does not look as it did when it was read last."""
        key = (self.root, self.marker)
        try:
            with durable.closing(durable.open_directory(CORNER, at=root)) as corner:
                seen = durable.look(MARKER, at=corner)
                looks = () if seen is None else (seen.st_dev, seen.st_ino, seen.st_ctime_ns, seen.st_size)
                if looks and _verified.get(key) == looks:
                    return
        except OSError:
            pass  # said precisely below
        problem = self._marker_problem(root)
        if problem is not None:
            raise self._refusal(problem)
        _verified[key] = looks

    def _refusal(self, found: Availability) -> StoreUnavailable:
        return self.unavailable(found.reason, found.remedy)

    @contextmanager
    def open_corner(self, *parts: str, make: bool = False) -> Iterator[int]:
        """A directory below `.librarian/`."""
        with self.open_root() as root, durable.closing(durable.descend(root, [CORNER, *parts], make=make)) as fd:
            yield fd

    @contextmanager
    def open_staging(self) -> Iterator[int]:
        """The staging area, on the file system of the root."""
        if self._held is not None:
            yield self._held[1]
            return
        with self.open_root() as root, durable.closing(self._open_staging(root)) as fd:
            if os.fstat(fd).st_dev != os.fstat(root).st_dev:
                raise self._refusal(self._other_file_system())
            yield fd

    def _open_staging(self, root: int) -> int:
        below = f"{self.root}/"
        try:
            if self.staging.startswith(below):
                return durable.descend(root, self.staging.removeprefix(below).split("/"))
            return durable.open_root(self.staging)
        except OSError as error:
            raise self._refusal(_about_staging(self.staging, error)) from error

    @contextmanager
    def open_token(self, token: str) -> Iterator[int]:
        """The staging directory of one delivery. Raises FileNotFoundError."""
        with self.open_staging() as staging, durable.closing(durable.open_directory(token, at=staging)) as fd:
            yield fd

    # --- Looking ---

    def check(self) -> Availability:
        """Look: mounted, our marker, staging on the same file system, really writable."""
        try:
            with self.speaking("looking at it"), self.open_staging(), self.open_root() as root:
                return self._probe(root)
        except StoreUnavailable as error:
            prefix = f"Store {self.store_name} is not available: "
            return Availability(False, error.reason.removeprefix(prefix).removesuffix("."), error.suggested_remedy)

    def _probe(self, root: int) -> Availability:
        """Really write: some mounts refuse only that. A full disk is not away, since its files are readable."""
        with ExitStack() as stack:
            corner = stack.enter_context(durable.closing(durable.open_directory(CORNER, at=root)))
            staging = stack.enter_context(durable.closing(self._open_staging(root)))
            probes = ((_probe_directory, root, self.root), (_probe_file, corner, self.root))
            for probe, fd, path in (*probes, (_probe_file, staging, self.staging)):
                try:
                    probe(fd)
                except OSError as error:
                    if error.errno in _FULL:
                        return Availability(True, f"the disk of {path} is full", StoreFull.remedy)
                    return Availability(
                        False,
                        f"{path} cannot be written to: {error.strerror}",
                        "Mount it writable and give the server's user the right to write there.",
                    )
        return Availability(True)

    def _marker_problem(self, root: int) -> Availability | None:
        try:
            with durable.closing(durable.open_directory(CORNER, at=root)) as corner:
                found = json.loads(durable.read_small(MARKER, at=corner, limit_bytes=_MARKER_LIMIT_BYTES))
            marker, name = str(found["marker"]), str(found["name"])
        except (FileNotFoundError, NotADirectoryError):
            return self._without_marker(root)
        except OSError as error:
            return Availability(
                False, f"its marker {self._marker_path} cannot be read: {error.strerror}", "Mend the disk."
            )
        except (ValueError, KeyError, TypeError):
            return Availability(
                False,
                f"its marker {self._marker_path} is damaged",
                "Restore the file; `manage.py add_store` shows its form.",
            )
        if marker == self.marker:
            return None
        return Availability(
            False,
            f"mounted but not ours: {self.root} carries the marker of store {name} ({marker}), "
            f"not that of {self.store_name} ({self.marker})",
            f"Mount the disk of store {self.store_name} there, or configure another directory.",
        )

    @property
    def _marker_path(self) -> str:
        return f"{self.root}/{CORNER}/{MARKER}"

    def _without_marker(self, root: int) -> Availability:
        with os.scandir(root) as entries:
            empty = next(entries, None) is None
        if empty:
            mounted = "" if os.path.ismount(self.root) else ", and nothing is mounted there"
            return Availability(
                False, f"{self.root} is empty{mounted}: our marker is not there", "Mount the disk that belongs there."
            )
        return Availability(
            False,
            f"{self.root} holds files but not our marker {CORNER}/{MARKER}: another disk may be mounted there",
            f"Mount the disk of store {self.store_name}; if this is it, run 'Write the marker' in the staff admin.",
        )

    def _other_file_system(self) -> Availability:
        return Availability(
            False,
            f"its staging area {self.staging} lies on another file system than its root {self.root}",
            "Configure a staging directory on the file system of the root: files are linked into place, never copied.",
        )

    # --- Beginning ---

    def initialise(self) -> None:
        """Make the store's directories and write the marker. Raises Conflict for another store's place."""
        with self.speaking(f"making its directories below {self.root}"):
            os.makedirs(self.root, exist_ok=True)
            with durable.closing(durable.open_root(self.root)) as root:
                self._claim(root)
                for name in ("record", "quarantine", "staging"):
                    if name != "staging" or self.staging == f"{self.root}/{CORNER}/staging":
                        os.close(durable.descend(root, [CORNER, name], make=True))
                os.makedirs(self.staging, mode=0o755, exist_ok=True)
                with durable.closing(durable.descend(root, [CORNER])) as corner:
                    os.fsync(corner)
                os.fsync(root)
            with self.open_staging():
                pass

    def carries_marker(self) -> bool:
        """True if the root has a marker, whosever it is."""
        with self.speaking(f"looking at {self.root}"), ExitStack() as stack:
            root = stack.enter_context(durable.closing(durable.open_root(self.root)))
            try:
                corner = stack.enter_context(durable.closing(durable.open_directory(CORNER, at=root)))
            except (FileNotFoundError, NotADirectoryError):
                return False
            return durable.exists(MARKER, at=corner)

    def _claim(self, root: int) -> None:
        """Write the marker unless it is there; two stores that want one root at once cannot both get it."""
        with durable.closing(durable.descend(root, [CORNER], make=True)) as corner:
            if durable.exists(MARKER, at=corner):
                problem = self._marker_problem(root)
                if problem is not None:
                    raise Conflict(f"Store {self.store_name}: {problem.reason}.", remedy=problem.remedy)
                return
            new = f".{MARKER}.{secrets.token_hex(6)}"
            text = json.dumps({"marker": self.marker, "name": self.store_name, "format": 1}).encode() + b"\n"
            durable.replace_file(new, text, at=corner)
            try:
                os.link(new, MARKER, src_dir_fd=corner, dst_dir_fd=corner)
            except FileExistsError:
                raise Conflict(f"Store {self.store_name}: another store was given {self.root} just now.") from None
            except OSError:  # a file system without hard links
                os.rename(new, MARKER, src_dir_fd=corner, dst_dir_fd=corner)
                return
            os.unlink(new, dir_fd=corner)


def _probe_directory(at: int) -> None:
    name = f".librarian-probe-{secrets.token_hex(6)}"
    os.mkdir(name, dir_fd=at)
    os.rmdir(name, dir_fd=at)


def _probe_file(at: int) -> None:
    name = f".librarian-probe-{secrets.token_hex(6)}"
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=at)
    try:
        with durable.closing(fd):
            durable.write_all(fd, b"probe")
            os.fsync(fd)
    finally:
        os.unlink(name, dir_fd=at)


def _about_root(path: str, called: str, error: OSError) -> Availability:
    if error.errno == errno.ENOENT:
        return Availability(
            False, f"its {called} {path} does not exist", f"Mount the disk, or correct the configured {called}."
        )
    if error.errno == errno.ENOTDIR:
        return Availability(False, f"its {called} {path} is not a directory", f"Correct the configured {called}.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Availability(
            False, f"the server's user may not open {path}", "Give the server's user the right to use it."
        )
    return Availability(
        False, f"opening its {called} {path} failed: {error.strerror}", "Look after the disk or the mount."
    )


def _about_staging(path: str, error: OSError) -> Availability:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return Availability(
            False,
            f"its staging area {path} is not a directory or does not exist",
            "Make the directory, or mount its disk.",
        )
    return Availability(
        False, f"opening its staging area {path} failed: {error.strerror}", "Look after its permissions."
    )
