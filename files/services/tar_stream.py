"""A directory product as one tar stream (POSIX pax), the same bytes from every copy and every site.

Members come in the order of the tree digest below a directory that bears the product's name. Modes, owners and times
do not belong to a product (design section 2), so they are fixed; the time is that of the file's first registration.
Memory does not grow with the product, and no query is open while bytes are sent.
"""

import tarfile
from collections.abc import Iterator

from files.models import File, FileMember, Instance
from files.services.download import read_exactly

_BATCH_MEMBERS = 1000
_BLOCK = tarfile.BLOCKSIZE
_RECORD = tarfile.RECORDSIZE


def tar_size(file: File) -> int:
    """Length of the whole stream in bytes."""
    headers = len(_directory_header(file, ""))
    total = headers + sum(len(_header(file, member)) + _padded(member.size_bytes) for member in _members(file))
    return total + _end_bytes(total)


def tar_blocks(instance: Instance) -> Iterator[bytes]:
    """The stream itself, from one copy. Raises BrokenRead in its midst when bytes are missing."""
    file = instance.file
    header = _directory_header(file, "")
    written = len(header)
    yield header
    for member in _members(file):
        header = _header(file, member)
        yield header
        yield from read_exactly(instance, member.path, offset=0, length=member.size_bytes)
        padding = _padded(member.size_bytes) - member.size_bytes
        if padding:
            yield b"\0" * padding
        written += len(header) + member.size_bytes + padding
    yield b"\0" * _end_bytes(written)


def _members(file: File) -> Iterator[FileMember]:
    last = 0
    while batch := list(file.members.filter(pk__gt=last).order_by("pk")[:_BATCH_MEMBERS]):
        yield from batch
        last = batch[-1].pk


def _header(file: File, member: FileMember) -> bytes:
    if member.kind == FileMember.Kind.EMPTY_DIRECTORY:
        return _directory_header(file, member.path)
    return _bytes(file, f"{file.base_name}/{member.path}", size=member.size_bytes)


def _directory_header(file: File, path: str) -> bytes:
    name = f"{file.base_name}/{path}" if path else file.base_name
    return _bytes(file, name, type=tarfile.DIRTYPE, mode=0o755)


def _bytes(file: File, name: str, *, size: int = 0, type: bytes = tarfile.REGTYPE, mode: int = 0o644) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.mode = size, type, mode
    entry.mtime = int(file.first_registered_at.timestamp())
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK) * _BLOCK


def _end_bytes(written: int) -> int:
    """Two empty blocks, and what fills the last record."""
    return -(-(written + 2 * _BLOCK) // _RECORD) * _RECORD - written
