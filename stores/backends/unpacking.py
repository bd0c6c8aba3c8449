"""Writing a directory product member by member, as a stream of entries tells it, in whatever order they come.

The names in such a stream are somebody else's: each is checked, every step of the way is opened without following
links, and nothing is written twice. What a link leads to is judged when the finished tree is read (`trees`).
"""

import errno
import os
import stat
from collections.abc import Iterable

from stores.backends import durable
from stores.backends.base import BLOCK_BYTES, Progress, TreeEntry, UnsafeProduct
from stores.backends.places import check_member_name, shown
from stores.backends.trees import MAX_DEPTH

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Limit:
    """How many bytes a product may have, counted as they are written or read, and told to `progress`.

    Links are stored as the bytes that they lead to: a few of them can stand for any number of bytes.
    """

    def __init__(self, limit_bytes: int | None, progress: Progress | None) -> None:
        self._left = limit_bytes
        self._progress = progress

    def __call__(self, size_bytes: int) -> None:
        if self._left is not None:
            self._left -= size_bytes
            if self._left < 0:
                raise UnsafeProduct(
                    "The product's links stand for many more bytes than were sent.",
                    remedy="Send each file once; for one that really is there several times, send its bytes each time.",
                )
        if self._progress is not None:
            self._progress(size_bytes)


def write_tree(entries: Iterable[TreeEntry], name: str, *, at: int, limit: Limit) -> None:
    """Make the directory `name` with these entries. Raises UnsafeProduct for a name or entry that cannot be."""
    os.mkdir(name, 0o755, dir_fd=at)
    with durable.closing(durable.open_directory(name, at=at)) as root, _Parents(root) as parents:
        for entry in entries:
            *above, last = split_member(entry.path)
            try:
                limit(0)
                _write(entry, parents.of(tuple(above)), last, root, limit)
            except FileExistsError as error:
                raise UnsafeProduct(
                    f"The product's member {shown(entry.path)} comes twice.", remedy="Send each member once."
                ) from error
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    raise UnsafeProduct(
                        f"The product's member {shown(entry.path)} lies below a file or link."
                    ) from error
                if error.errno == errno.ENAMETOOLONG:
                    raise UnsafeProduct(
                        f"The product's member {shown(entry.path)} has a name or a link that the store cannot hold."
                    ) from error
                raise


def split_member(path: str) -> list[str]:
    """Components of a member's path. Raises UnsafeProduct unless it is legal, relative and does not climb."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise UnsafeProduct(f"The product's member {shown(path)} climbs, is absolute or has an empty component.")
    if len(parts) > MAX_DEPTH:
        raise UnsafeProduct(f"The product nests more than {MAX_DEPTH} directories.")
    prefix = b""
    for part in parts:
        prefix = check_member_name(part, prefix) + b"/"
    return parts


def _write(entry: TreeEntry, parent: int, name: str, root: int, limit: Limit) -> None:
    if entry.kind == "directory":
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            os.close(durable.open_directory(name, at=parent))  # made for a member that came before it
    elif entry.kind == "link":
        os.symlink(entry.target, name, dir_fd=parent)
    elif entry.kind == "same":
        _copy(entry, parent, name, root, limit)
    else:
        _write_file(entry, parent, name, limit)


def _write_file(entry: TreeEntry, parent: int, name: str, limit: Limit) -> None:
    with durable.closing(os.open(name, _NEW_FILE, 0o644, dir_fd=parent)) as target, entry.open() as source:
        while block := source.read(BLOCK_BYTES):
            limit(len(block))
            durable.write_all(target, block)


def _copy(entry: TreeEntry, parent: int, name: str, root: int, limit: Limit) -> None:
    """A hard link becomes a file of its own with the bytes of the member that it names."""
    *above, last = split_member(entry.target)
    try:
        with (
            durable.closing(durable.descend(root, above)) as there,
            durable.closing(durable.open_for_reading(last, at=there)) as source,
        ):
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise FileNotFoundError(errno.ENOENT, "not a file", last)
            with durable.closing(os.open(name, _NEW_FILE, 0o644, dir_fd=parent)) as target:
                while block := os.read(source, BLOCK_BYTES):
                    limit(len(block))
                    durable.write_all(target, block)
    except FileNotFoundError as error:
        raise UnsafeProduct(
            f"The product's member {shown(entry.path)} is a hard link to {shown(entry.target)}, which is no file that "
            "came before it."
        ) from error


class _Parents:
    """Open directories of the last member's way, since neighbours mostly share it."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._path: tuple[str, ...] = ()
        self._fd = os.dup(root)

    def __enter__(self) -> "_Parents":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def of(self, path: tuple[str, ...]) -> int:
        """The open directory at `path`, made if need be."""
        if path != self._path:
            fd = durable.descend(self._root, path, make=True)
            os.close(self._fd)
            self._fd, self._path = fd, path
        return self._fd
