"""Downloading one flat file: into a `.part` beside its place, hashed while it arrives, gone on with after a cut."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError
from hera_librarian.finding.content import Content
from hera_librarian.finding.folder import Folder, beside, take_alone
from hera_librarian.finding.outcomes import ALREADY_HERE, DOWNLOADED
from hera_librarian.finding.progress import Tally
from hera_librarian.finding.tree_digest import READ_BYTES, sha256_of

PART, BAD = ".part", ".bad"


def fetch_flat(
    content: Content, place: Path, folder: Folder, tally: Tally, other_stores: Callable[[], list[str]]
) -> str:
    """Bring the bytes to their place and return the outcome. Raises LibrarianError, LibrarianHTTPError, OSError.

    Parameters
    ----------
    other_stores : callable
        Names the stores to ask, asked itself only after bytes came that are not those of the catalogue: then each
        other copy is tried from the start. When none is better, the bytes are kept as `.bad`.
    """
    if _is_here(content, place, tally):
        return ALREADY_HERE
    folder.refuse_other_bytes(place)
    part = beside(place, PART)
    with _opened(part) as handle:
        arrived = fill(handle, content, folder, tally, other_stores)
        if arrived != content.sha256:
            bad = beside(place, BAD)
            os.replace(part, bad)
            raise mismatch(content.shown_name, content.sha256, arrived, bad)
        folder.put_file(part, place)
    return DOWNLOADED


def fill(
    handle: BinaryIO, content: Content, folder: Folder, tally: Tally, other_stores: Callable[[], list[str]]
) -> str:
    """Complete a file that holds a beginning of the bytes, or nothing; the SHA-256 of what it holds in the end."""
    before, is_begun = tally.total_bytes, os.fstat(handle.fileno()).st_size > 0
    arrived = _first_try(handle, content, folder, tally)
    for store in _further_tries(is_begun, other_stores) if arrived != content.sha256 else ():
        tally.take_back(before)
        content.store = store
        try:
            arrived = _fill_once(handle, content, folder, tally, from_start=True)
        except LibrarianHTTPError:
            if not store:
                raise
            continue  # that copy cannot be read, or the server is older than the choice
        if arrived == content.sha256:
            break
    return arrived


def _first_try(handle: BinaryIO, content: Content, folder: Folder, tally: Tally) -> str:
    """Digest after going on with what is there; empty where only the whole comes."""
    try:
        return _fill_once(handle, content, folder, tally, from_start=False)
    except LibrarianError as problem:
        if problem.code != "no_ranges":
            raise
        return ""


def _further_tries(is_begun: bool, other_stores: Callable[[], list[str]]) -> Iterator[str]:
    """Stores to ask after wrong bytes came; empty for the server's own choice."""
    if is_begun:
        yield ""  # what was there before may have been the fault
    yield from other_stores() or [""]


def mismatch(name: str, expected: str, arrived: str, bad: Path) -> LibrarianError:
    """The error of bytes that are not those of the catalogue, from whichever copy."""
    return LibrarianError(
        f"The bytes that came for {name} have the digest {arrived}; the catalogue says {expected}. "
        f"They are kept as {bad}.",
        remedy="Tell the site's operators: a copy of the file has changed there, or something on the way alters bytes.",
        code="digest_mismatch",
    )


def _is_here(content: Content, place: Path, tally: Tally) -> bool:
    """True if the very bytes lie at the place already."""
    if place.is_symlink() or not place.is_file() or place.stat().st_size != content.size_bytes:
        return False
    if sha256_of(place, tally.count) == content.sha256:
        return True
    tally.take_back()
    return False


def _fill_once(handle: BinaryIO, content: Content, folder: Folder, tally: Tally, *, from_start: bool) -> str:
    hasher = hashlib.sha256()
    size_bytes = os.fstat(handle.fileno()).st_size
    from_start = from_start or size_bytes > content.size_bytes
    folder.refuse_without_room(content.size_bytes - size_bytes)
    blocks = content.blocks(0 if from_start else size_bytes, pause=tally.pause)
    first = next(blocks, b"") if from_start else b""  # a refusal comes before anything is thrown away
    handle.seek(0)
    if from_start:
        handle.truncate()
    while block := handle.read(READ_BYTES):  # the beginning, once more: what counts is what is on the disk
        hasher.update(block)
        tally.count(len(block))
    for block in chain([first], blocks):
        handle.write(block)
        hasher.update(block)
        tally.count(len(block))
    handle.flush()
    return hasher.hexdigest()


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[BinaryIO]:
    """A `.part` to read and write, by nobody else meanwhile. Raises LibrarianError if another process has it."""
    part.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "r+b") as handle:
        take_alone(descriptor, part)
        yield handle
