"""Unpacking the tar stream of one directory product: only what a product can hold, only below one new directory.

Whatever the stream says, nothing is written outside of that directory and nothing is written twice. Links and devices
are refused: the archive stores the bytes of a link inside a product, never the link.
"""

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from typing import Protocol

from hera_librarian.exceptions import LibrarianError
from hera_librarian.finding.folder import refuse_unsafe
from hera_librarian.finding.tree_digest import READ_BYTES, Entry


class Readable(Protocol):
    """What a stream must be able to do."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, none at the end."""


def unpack(
    stream: Readable, folder: str, top: str, *, size_bytes: int, seen: Callable[[int], None] = lambda _: None
) -> Iterator[Entry]:
    """Write the members of a product into an empty directory and yield each when it is complete.

    Parameters
    ----------
    stream : file object
        What `read` raises passes through.
    folder : str
        An empty directory that nobody else writes to.
    top : str
        The one directory that all entries of the stream lie in; not written itself.
    size_bytes : int
        Of all members together; more is refused before it is written.
    seen : callable
        Is told the bytes written, block by block.

    Raises
    ------
    LibrarianError
        The stream holds what no product can, or is no tar stream.
    """
    left = size_bytes
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=READ_BYTES) as archive:
            for info in archive:
                archive.members.clear()  # which would grow with the product
                path = _path(info, top)
                left -= info.size
                if left < 0:
                    raise _refused(info.name, f"goes beyond the {size_bytes} bytes of the product")
                if info.isreg() and path:
                    yield _write(archive, info, os.path.join(folder, path), path, seen)
                elif path:
                    os.makedirs(os.path.join(folder, path))
                    yield Entry(path, 0, "")
    except (FileExistsError, NotADirectoryError) as problem:
        raise _refused(str(problem.filename), "comes twice, or differs from another only by case") from problem
    except (tarfile.TarError, UnicodeError) as problem:
        raise LibrarianError(
            f"The stream of {top} is not a tar stream ({problem}).", remedy="Try again.", code="strange_answer"
        ) from problem


def _path(info: tarfile.TarInfo, top: str) -> str:
    """Path of an entry in the product, empty for the product itself. Raises LibrarianError."""
    first, _, path = info.name.partition("/")
    if first != top or info.issparse() or not (info.isreg() or info.isdir()):
        raise _refused(info.name, "is not an ordinary file or directory of it")
    if path:
        refuse_unsafe(path)
    elif not info.isdir():
        raise _refused(info.name, "takes the place of the product itself")
    return path


def _write(
    archive: tarfile.TarFile, info: tarfile.TarInfo, place: str, path: str, seen: Callable[[int], None]
) -> Entry:
    os.makedirs(os.path.dirname(place), exist_ok=True)
    source = archive.extractfile(info)
    hasher = hashlib.sha256()
    with open(place, "xb") as target:
        while source is not None and (block := source.read(READ_BYTES)):
            target.write(block)
            hasher.update(block)
            seen(len(block))
    return Entry(path, info.size, hasher.hexdigest())


def _refused(name: str, what: str) -> LibrarianError:
    return LibrarianError(
        f"The stream of a directory product is refused: {name!r} {what}.",
        remedy="Tell the site's operators; no product of the archive should hold that.",
        code="unsafe_product",
    )
