"""Directory products and batches as tar streams (POSIX pax), made on the fly and the same bytes each time.

Members come sorted; modes, owners and times do not belong to a product, so they are fixed. The length is known
beforehand, and any offset can be entered without what lies before it.
"""

import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hera_librarian.checksums import DEFAULT_ALGORITHM, Checksum, combine_directory_digests, new_hasher
from hera_librarian.uploading.identity import Member, scan_members, tree_identity
from hera_librarian.uploading.problems import LocalChanged
from hera_librarian.uploading.sources import Source, read_range, read_small

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
PRODUCT_HEADER = {"LIBRARIAN.product": "directory"}  # on the top directory of a product in a batch


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a tar: a file of `size_bytes`, or a directory; `is_product` marks one product's top directory."""

    name: str
    size_bytes: int = 0
    is_directory: bool = False
    is_product: bool = False

    def header(self) -> bytes:
        """Its header blocks; a pax header only where the name, the size or a mark needs one."""
        info = tarfile.TarInfo(self.name)
        info.size = self.size_bytes
        info.type = tarfile.DIRTYPE if self.is_directory else tarfile.REGTYPE
        info.mode = 0o755 if self.is_directory else 0o644
        if self.is_product:
            info.pax_headers = dict(PRODUCT_HEADER)
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


class TarSource(Source):
    """A tar of known entries; where the bytes of each come from is its subclasses' business.

    `headers` are those of the entries where somebody has them ready; else they are made each time they are needed,
    so that a product of many members takes no memory for them.
    """

    def __init__(self, entries: Sequence[Entry], *, identity: str, headers: Sequence[bytes] = ()) -> None:
        self._entries = entries
        self._headers = headers
        self._offsets = [0]
        for number, entry in enumerate(entries):
            length = len(self._header(number)) + entry.size_bytes + _padding(entry.size_bytes)
            self._offsets.append(self._offsets[-1] + length)
        super().__init__(
            length_bytes=self._offsets[-1] + len(END),
            size_bytes=sum(entry.size_bytes for entry in entries),
            identity=identity,
        )

    def _data(self, number: int, start: int, stop: int) -> Iterator[memoryview]:
        """Bytes of entry `number`."""
        raise NotImplementedError

    def _header(self, number: int) -> bytes:
        return self._headers[number] if self._headers else self._entries[number].header()

    def _read(self, start: int, stop: int) -> Iterator[tuple[memoryview, int]]:
        first = max(0, bisect_right(self._offsets, start) - 1)
        for number in range(first, len(self._entries)):
            if self._offsets[number] >= stop:
                return
            yield from self._read_entry(number, start, stop)
        yield from _part(END, self._offsets[-1], start, stop)

    def _read_entry(self, number: int, start: int, stop: int) -> Iterator[tuple[memoryview, int]]:
        entry, position = self._entries[number], self._offsets[number]
        header = self._header(number)
        yield from _part(header, position, start, stop)
        position += len(header)
        low, high = max(start - position, 0), min(stop - position, entry.size_bytes)
        if low < high:
            for block in self._data(number, low, high):
                yield block, number
        yield from _part(bytes(_padding(entry.size_bytes)), position + entry.size_bytes, start, stop)


class TreeSource(TarSource):
    """One directory product, below a top directory of its own name."""

    content = "directory"

    def __init__(self, path: str, name: str) -> None:
        self.path = path
        self.members = scan_members(path)
        self._digests: dict[int, str] = {}
        self._hashing = -1
        self._member_hasher: Any = None
        entries = [Entry(name, is_directory=True), *entries_of(self.members, name)]
        super().__init__(entries, identity=tree_identity(self.members))

    def check(self) -> None:
        if tree_identity(scan_members(self.path)) != self.identity:
            raise LocalChanged(self.path)

    def checksum(self) -> str:
        """The wire's checksum of a directory."""
        self._finish_member()
        empty = new_hasher(DEFAULT_ALGORITHM).hexdigest()
        files = [number for number, member in enumerate(self.members) if not member.is_directory]
        digest = combine_directory_digests(DEFAULT_ALGORITHM, (self._digests.get(number, empty) for number in files))
        return str(Checksum(DEFAULT_ALGORITHM, digest))

    def _data(self, number: int, start: int, stop: int) -> Iterator[memoryview]:
        member = self.members[number - 1]
        return read_range(member.source, member.identity, start, stop, self.block_bytes)

    def _hash(self, fresh: memoryview, part: int) -> None:
        super()._hash(fresh, part)
        if part < 0:
            return
        if part - 1 != self._hashing:
            self._finish_member()
            self._hashing, self._member_hasher = part - 1, new_hasher(DEFAULT_ALGORITHM)
        self._member_hasher.update(fresh)

    def _finish_member(self) -> None:
        if self._hashing >= 0:
            self._digests[self._hashing] = self._member_hasher.hexdigest()
            self._hashing = -1


@dataclass(slots=True)
class Packed:
    """A small product read into memory: its entries under its own destination, their bytes, and its checksum."""

    path: str
    destination: str
    entries: list[Entry]
    data: list[bytes]
    checksum: str
    headers: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = [entry.header() for entry in self.entries]

    @property
    def size_bytes(self) -> int:
        return sum(len(data) for data in self.data)

    @property
    def tar_bytes(self) -> int:
        """What it takes in a tar."""
        return sum(len(header) for header in self.headers) + sum(len(data) + _padding(len(data)) for data in self.data)


class BatchSource(TarSource):
    """Many small products, each under its own destination."""

    content = "batch"

    def __init__(self, products: Sequence[Packed]) -> None:
        self.products = products
        self._bytes = [data for product in products for data in product.data]
        headers = [header for product in products for header in product.headers]
        super().__init__([entry for product in products for entry in product.entries], identity="", headers=headers)
        self.catch_up(self.length_bytes)
        self.identity = self.stream_checksum()

    def check(self) -> None:
        """Nothing to check: the bytes are here."""

    def checksum(self) -> str:
        """A batch is no product."""
        return ""

    def _data(self, number: int, start: int, stop: int) -> Iterator[memoryview]:
        data = memoryview(self._bytes[number])
        for at in range(start, stop, self.block_bytes):
            yield data[at : min(at + self.block_bytes, stop)]


def pack_product(path: str, destination: str, *, is_directory: bool) -> Packed:
    """Read a small product for a batch. Raises LocalProblem."""
    if not is_directory:
        data = read_small(path)
        return Packed(path, destination, [Entry(destination, len(data))], [data], str(_digest(data)))
    members = scan_members(path)
    data = [b"", *(b"" if member.is_directory else read_small(member.source) for member in members)]
    if tree_identity(scan_members(path)) != tree_identity(members) or any(
        len(found) != member.size_bytes for found, member in zip(data[1:], members, strict=True)
    ):
        raise LocalChanged(path)
    files = [_digest(found).digest for found, member in zip(data[1:], members, strict=True) if not member.is_directory]
    checksum = Checksum(DEFAULT_ALGORITHM, combine_directory_digests(DEFAULT_ALGORITHM, files))
    top = Entry(destination, is_directory=True, is_product=True)
    return Packed(path, destination, [top, *entries_of(members, destination)], data, str(checksum))


def entries_of(members: Sequence[Member], name: str) -> list[Entry]:
    """Entries of a directory product's members below a directory called `name`."""
    return [Entry(f"{name}/{member.path}", member.size_bytes, member.is_directory) for member in members]


def _digest(data: bytes) -> Checksum:
    hasher = new_hasher(DEFAULT_ALGORITHM)
    hasher.update(data)
    return Checksum(DEFAULT_ALGORITHM, hasher.hexdigest())


def _padding(size_bytes: int) -> int:
    return -size_bytes % BLOCK


def _part(data: bytes, position: int, start: int, stop: int) -> Iterator[tuple[memoryview, int]]:
    """What of `data`, which lies at `position` of the stream, falls between `start` and `stop`; no member's bytes."""
    found = memoryview(data)[max(start - position, 0) : max(stop - position, 0)]
    if found:
        yield found, -1
