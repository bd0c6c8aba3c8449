"""A directory product as one tar stream (POSIX pax), the same bytes from every copy and every site.

Members come in the order of the tree digest below a directory that bears the product's name. Modes, owners and times
do not belong to a product (design section 2), so they are fixed; the time is that of the file's first registration.
Memory does not grow with the product, and no query is open while bytes are sent. `archive_stream.py` puts many
products into one stream, made of the same pieces.
"""

import tarfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from django.db.models import Q

from files.models import File, FileMember, Instance
from files.services.download import read_exactly

_BATCH_MEMBERS = 1000
_BLOCK = tarfile.BLOCKSIZE
_RECORD = tarfile.RECORDSIZE


# --- One directory product --------------------------------------------------------------------------------------------


def tar_size(file: File) -> int:
    """Length of the whole stream in bytes."""
    headers = len(directory_header(file.base_name, mtime=mtime_of(file)))
    total = headers + sum(
        len(_member_header(file, member, file.base_name)) + padded(member.size_bytes) for member in members_of(file)
    )
    return total + _end_length(total)


def tar_blocks(instance: Instance) -> Iterator[bytes]:
    """The stream itself, from one copy. Raises BrokenRead in its midst when bytes are missing."""
    file = instance.file
    written = 0
    for block in product_blocks(instance, file.base_name, members_of(file)):
        written += len(block)
        yield block
    yield end_of_tar(written)


def product_blocks(instance: Instance, top: str, members: Iterable[FileMember]) -> Iterator[bytes]:
    """A directory product as its tree below `top`, from one copy, without the end of an archive."""
    file = instance.file
    yield directory_header(top, mtime=mtime_of(file))
    for member in members:
        yield _member_header(file, member, top)
        yield from padded_blocks(
            read_exactly(instance, member.path, offset=0, length=member.size_bytes), member.size_bytes
        )


def members_of(*files: File) -> Iterator[FileMember]:
    """Entries of directory products, file by file as given by rising key, in the order of their tree digests.

    Fetched in batches, so that many small products cost few queries; none is open between two entries.
    """
    keys, last = sorted(file.pk for file in files), 0
    while keys:
        later = Q(file__in=keys[1:]) | Q(file=keys[0], pk__gt=last)
        batch = list(FileMember.objects.filter(later).order_by("file_id", "pk")[:_BATCH_MEMBERS])
        yield from batch
        if len(batch) < _BATCH_MEMBERS:
            return
        last = batch[-1].pk
        keys = keys[bisect_left(keys, batch[-1].file_id) :]


def mtime_of(file: File) -> int:
    """The time that every entry of a file carries, in seconds since 1970."""
    return int(file.first_registered_at.timestamp())


def _member_header(file: File, member: FileMember, top: str) -> bytes:
    name = f"{top}/{member.path}"
    if member.kind == FileMember.Kind.EMPTY_DIRECTORY:
        return directory_header(name, mtime=mtime_of(file))
    return file_header(name, size_bytes=member.size_bytes, mtime=mtime_of(file))


# --- Pieces of any archive --------------------------------------------------------------------------------------------


def file_header(name: str, *, size_bytes: int, mtime: int) -> bytes:
    """What stands before the bytes of a file of this name."""
    return _header(name, tarfile.REGTYPE, 0o644, size_bytes, mtime)


def directory_header(name: str, *, mtime: int) -> bytes:
    """A directory of this name."""
    return _header(name, tarfile.DIRTYPE, 0o755, 0, mtime)


def padded_blocks(blocks: Iterable[bytes], size_bytes: int) -> Iterator[bytes]:
    """`size_bytes` of content, and what fills the last block."""
    yield from blocks
    if padding := padded(size_bytes) - size_bytes:
        yield b"\0" * padding


def padded(size_bytes: int) -> int:
    """What a content of this size takes in an archive."""
    return -(-size_bytes // _BLOCK) * _BLOCK


def end_of_tar(written: int) -> bytes:
    """The end of an archive of which so many bytes are written."""
    return b"\0" * _end_length(written)


def _header(name: str, kind: bytes, mode: int, size_bytes: int, mtime: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.mode, entry.mtime = size_bytes, kind, mode, mtime
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _end_length(written: int) -> int:
    """Two empty blocks, and what fills the last record."""
    return -(-(written + 2 * _BLOCK) // _RECORD) * _RECORD - written
