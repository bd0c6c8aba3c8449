"""The files of a disk where it is mounted here: found, whatever the manifest says never outside of it, and copied.

Each byte is read once: the copy is hashed as it is made, and compared with what the manifest says.
"""

import os
import shutil
from pathlib import Path

from hera_librarian.checksums import combine_directory_digests, new_hasher, parse_checksum
from hera_librarian.exceptions import LibrarianError
from hera_librarian.models.admin import ManifestEntry
from hera_librarian.shared_disk import BLOCK_BYTES, DIRECTORY_MODE, FILE_MODE, Pace, Progress, members


class NotOnDisk(LibrarianError):
    """The disk has no such file, or only one of another size."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, remedy="Take the file from another copy.", code="missing_bytes")


class NotAsPacked(LibrarianError):
    """The bytes on the disk are not those that were packed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, remedy="Take the file from another copy.", code="content_mismatch")


class LeadsOut(LibrarianError):
    """A place that the manifest names is not on the disk."""

    def __init__(self, name: str) -> None:
        remedy = "Do not take in this disk before its sender has explained it."
        super().__init__(f"The place of {name!r} leads out of the disk.", remedy=remedy, code="unsafe_place")


def find(root: Path, entry: ManifestEntry) -> Path:
    """Where a file lies: at the place that the manifest names, by its name, or by the end of the path that it had.

    Raises NotOnDisk, LeadsOut.
    """
    parts = Path(entry.instance_path).parts
    said = [entry.place] if entry.place else []
    ways = [*said, entry.name, *("/".join(parts[start:]) for start in range(1, len(parts)))]
    leads_out = False
    for way in ways:
        if not way or way.startswith("/") or ".." in way.split("/") or "\0" in way:
            leads_out |= way in (*said, entry.name)
            continue
        path = root / way
        if os.path.lexists(path):
            if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
                raise LeadsOut(way)
            return path
    if leads_out:
        raise LeadsOut(entry.place or entry.name)
    raise NotOnDisk(f"{entry.place or entry.name} is not on the disk.")


def copy(
    path: Path, location: Path, entry: ManifestEntry, *, progress: Progress | None = None, pace: Pace | None = None
) -> None:
    """Copy a file or directory product to `location`, in place of what an earlier attempt left there.

    Raises NotAsPacked, LibrarianError for what cannot be archived, OSError.
    """
    _clear(location)
    location.parent.mkdir(parents=True, exist_ok=True)
    algorithm = parse_checksum(entry.checksum).algorithm
    is_directory = path.is_dir()
    if is_directory:
        _make_folders(path, location)
    digests, size_bytes = [], 0
    for member in members(path):
        source, target = (path / member, location / member) if is_directory else (path, location)
        digest, count = _copy(source, target, algorithm, progress, pace)
        digests.append(digest)
        size_bytes += count
    digest = combine_directory_digests(algorithm, digests) if is_directory else digests[0]
    if size_bytes != entry.size or parse_checksum(entry.checksum).digest != digest:
        raise NotAsPacked(f"The bytes of {path} are not those of the manifest.")


def is_copied(location: Path, entry: ManifestEntry) -> bool:
    """True if something of the right size lies where an earlier attempt says that it has copied everything."""
    try:
        files = members(location)
        return sum(os.stat(location / member if member else location).st_size for member in files) == entry.size
    except (OSError, LibrarianError):
        return False


def _clear(location: Path) -> None:
    if location.is_dir() and not location.is_symlink():
        shutil.rmtree(location)
    else:
        location.unlink(missing_ok=True)


def _make_folders(path: Path, location: Path) -> None:
    """The directories of a product, the empty ones too."""
    for folder, _, _ in os.walk(path):
        made = location / os.path.relpath(folder, path)
        made.mkdir(exist_ok=True)
        made.chmod(DIRECTORY_MODE)


def _copy(source: Path, target: Path, algorithm: str, progress: Progress | None, pace: Pace | None) -> tuple[str, int]:
    hasher, count = new_hasher(algorithm), 0
    with source.open("rb", buffering=0) as old, target.open("xb", buffering=0) as new:
        while block := old.read(BLOCK_BYTES):
            if pace is not None:
                pace.wait(len(block))
            hasher.update(block)
            view = memoryview(block)
            while view:
                view = view[new.write(view) :]
            count += len(block)
            if progress is not None:
                progress(len(block))
    target.chmod(FILE_MODE)
    return hasher.hexdigest(), count
