"""The object that tells the members of a directory product, in the records that its tree digest is taken of."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from stores.backends.base import Content, Member
from stores.backends.s3 import fetching
from stores.backends.s3.bucket import TOKEN, Bucket, Seen
from stores.backends.s3.layout import tree_key
from stores.backends.s3.uploading import upload

_BYTES = "librarian-tree-bytes"
_MEMBERS = "librarian-tree-members"
_DIGEST = "librarian-tree-digest"


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory product that is whole."""

    seen: Seen

    @property
    def token(self) -> str:
        """The delivery that it came with."""
        return self.seen.token

    @property
    def size_bytes(self) -> int:
        """Sum of the sizes of its files."""
        return int(self.seen.facts[_BYTES])


def look(bucket: Bucket, place: str) -> Tree | None:
    """The product at a place; None if there is none, or only a part of it."""
    seen = bucket.look(tree_key(place))
    return None if seen is None else Tree(seen)


def write(bucket: Bucket, place: str, token: str, content: Content) -> bool:
    """Make the objects below a place one product; False when another is there."""
    facts = {
        TOKEN: token,
        _BYTES: str(content.size_bytes),
        _MEMBERS: str(content.member_count),
        _DIGEST: content.digest,
    }
    digest = hashlib.sha256()
    with tempfile.TemporaryFile(prefix="librarian-tree-") as file:
        for member in content.members:
            record = _record(member)
            file.write(record)
            digest.update(record)
        file.flush()
        return upload(bucket, file.fileno(), tree_key(place), digest.hexdigest(), facts)


def members(bucket: Bucket, tree: Tree) -> Iterator[Member]:
    """What a tree tells, in the order of the tree digest."""
    rest = b""
    for block in fetching.blocks(bucket, tree.seen):
        *records, rest = (rest + block).split(b"\0")
        for record in records:
            yield _member(record)


def _record(member: Member) -> bytes:
    if member.kind == "empty_directory":
        return f"d {member.path}\0".encode()
    return f"f {member.size_bytes} {member.sha256} {member.path}\0".encode()


def _member(record: bytes) -> Member:
    if record.startswith(b"d "):
        return Member("empty_directory", record[2:].decode())
    _, size, digest, path = record.split(b" ", 3)
    return Member("file", path.decode(), int(size), digest.decode())
