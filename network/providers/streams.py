"""A directory product as the tar stream in which the `http` provider sends it: its length beforehand, and any part.

The stream is made of what the catalogue says of the members, with fixed modes and times, so that it is the same at
every attempt and can be entered anywhere. Memory does not grow with the product.
"""

from collections.abc import Iterable, Iterator

from files.models import File, FileMember
from files.services.tar_stream import directory_header, end_of_tar, file_header, members_of, padded
from stores.backends.base import Member, StoreBackend
from stores.backends.sorting import MemberRecords

_TIME = 0  # of every entry: times do not belong to a product


class SourceChanged(Exception):
    """The copy is not what the catalogue says; the sentence tells what was found."""


def members_of_product(file: File) -> MemberRecords:
    """The entries of a directory product, read once and kept on disk when they are many; for `Parcel.members`."""
    records = MemberRecords()
    for member in members_of(file):
        if member.kind == FileMember.Kind.EMPTY_DIRECTORY:
            records.add(b"d %s\0" % member.path.encode())
        else:
            records.add(b"f %d %s %s\0" % (member.size_bytes, member.sha256.encode(), member.path.encode()))
    return records


def stream_bytes_of(file: File) -> int:
    """Length of what the `http` provider sends of a file; computed without reading its bytes."""
    return tar_length(file.base_name, members_of_product(file)) if file.is_directory else file.size_bytes


def tar_length(top: str, members: Iterable[Member]) -> int:
    """Length in bytes of the stream of a directory product called `top`."""
    written = len(_top_header(top))
    written += sum(len(_header(top, member)) + padded(member.size_bytes) for member in members)
    return written + len(end_of_tar(written))


def tar_part(
    backend: StoreBackend, place: str, *, top: str, members: Iterable[Member], start: int, stop: int
) -> Iterator[memoryview]:
    """The bytes of the stream from `start` to `stop`. Raises SourceChanged, and what the store raises."""
    header = _top_header(top)
    yield from _between(header, 0, start, stop)
    position = len(header)
    for member in members:
        header = _header(top, member)
        data_at = position + len(header)
        if data_at + padded(member.size_bytes) > start:
            yield from _between(header, position, start, stop)
            low, high = max(start - data_at, 0), min(stop - data_at, member.size_bytes)
            if low < high:
                yield from exactly(backend, place, member.path, offset=low, length=high - low)
            padding = bytes(padded(member.size_bytes) - member.size_bytes)
            yield from _between(padding, data_at + member.size_bytes, start, stop)
        position = data_at + padded(member.size_bytes)
        if position >= stop:
            return
    yield from _between(end_of_tar(position), position, start, stop)


def exactly(backend: StoreBackend, place: str, member: str, *, offset: int, length: int) -> Iterator[memoryview]:
    """So many bytes of a copy, or of one of its members. Raises SourceChanged when it has fewer."""
    left = length
    for block in backend.read(place, member, offset, length):
        left -= len(block)
        yield memoryview(block)
    if left:
        raise SourceChanged(f"{member or 'it'} ends {left} bytes early")


def _top_header(top: str) -> bytes:
    return directory_header(top, mtime=_TIME)


def _header(top: str, member: Member) -> bytes:
    name = f"{top}/{member.path}"
    if member.kind == "empty_directory":
        return directory_header(name, mtime=_TIME)
    return file_header(name, size_bytes=member.size_bytes, mtime=_TIME)


def _between(data: bytes, position: int, start: int, stop: int) -> Iterator[memoryview]:
    """What of `data`, which lies at `position` of the stream, falls between `start` and `stop`."""
    found = memoryview(data)[max(start - position, 0) : max(stop - position, 0)]
    if found:
        yield found
