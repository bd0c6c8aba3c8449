"""From where a copy is read: the choice among the copies of a file, its bytes, and what becomes of a bad one."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.conf import settings

from files.models import Condition, File, FileMember, Instance, Presence
from files.services.copying.outcomes import AllCopiesBad
from files.services.download import BrokenRead, read_exactly
from files.services.findings import Finding, record_bad_copy
from files.services.registration import is_same_content
from librarian.common.errors import ArchiveError, Unavailable
from stores.backends.base import BLOCK_BYTES, MissingBytes, TreeEntry
from stores.models import Store

CALLER = "copying"
MEMBER_PAGE = 2_000
BAD = (Condition.MISSING, Condition.SHORT, Condition.UNREADABLE, Condition.DIFFERENT)


class SourceFailed(Exception):
    """A copy could not be read to its end; what the bytes themselves proved is written down already."""


@dataclass(slots=True)
class Sources:
    """Copies of one file that this host can read, the best first; and why others are no use."""

    readable: list[Instance] = field(default_factory=list)
    away: list[str] = field(default_factory=list)

    def refusal(self, file: File) -> ArchiveError:
        """Why no copy was made of any of them."""
        if self.away:
            return Unavailable(
                f"No copy of {file.name} can be read now: {'; '.join(self.away)}.",
                remedy="Bring the store back; it goes on by itself.",
            )
        return AllCopiesBad(f"No good copy of {file.name} is here any more.")


def sources_of(files: Iterable[File]) -> dict[int, Sources]:
    """What each file can be read from, by its key: one query for however many files.

    A directory of this machine comes before what is far, a copy seen good before one never looked at.
    """
    by_key = {file.pk: file for file in files}
    found = {key: Sources() for key in by_key}
    stores: dict[int, Store] = {}
    present = Instance.objects.filter(file__in=by_key, presence=Presence.PRESENT).exclude(condition__in=BAD)
    for instance in present.select_related("store").order_by("pk"):
        instance.file = by_key[instance.file_id]
        instance.store = stores.setdefault(instance.store_id, instance.store)  # one backend, not one a copy
        sources = found[instance.file_id]
        if why := _why_not(instance.store):
            sources.away.append(why)
        else:
            sources.readable.append(instance)
    for sources in found.values():
        sources.readable.sort(key=_rank)
    return found


def _rank(instance: Instance) -> tuple[bool, bool, int]:
    return (instance.store.kind != Store.Kind.POSIX, instance.condition != Condition.GOOD, instance.pk)


def _why_not(store: Store) -> str:
    if not store.enabled:
        return f"store {store.name} is switched off"
    if not store.available:
        return f"store {store.name} is not available"
    if not store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
        return f"store {store.name} is not reached from this host"
    return ""


# --- Bytes ------------------------------------------------------------------------------------------------------------


class ByteStream:
    """Blocks as a file to read from. A read that fails is remembered: it speaks against the source, not the target."""

    def __init__(self, blocks: Callable[[], Iterator[bytes]], failures: list[Exception]) -> None:
        self._blocks = blocks()
        self._failures = failures
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, all that is left if negative; empty at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(BLOCK_BYTES), b""))
        while not self._rest:
            block = self._next()
            if block is None:
                return b""
            self._rest = memoryview(block)
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)

    def _next(self) -> bytes | None:
        try:
            return next(self._blocks, None)
        except (BrokenRead, ArchiveError, OSError) as problem:
            self._failures.append(problem)
            raise SourceFailed(str(problem)) from problem

    def close(self) -> None:
        self._blocks.close()


@contextmanager
def opened(instance: Instance, failures: list[Exception]) -> Iterator[ByteStream]:
    """A flat copy as a stream of exactly its bytes."""
    stream = ByteStream(lambda: read_exactly(instance, "", offset=0, length=instance.file.size_bytes), failures)
    try:
        yield stream
    finally:
        stream.close()


def entries_of(instance: Instance, failures: list[Exception]) -> Iterator[TreeEntry]:
    """The entries of a directory copy, each opened when its turn comes."""
    for member in _members(instance.file):
        if member.kind == FileMember.Kind.EMPTY_DIRECTORY:
            yield TreeEntry(member.path, "directory")
        else:
            yield TreeEntry(member.path, "file", open=_opener(instance, member, failures))


def _members(file: File) -> Iterator[FileMember]:
    """In pages: a cursor left open while bytes go would keep SQLite from renewing the claim ("database is locked")."""
    last = 0
    while page := list(file.members.filter(pk__gt=last).order_by("pk")[:MEMBER_PAGE]):
        yield from page
        last = page[-1].pk


def _opener(instance: Instance, member: FileMember, failures: list[Exception]) -> Callable[[], "contextmanager"]:
    @contextmanager
    def open_member() -> Iterator[ByteStream]:
        blocks = lambda: read_exactly(instance, member.path, offset=0, length=member.size_bytes)  # noqa: E731
        stream = ByteStream(blocks, failures)
        try:
            yield stream
        finally:
            stream.close()

    return open_member


# --- A copy under suspicion -------------------------------------------------------------------------------------------


def is_proven_good(instance: Instance, progress: Callable[[int], None]) -> bool | None:
    """Read a copy once more where it lies: True if it is what it should be, False if not, None if it cannot be read.

    A bad one is known as such from then on.
    """
    try:
        content = instance.store.backend.digest(instance.path, ["sha256"], progress)
    except MissingBytes as problem:
        return False if _record(instance, Condition.MISSING, problem.reason) else None
    except ArchiveError:
        return None
    if is_same_content(instance.file, content):
        return True
    size_bytes = instance.file.size_bytes
    condition = Condition.SHORT if content.size_bytes < size_bytes else Condition.DIFFERENT
    sentence = (
        f"it has {content.size_bytes} bytes with the digest {content.digest}; "
        f"the file has {size_bytes} with {instance.file.digest}."
    )
    return False if _record(instance, condition, sentence) else None


def _record(instance: Instance, condition: Condition, sentence: str) -> bool:
    return record_bad_copy(
        instance=instance, finding=Finding(condition, sentence), actor=CALLER, facts={"seen": sentence}
    )
