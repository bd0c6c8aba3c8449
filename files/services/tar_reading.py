"""Reading a tar stream that somebody sent, trusting nothing in it. Sorting its entries into products is `tar_products`.

Taken: regular files, directories, symbolic and hard links, in ustar, GNU and pax form. Refused, with the reason: every
other kind of entry, sparse files (their size is a claim), names that no product may have, headers of more than a
mebibyte, more entries than MAX_ENTRIES, a stream that ends early and one that goes on after its end. There is no
compression, so an entry is never larger than the stream.
"""

import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO, Literal

from stores.backends.base import TreeEntry, UnsafeProduct
from stores.backends.places import shown
from stores.backends.unpacking import split_member

MAX_ENTRIES = 1_000_000
MAX_HEADER_BYTES = 2**20
PRODUCT_FLAG = "LIBRARIAN.product"  # pax header of a directory that is one product, whatever its name
_KINDS: dict[bytes, Literal["file", "directory", "link", "same"]] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "same",
}
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
    tar.seek(start_at)
    reader = None
    try:
        reader = tarfile.TarFile(fileobj=_Bounded(tar), mode="r", encoding="utf-8", errors="strict")
        count = 0
        while (info := reader.next()) is not None and (end_at is None or info.offset < end_at):
            reader.members = []  # else the library keeps them all
            count += 1
            if count > MAX_ENTRIES:
                raise BadTar(f"The stream has more than {MAX_ENTRIES} entries.", remedy="Send several smaller ones.")
            yield _entry(info, end_at=reader.offset, length_bytes=length_bytes)
        if end_at is None:
            _refuse_unfinished(tar, reader.offset, length_bytes)
    except (tarfile.TarError, UnicodeError, ValueError, OverflowError, EOFError) as problem:
        raise BadTar(f"The stream cannot be read as a tar: {problem}.") from problem
    finally:
        if reader is not None:
            reader.close()


def _entry(info: tarfile.TarInfo, *, end_at: int, length_bytes: int) -> TarEntry:
    path = info.name.removeprefix("./").rstrip("/")
    kind = _KINDS.get(info.type)
    if info.issparse() or any(key.startswith("GNU.sparse") for key in info.pax_headers):
        raise BadTar(f"The entry {shown(path)} is a sparse file.")
    if kind is None:
        raise BadTar(
            f"The entry {shown(path)} is {_WORDS.get(info.type, 'of a kind that is not taken')}.",
            remedy="Send files, directories and links only.",
        )
    if info.size < 0 or (kind == "file" and info.offset_data + info.size > length_bytes):
        raise BadTar(f"The entry {shown(path)} claims {info.size} bytes, more than the whole stream has left.")
    if path not in ("", "."):
        split_member(path)
    target = info.linkname
    if kind == "same":
        target = target.removeprefix("./")
        split_member(target)
    return TarEntry(
        path="" if path == "." else path,
        kind=kind,
        size_bytes=info.size if kind == "file" else 0,
        header_at=info.offset,
        data_at=info.offset_data,
        end_at=end_at,
        target=target if kind in ("link", "same") else "",
        is_product=info.pax_headers.get(PRODUCT_FLAG) == "directory",
    )


def _refuse_unfinished(tar: IO[bytes], offset: int, length_bytes: int) -> None:
    """The library takes a broken header in the middle for the end; then bytes would be lost without a word."""
    left = length_bytes - offset
    if left > MAX_HEADER_BYTES:
        raise BadTar("The stream goes on after the end of the tar.")
    tar.seek(offset)
    end = tar.read(left + 1)
    if len(end) < 2 * tarfile.BLOCKSIZE or any(end):
        raise BadTar("The tar is not complete: where it should end there is something else than empty blocks.")


class _Bounded:
    """What the tar library sees of the stream: no read is so large that a header could fill the memory."""

    def __init__(self, tar: IO[bytes]) -> None:
        self.tar = tar

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > MAX_HEADER_BYTES:
            raise BadTar(f"A header of the tar claims {size} bytes; {MAX_HEADER_BYTES} are allowed.")
        return self.tar.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.tar.seek(offset, whence)

    def tell(self) -> int:
        return self.tar.tell()


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
