"""What lies at the places of a bucket: found, measured, read whole or in part, hashed and listed."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from stores.backends import staging
from stores.backends.base import ChangedWhileRead, Content, Entry, Progress
from stores.backends.pipe import INLINE_BYTES, Digested, digest_bytes, run_through
from stores.backends.places import CORNER, check_member_name
from stores.backends.s3 import fetching, treeobject
from stores.backends.s3.bucket import Bucket, Seen
from stores.backends.s3.layout import CLAIMS, claim_key
from stores.backends.s3.treeobject import Tree
from stores.backends.s3.uploading import WORKERS
from stores.backends.sorting import SortedLines
from stores.backends.trees import TreeTally


@dataclass(frozen=True, slots=True)
class Loose:
    """Objects below a place that somebody else wrote there, without the object that makes them a product of ours."""


Found = Seen | Tree | Loose


def find(bucket: Bucket, place: str) -> Found | None:
    """What lies at a place; None for nothing, and for a product that is not whole."""
    flat = bucket.look(place)
    return flat if flat is not None else find_tree(bucket, place)


def find_tree(bucket: Bucket, place: str) -> Tree | Loose | None:
    """The directory product at a place."""
    tree = treeobject.look(bucket, place)
    if tree is not None:
        return tree
    if not bucket.anything_below(f"{place}/") or bucket.look(claim_key(place)) is not None:
        return None
    return Loose()


def size_of(bucket: Bucket, place: str, found: Found) -> int:
    """Size in bytes of what was found at a place."""
    if isinstance(found, Loose):
        return sum(entry.size_bytes for entry in bucket.list(f"{place}/"))
    return found.size_bytes


# --- Hashing ---


def digest_flat(bucket: Bucket, seen: Seen, algorithms: list[str], progress: Progress | None) -> Content:
    """Read every byte of a flat file."""
    return staging.flat_content(_read(bucket, seen, staging.with_sha256(algorithms), progress), algorithms)


def digest_tree(
    bucket: Bucket, place: str, found: Tree | Loose, algorithms: list[str], progress: Progress | None
) -> Content:
    """Read every byte below a place, as it is listed now; what is empty only the tree object can tell."""
    tally = TreeTally(algorithms)
    lines = SortedLines()
    for entry in bucket.list(f"{place}/"):
        name = entry.key.removeprefix(f"{place}/")
        if _is_place(entry.key):
            lines.add(_checked_path(name) + b"\0f")
    for member in treeobject.members(bucket, found) if isinstance(found, Tree) else ():
        if member.kind == "empty_directory":
            lines.add(member.path.encode() + b"\0d")
    for path, digested in _in_order(bucket, place, lines, tally.hashed, progress):
        if digested is None:
            tally.add_empty_directory(path)
        else:
            tally.add_file(path, digested)
    return tally.content()


def _checked_path(path: str) -> bytes:
    *above, name = path.split("/")
    return check_member_name(name, "".join(f"{part}/" for part in above).encode())


def _in_order(
    bucket: Bucket, place: str, lines: Iterable[bytes], algorithms: list[str], progress: Progress | None
) -> Iterator[tuple[bytes, Digested | None]]:
    """Members with what reading them found. Small ones are read several at a time, ahead of their turn."""
    waiting: deque[tuple[bytes, Future[Digested | Seen] | None]] = deque()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="librarian-s3")

    def begun(path: bytes) -> Future[Digested | Seen]:
        return pool.submit(_read_small, bucket, f"{place}/{path.decode()}", algorithms)

    def finished(future: Future[Digested | Seen]) -> Digested:
        found = future.result()
        if isinstance(found, Seen):
            return _read(bucket, found, algorithms, progress)
        if progress is not None:
            progress(found.size_bytes)
        return found

    try:
        for line in lines:
            path, _, kind = line.rpartition(b"\0")
            waiting.append((path, begun(path) if kind == b"f" else None))
            if len(waiting) > 2 * WORKERS:
                path, future = waiting.popleft()
                yield path, None if future is None else finished(future)
        for path, future in waiting:
            yield path, None if future is None else finished(future)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read_small(bucket: Bucket, key: str, algorithms: list[str]) -> Digested | Seen:
    """Read an object unless it is large, which is left to the caller, whose progress is told by one thread."""
    seen = bucket.look(key)
    if seen is None:
        raise ChangedWhileRead(f"{bucket.address(key)} went away while its product was read.")
    return seen if seen.size_bytes > INLINE_BYTES else _read(bucket, seen, algorithms, None)


def _read(bucket: Bucket, seen: Seen, algorithms: list[str], progress: Progress | None) -> Digested:
    source = fetching.blocks(bucket, seen)
    if seen.size_bytes > INLINE_BYTES:
        return run_through(fetching.Filler(source), algorithms, progress=progress)
    data = b"".join(source)
    if progress is not None:
        progress(len(data))
    return Digested(len(data), digest_bytes(data, algorithms))


# --- Listing ---


def entries(bucket: Bucket, below: str) -> Iterator[Entry]:
    """Every file of the store, streaming; what belongs to a product that is not whole is left out."""
    unfinished = _unfinished(bucket)
    for found in bucket.list(f"{below}/" if below else ""):
        if found.key.startswith(f"{CORNER}/") or not _is_place(found.key):
            continue
        if unfinished and any(found.key[:at] in unfinished for at in _slashes(found.key)):
            continue
        yield Entry(found.key, found.size_bytes, int(found.modified.timestamp() * 10**9))


def _unfinished(bucket: Bucket) -> set[str]:
    claimed = (entry.key.removeprefix(CLAIMS) for entry in bucket.list(CLAIMS))
    return {place for place in claimed if treeobject.look(bucket, place) is None}


def _slashes(key: str) -> Iterator[int]:
    return (at for at, letter in enumerate(key) if letter == "/")


def _is_place(key: str) -> bool:
    """False for what no file system could hold, such as the empty objects by which some programs show directories."""
    return all(part not in ("", ".", "..") for part in key.split("/"))
