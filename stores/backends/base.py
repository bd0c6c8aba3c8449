"""The contract of a store's backend. `tests/stores/contract.py` is its other half: every kind passes it.

A *token* names one delivery in staging (12 characters); its bytes lie at `<staging>/<token>/item`. A *place* is where
committed bytes lie, a relative POSIX path below the store's root. Backends know bytes and places, never files or rows.
"""

import base64
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Literal

from librarian.common.errors import ArchiveError, Conflict, Refused

if TYPE_CHECKING:
    from stores.models import Store

Kind = Literal["flat", "directory"]
Part = Literal["item", "received"]  # of a delivery: the product itself, or a tar stream that holds it
TOKEN = re.compile(r"[a-z0-9]{12}")
BLOCK_BYTES = 2**20
Progress = Callable[[int], None]  # called with the number of bytes just read


def new_token() -> str:
    """A fresh name for a delivery in staging: 12 characters, never derived from a file's name."""
    return base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12]


class PlaceOccupied(Conflict):
    """Other bytes lie at the place; they were not touched."""

    code = "place_occupied"


class UnsafeProduct(ArchiveError):
    """The product holds something that cannot be archived: a link out of it, a device, an illegal name."""

    code = "unsafe_product"
    remedy = "Replace links that lead out of the product by the files they name; remove devices, sockets and pipes."


class MissingBytes(ArchiveError):
    """Nothing lies where bytes were expected, on a store that is itself available."""

    code = "missing_bytes"


class UnreadableSource(ArchiveError):
    """A product outside our stores cannot be read: permissions, or an error of its disk."""

    code = "source_unreadable"
    remedy = "Look after the disk that the product lies on, then deliver it again."


class ChangedWhileRead(ArchiveError):
    """The bytes were written to while they were read."""

    code = "changed_while_read"
    remedy = "Deliver the file once its writer has closed it."
    passing = True


@dataclass(frozen=True, slots=True)
class Availability:
    """What a look at the store found; `reason` and `remedy` say what does not work."""

    available: bool
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Space:
    """Capacity and free space in bytes, as an unprivileged writer sees it."""

    capacity_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a directory product: a file with its SHA-256, or an empty directory (size 0, no digest)."""

    kind: Literal["file", "empty_directory"]
    path: str
    size_bytes: int = 0
    sha256: str = ""


@dataclass(slots=True)
class Content:
    """What one read of a product's bytes found.

    `checksums` maps each algorithm that was asked for to its hex digest (for a directory, the wire's rule). `digest`
    is the SHA-256 of a flat file or the tree digest of a directory (docs/glossary.md). `members` yields the entries
    of a directory in the order of the tree digest; it may be iterated more than once and does not hold them in memory.
    """

    kind: Kind
    size_bytes: int
    digest: str
    checksums: dict[str, str]
    members: Iterable[Member] = ()
    member_count: int = 0


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a directory product that arrives as a stream.

    A `link` is symbolic, with its `target` as it stands there; `same` is a hard link to the member `target`, which
    came before. `open` gives the bytes of a file.
    """

    path: str
    kind: Literal["file", "directory", "link", "same"]
    target: str = ""
    open: Callable[[], AbstractContextManager[IO[bytes]]] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a listing of the store found: a regular file with its place, size and time of change."""

    place: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class RecordLine:
    """One committed product as the store's own commit record tells it: enough to rebuild its catalogue rows.

    `facts` holds name, kind, size_bytes, checksum, digest, uploader, source, obsid, deletion_policy, registered_at,
    first_registered_at, member_count; members are lines of their own kind that follow it.
    """

    place: str
    facts: dict[str, Any] = field(default_factory=dict)


class StoreBackend(ABC):
    """How one kind of store holds bytes. Methods raise StoreUnavailable when the store itself is away.

    "Could not look" is never reported as missing or different.
    """

    # False where bytes get their place by another copy than the one that was read: nobody has read them there yet.
    places_what_was_read = True

    def __init__(self, store: "Store") -> None:
        self.store = store

    # --- The store itself ---

    @staticmethod
    @abstractmethod
    def check_configuration(configuration: dict[str, Any]) -> list[str]:
        """Sentences that say what is wrong with a configuration; empty when it is valid."""

    @abstractmethod
    def initialise(self) -> None:
        """Make the store's directories and write our marker. Refuses a place that carries another store's marker."""

    @abstractmethod
    def carries_marker(self) -> bool:
        """True if the configured place carries a marker, ours or another store's. Raises StoreUnavailable."""

    @abstractmethod
    def check(self) -> Availability:
        """Look: mounted, writable, our marker. An empty mount point is unavailable, not an empty store."""

    @abstractmethod
    def space(self) -> Space:
        """Capacity and free space; the smaller of staging and root where they lie on different file systems."""

    def holding(self) -> AbstractContextManager[None]:
        """Keep what every call needs (an open directory, a connection) for all calls inside; for batches.

        The availability of the store is then looked at once, on entering.
        """
        return nullcontext()

    # --- Bytes in ---

    @abstractmethod
    def stage(self, token: str, *, private: bool = False) -> str:
        """Make the staging directory of `token` and return the location of its item (at most 256 characters).

        A `private` one is for bytes that only this server writes; nobody else may look in.
        """

    @abstractmethod
    def item_location(self, token: str) -> str:
        """Location of the staged item of `token`, as `stage` returned it."""

    @abstractmethod
    def write_item(
        self, token: str, source: IO[bytes], algorithms: Iterable[str], progress: Progress | None = None
    ) -> Content:
        """Stream a flat item into staging, hashing it on the way; leaves it unsynced."""

    @abstractmethod
    def take_over(self, token: str, part: Part, *, writer: str, durable_bytes: int) -> int:
        """Make `writer` the only one who may append to a part of a private delivery; returns its size, durable now.

        `durable_bytes` of it were known to be on disk before; more counts only where no power cut can have come since.
        """

    @abstractmethod
    def append(
        self,
        token: str,
        part: Part,
        source: IO[bytes],
        *,
        writer: str,
        at_bytes: int,
        hashers: Mapping[str, Any],
        on_durable: Callable[[int], None],
        accept: Callable[[int], bool] | None = None,
    ) -> int:
        """Stream bytes behind the first `at_bytes` of a part; returns how many were kept. Leaves them unsynced.

        `hashers` (by algorithm) see every byte; they are worthless when this raises. `on_durable` is told now and then
        how many bytes of the part are on disk. With `accept` nothing of it counts before that, given the number of
        bytes that came, says so: all is kept or nothing, also when this process dies or another takes over before.
        Raises LostRace, without having written, once another took over.
        """

    @abstractmethod
    def part_size(self, token: str, part: Part) -> int:
        """Bytes of a part that have arrived; 0 when there are none."""

    @abstractmethod
    def open_part(self, token: str, part: Part) -> AbstractContextManager[IO[bytes]]:
        """A part for reading, seekable. Raises MissingBytes."""

    @abstractmethod
    def keep_item(self, token: str) -> int:
        """Settle a flat item of a private delivery, hashed as it arrived; returns its size. Raises MissingBytes."""

    @abstractmethod
    def write_tree(
        self,
        token: str,
        entries: Iterable[TreeEntry],
        algorithms: Iterable[str],
        progress: Progress | None = None,
        *,
        limit_bytes: int | None = None,
    ) -> Content:
        """Write a directory item from its entries, then read it once; leaves it unsynced.

        The whole tree appears at once: after a crash there is no item, or all of it. `progress` is called while it is
        written and again while it is read. Raises UnsafeProduct, also for a product whose links make it larger than
        `limit_bytes`.
        """

    @abstractmethod
    def copy_in(self, token: str, source: str, algorithms: Iterable[str], progress: Progress | None = None) -> Content:
        """Copy a local file or directory tree into staging, hashed in the same pass; leaves it unsynced.

        Raises UnsafeProduct, ChangedWhileRead, MissingBytes (no such source), StoreFull.
        """

    @abstractmethod
    def adopt(
        self, token: str, algorithms: Iterable[str], progress: Progress | None = None, *, fresh: bool = False
    ) -> Content:
        """Take what a client left at the staging location: hashed where it lies if only the server's user can have
        written it, else copied inside staging in the same pass (its writer may still hold it open).

        With `fresh` the digests are those of the bytes as they lie on the disk: synced before, and read from it.
        """

    @abstractmethod
    def set_aside_item(self, token: str) -> str:
        """Move a staged item that is not what was declared into the store's quarantine; returns its place there.

        Repeating it after a crash gives the same place. Nothing is erased. Raises MissingBytes.
        """

    @abstractmethod
    def has_item(self, token: str) -> bool:
        """True if something lies at the staging location."""

    @abstractmethod
    def sync_items(self, tokens: Iterable[str]) -> None:
        """Make staged items durable; several share their fsyncs."""

    @abstractmethod
    def place_item(self, token: str, place: str) -> None:
        """Give the staged item its place; never overwrites. Raises PlaceOccupied. Repeating it after a crash at any
        point succeeds: an item that already has this place is recognised as itself."""

    @abstractmethod
    def sync_bytes(self, places: Iterable[str]) -> None:
        """Make bytes durable that somebody else wrote at their places (products taken in where they lie)."""

    @abstractmethod
    def sync_places(self, places: Iterable[str]) -> None:
        """Make the directory entries of the places durable."""

    @abstractmethod
    def is_placed(self, token: str, place: str) -> bool:
        """True if the bytes at `place` are the item of `token` (after a crash between two steps)."""

    @abstractmethod
    def drop_staging(self, token: str) -> None:
        """Remove the staging directory of `token`, whoever owns what is in it; harmless when it is gone."""

    @abstractmethod
    def list_staging(self) -> Iterator[tuple[str, float]]:
        """Tokens in staging and the time (Unix seconds) their content last changed."""

    # --- Bytes held ---

    @abstractmethod
    def locate(self, place: str) -> str:
        """The address people and other programs use for a place (for posix the absolute path)."""

    @abstractmethod
    def place_of(self, location: str) -> str | None:
        """The place of an address, or None when it lies outside this store or in its own corners."""

    @abstractmethod
    def stat(self, place: str) -> tuple[Kind, int]:
        """Kind and size in bytes of what lies there (size of a directory: sum of its files). Raises MissingBytes."""

    @abstractmethod
    def read(self, place: str, member: str = "", offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Blocks of a flat file, or of one member of a directory product, from `offset`. Raises MissingBytes."""

    @abstractmethod
    def digest(self, place: str, algorithms: Iterable[str], progress: Progress | None = None) -> Content:
        """Read every byte at `place` once and say what was found. Raises MissingBytes, UnsafeProduct."""

    @abstractmethod
    def list(self, below: str = "") -> Iterator[Entry]:
        """Every regular file below the root except our own corners, streaming, in the order of the file system."""

    @abstractmethod
    def set_aside(self, place: str, token: str) -> str:
        """Rename bytes found bad into the store's quarantine; returns their new place. Nothing is erased."""

    @abstractmethod
    def remove(self, place: str) -> None:
        """Erase the bytes at a place. Only the function that takes a certificate may call it (design section 9)."""

    # --- The papers of a disk that travels (stores.backends.places.PAPERS) ---

    def write_paper(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write one of the disk's own papers at its root, durably, whole or not at all; replaces an older one.

        `list` does not tell of them and `place_of` knows no place there. Raises Refused where a kind has none.
        """
        raise Refused(f"A store of kind {self.store.kind} has no papers of its own.")

    def read_paper(self, name: str, *, limit_bytes: int) -> bytes | None:
        """The first bytes of a paper; None if there is none."""
        return None

    # --- The commit record ---

    @abstractmethod
    def append_record(self, lines: Iterable[tuple[RecordLine, Iterable[Member]]]) -> None:
        """Append products to the store's own commit record and make it durable; one fsync for all."""

    @abstractmethod
    def read_record(self) -> Iterator[tuple[RecordLine, Iterator[Member]]]:
        """What the commit record tells, oldest first; a torn or changed line raises nothing but is reported through
        `record_problems`."""

    @property
    @abstractmethod
    def record_problems(self) -> "list[str]":
        """What the last `read_record` could not trust: sentences with segment and line number."""
