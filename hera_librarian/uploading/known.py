"""Whether the archive holds a product already: one question before much is sent, and one reading of the local bytes."""

import hashlib
from typing import Any
from urllib.parse import quote

from hera_librarian.checksums import DEFAULT_ALGORITHM, Checksum, parse_checksum
from hera_librarian.exceptions import LibrarianHTTPError
from hera_librarian.transport import Transport
from hera_librarian.uploading.identity import Member
from hera_librarian.uploading.problems import Refused
from hera_librarian.uploading.sources import Source, read_range
from hera_librarian.uploading.tar_streams import TreeSource


def find_known(transport: Transport, destination: str) -> dict[str, Any] | None:
    """What the archive knows of the name, in the words of version 3; None if it knows nothing."""
    try:
        found = transport.request("GET", f"v3/files/{quote(destination)}/").json()
    except LibrarianHTTPError as problem:
        if problem.status_code == 404:
            return None
        raise
    except ValueError:
        return None
    return found if isinstance(found, dict) and "size_bytes" in found else None


def is_same(known: dict[str, Any], source: Source) -> bool:
    """Whether these very bytes are held under the name. Raises Refused (`name_taken`) when others are.

    False when no copy is left there: the same bytes may then come again. Reads the local bytes only when kind and
    size agree; raises LocalProblem when that fails.
    """
    kind = "directory" if isinstance(source, TreeSource) else "flat"
    if known.get("kind", kind) != kind or known["size_bytes"] != source.size_bytes:
        raise _taken(known)
    if not known.get("local_count"):
        return False
    same = _tree_agrees(known, source) if isinstance(source, TreeSource) else _file_agrees(known, source)
    source.check()
    if not same:
        raise _taken(known)
    return True


def _taken(known: dict[str, Any]) -> Refused:
    return Refused(
        "name_taken",
        f"File {known.get('name', '')} already exists on librarian.",
        "The archive holds other bytes under this name: give the new version a new name.",
        answer={"same_content": False},
    )


def _file_agrees(known: dict[str, Any], source: Source) -> bool:
    """Hashes the source as a side effect, so that its checksum is known to the caller."""
    try:
        declared = parse_checksum(str(known.get("checksum", "")))
    except ValueError:
        declared = Checksum("sha256", str(known.get("digest", "")))
    if declared.algorithm == DEFAULT_ALGORITHM:
        source.catch_up(source.length_bytes)
        return source.checksum() == str(declared)
    hasher = hashlib.sha256()
    for block in source.blocks(0, source.length_bytes):
        hasher.update(block)
    return hasher.hexdigest() == known.get("digest")


def _tree_agrees(known: dict[str, Any], source: TreeSource) -> bool:
    """By the tree digest, since the wire's checksum of a directory binds no names."""
    tree = hashlib.sha256()
    for member in source.members:
        path = member.path.encode()
        if member.is_directory:
            tree.update(b"d " + path + b"\0")
        else:
            tree.update(b"f %d %s %s\0" % (member.size_bytes, _sha256(member).encode(), path))
    return tree.hexdigest() == known.get("digest")


def _sha256(member: Member) -> str:
    hasher = hashlib.sha256()
    for block in read_range(member.source, member.identity, 0, member.size_bytes):
        hasher.update(block)
    return hasher.hexdigest()
