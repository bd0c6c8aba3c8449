"""Reading a tar stream that somebody sent, trusting nothing in it. Sorting its entries into products is `tar_products`.

Taken: regular files, directories, symbolic and hard links, in ustar, GNU and pax form. Refused, with the reason: every
other kind of entry, sparse files (their size is a claim), names that no product may have, headers of more than a
mebibyte or more than a few of them for one entry, more entries than MAX_ENTRIES, a stream that ends early and one that
goes on after its end. There is no compression, so an entry is never larger than the stream.

The standard library reads single header blocks here and no more: what it does with pax headers and sparse files takes
time and memory that the sender chooses.
"""

import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO, Literal

from stores.backends.base import TreeEntry, UnsafeProduct
from stores.backends.places import MAX_PATH_BYTES, shown
from stores.backends.unpacking import split_member

MAX_ENTRIES = 1_000_000
MAX_HEADER_BYTES = 2**20
MAX_HEADERS = 8  # before one entry: names too long for it, pax
PRODUCT_FLAG = "LIBRARIAN.product"  # pax header of a directory that is one product, whatever its name
_KINDS: dict[bytes, Literal["file", "directory", "link", "same"]] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "same",
}
_LONG = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_ABOUT_OTHERS = {*_LONG, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
_PAX_KEYS = ("path", "linkpath", "size", PRODUCT_FLAG)
_WORDS = {tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a pipe"}
Open = Callable[[], AbstractContextManager[IO[bytes]]]


class BadTar(UnsafeProduct):
    """The stream is no tar, or one that is not taken."""

    code = "bad_tar"
    remedy = "Send an uncompressed tar (POSIX pax, ustar or GNU), complete to its end, without sparse files."


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One entry: where its header begins and its bytes lie in the stream, and where the next header may begin."""

    path: str
    kind: Literal["file", "directory", "link", "same"]
    size_bytes: int
    header_at: int
    data_at: int
    end_at: int
    target: str = ""
    is_product: bool = False

    def as_tree_entry(self, path: str, open_tar: Open, *, target: str | None = None) -> TreeEntry:
        """The entry as a store writes it, under `path` in its product."""
        return TreeEntry(
            path=path,
            kind=self.kind,
            target=self.target if target is None else target,
            open=lambda: self.open(open_tar),
        )

    @contextmanager
    def open(self, open_tar: Open) -> Iterator[IO[bytes]]:
        """The bytes of a file."""
        with open_tar() as tar:
            tar.seek(self.data_at)
            yield _Section(tar, self.size_bytes)


def read_tar(tar: IO[bytes], *, length_bytes: int, start_at: int = 0, end_at: int | None = None) -> Iterator[TarEntry]:
    """Entries of the stream from the header at `start_at` on, one in memory at a time. Raises BadTar.

    Without `end_at` the whole stream is read, and it must end as a tar does.
    """
    at = start_at
    count = 0
    while end_at is None or at < end_at:
        entry = _read_entry(tar, at, length_bytes)
        if entry is None:
            break
        count += 1
        if count > MAX_ENTRIES:
            raise BadTar(f"The stream has more than {MAX_ENTRIES} entries.", remedy="Send several smaller ones.")
        yield entry
        at = entry.end_at
    if end_at is None:
        _refuse_unfinished(tar, at, length_bytes)


def padded(size_bytes: int) -> int:
    """Length of so many bytes in a tar: whole blocks of 512."""
    return -(-size_bytes // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _read_entry(tar: IO[bytes], at: int, length_bytes: int) -> TarEntry | None:
    """The entry whose first header lies at `at`; None where there is no header."""
    header_at, said = at, {}
    for _ in range(MAX_HEADERS):
        info = _read_block(tar, at)
        if info is None and at != header_at:
            raise BadTar("The tar is not complete: a header is there without the entry that it is about.")
        if info is None:
            return None
        at += tarfile.BLOCKSIZE
        if info.type not in _ABOUT_OTHERS:
            return _entry(info, said, header_at=header_at, data_at=at, length_bytes=length_bytes)
        said |= _said_by(info, _read_text(tar, info.size))
        at += padded(info.size)
    raise BadTar(f"An entry of the tar has more than {MAX_HEADERS} headers.")


def _read_block(tar: IO[bytes], at: int) -> tarfile.TarInfo | None:
    tar.seek(at)
    try:
        # Truncated names may end within a character; the whole one follows from another header, and is judged then.
        return tarfile.TarInfo.frombuf(tar.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except tarfile.HeaderError as problem:
        if at:
            return None  # the end, or something else than one: _refuse_unfinished looks
        raise BadTar(f"The stream cannot be read as a tar: {problem}.") from problem


def _read_text(tar: IO[bytes], size: int) -> bytes:
    if not 0 <= size <= MAX_HEADER_BYTES:
        raise BadTar(f"A header of the tar claims {size} bytes; {MAX_HEADER_BYTES} are allowed.")
    text = tar.read(size)
    if len(text) < size:
        raise BadTar("The stream ends in the middle of a header.")
    return text


def _said_by(info: tarfile.TarInfo, text: bytes) -> dict[str, str]:
    """What a header says of the entry that follows."""
    if info.type in _LONG:
        return {_LONG[info.type]: _decoded(text.partition(b"\0")[0])}
    said = _pax_records(text)
    if info.type != tarfile.XGLTYPE:
        return said
    if said:  # an entry could not be read by itself any more
        raise BadTar(f"The tar says {', '.join(sorted(said))} of all entries at once.", remedy="Say it of each entry.")
    return {}


def _pax_records(text: bytes) -> dict[str, str]:
    """The records of a pax header ("<length> <key>=<value>" and a line feed) that matter here."""
    said = {}
    at = 0
    while at < len(text):
        number = text[at : at + 8].partition(b" ")[0]
        end = at + int(number) if number.isdigit() else at
        key, equals, value = text[at + len(number) + 1 : end].partition(b"=")
        if not equals or not value.endswith(b"\n") or end > len(text):
            raise BadTar("A pax header of the tar is damaged.")
        name = _decoded(key)
        if name in _PAX_KEYS or name.startswith("GNU.sparse."):
            said[name] = _decoded(value[:-1])
        at = end
    return said


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _entry(info: tarfile.TarInfo, said: dict[str, str], *, header_at: int, data_at: int, length_bytes: int) -> TarEntry:
    path = (said.get("path") or info.name).removeprefix("./").rstrip("/")
    kind = _KINDS.get(info.type)
    if info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in said):
        raise BadTar(f"The entry {shown(path)} is a sparse file.")
    if kind is None:
        raise BadTar(
            f"The entry {shown(path)} is {_WORDS.get(info.type, 'of a kind that is not taken')}.",
            remedy="Send files, directories and links only.",
        )
    size_bytes = _size(said.get("size"), info.size) if kind == "file" else 0
    if not 0 <= size_bytes <= length_bytes - data_at:
        raise BadTar(f"The entry {shown(path)} claims {size_bytes} bytes, more than the whole stream has left.")
    if path not in ("", "."):
        split_member(path)
    target = said.get("linkpath") or info.linkname
    if kind == "same":
        target = target.removeprefix("./")
        split_member(target)
    elif kind == "link":
        _check_link(path, target)
    return TarEntry(
        path="" if path == "." else path,
        kind=kind,
        size_bytes=size_bytes,
        header_at=header_at,
        data_at=data_at,
        end_at=data_at + padded(size_bytes),
        target=target if kind in ("link", "same") else "",
        is_product=said.get(PRODUCT_FLAG) == "directory",
    )


def _size(text: str | None, size_bytes: int) -> int:
    if not text:
        return size_bytes
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise BadTar(f"A pax header of the tar has the size {shown(text)}.")
    return int(text)


def _check_link(path: str, target: str) -> None:
    """Raise BadTar for a target that no link can have. Where one may lead is judged once the product is whole."""
    if not target or "\0" in target or len(os.fsencode(target)) > MAX_PATH_BYTES:
        raise BadTar(f"The entry {shown(path)} is a symbolic link with an impossible target.")


def _refuse_unfinished(tar: IO[bytes], offset: int, length_bytes: int) -> None:
    """The library takes a broken header in the middle for the end; then bytes would be lost without a word."""
    left = length_bytes - offset
    if left > MAX_HEADER_BYTES:
        raise BadTar("The stream goes on after the end of the tar.")
    tar.seek(offset)
    end = tar.read(left + 1)
    if len(end) < 2 * tarfile.BLOCKSIZE or any(end):
        raise BadTar("The tar is not complete: where it should end there is something else than empty blocks.")


class _Section:
    """The next `size` bytes of an open file, as a file. Raises BadTar when it ends before."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        block = self._file.read(wanted) if wanted else b""
        if len(block) < wanted and not block:
            raise BadTar("The stream ends in the middle of an entry.")
        self._left -= len(block)
        return block
