"""What a peer holds of our files, by its own word, and whether that is the same as ours. Nothing is changed here.

A site of our kind answers for many files at once and tells their digests (feature `holdings`). Of any other the file
is searched by name, as the protocol has it, and checksums are compared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from files.models import File, Instance
from hera_librarian.checksums import parse_checksum
from hera_librarian.features import HOLDINGS
from hera_librarian.models.clone import CloneHoldingsRequest, CloneHoldingsResponse
from hera_librarian.models.search import FileSearchRequest, FileSearchResponses
from hera_librarian.models.types import MAX_ID
from librarian.common.errors import ArchiveError
from librarian.common.texts import UNPRINTABLE
from network.errors import NotALibrarian, PeerAnswered
from network.models import Peer
from network.services.peering.calls import call_peer
from network.services.sending.portions import portions

FILES_AT_ONCE = 1_000
MOST_CHARACTERS = 1_000
MOST_CHECKSUMS = 4  # of one file; a peer that tells more of them is not compared with
NOTHING_FOUND = "No files found."  # the protocol's words; anything else under 404 is a failure


@dataclass(frozen=True)
class Word:
    """What a peer says of one file. Without `checksums` it does not know the name."""

    file: File
    store_ids: tuple[int, ...] = ()
    checksums: tuple[str, ...] = ()
    digest: str = ""
    size_bytes: int | None = None

    @property
    def is_known(self) -> bool:
        """True if the peer has a file of that name, with or without copies."""
        return bool(self.checksums)

    @property
    def found(self) -> str:
        """Its checksums, for people: one line, whatever the peer sent."""
        return UNPRINTABLE.sub("\ufffd", ", ".join(self.checksums[:MOST_CHECKSUMS]))[:MOST_CHARACTERS]

    @cached_property
    def is_same(self) -> bool | None:
        """Whether it is the same file as ours; None when that cannot be compared at present."""
        if self.size_bytes is not None and self.size_bytes != self.file.size_bytes:
            return False
        if self.digest:
            return self.digest == self.file.digest
        is_unclear = not self.checksums
        for checksum in self.checksums[:MOST_CHECKSUMS]:  # each of another algorithm reads our bytes once more
            answer = agrees(self.file, checksum)
            if answer is False:
                return False
            is_unclear |= answer is None
        return None if is_unclear or len(self.checksums) > MOST_CHECKSUMS else True

    @property
    def is_held(self) -> bool:
        """True if the peer has at least one copy of the same bytes."""
        return bool(self.store_ids) and self.is_same is True


def ask_what_is_held(peer: Peer, files: Sequence[File]) -> Iterator[Word]:
    """The peer's word on each file, in their order. Raises PeerProblem; what was yielded before holds."""
    asks_at_once = HOLDINGS in peer.features
    for batch in portions(files, FILES_AT_ONCE):
        if asks_at_once:
            try:
                yield from _ask_many(peer, batch)
                continue
            except (PeerAnswered, NotALibrarian) as problem:
                if isinstance(problem, PeerAnswered) and problem.http_status not in (404, 405, 422):
                    raise
                asks_at_once = False  # it is another kind of Librarian by now
        for file in batch:
            yield ask_by_name(peer, file)


def ask_by_name(peer: Peer, file: File) -> Word:
    """The peer's word on one file as every Librarian can tell it. Raises PeerProblem."""
    try:
        answer = call_peer(peer, "v2/search/file", FileSearchRequest(name=file.name), FileSearchResponses)
    except PeerAnswered as problem:
        if problem.http_status == 404 and problem.content.get("reason") == NOTHING_FOUND:
            return Word(file)
        raise
    found = [each for each in answer.root if each.name == file.name]
    stores = [
        copy.store_id
        for each in found
        for copy in each.instances
        if copy.available and copy.store_id is not None and 0 <= copy.store_id <= MAX_ID
    ]
    return Word(
        file,
        store_ids=tuple(dict.fromkeys(stores)),
        checksums=tuple(dict.fromkeys(each.checksum for each in found)),
        size_bytes=found[0].size if found else None,
    )


def agrees(file: File, checksum: str) -> bool | None:
    """Whether a checksum that somebody else names is that of our file; None when it cannot be told now.

    One of another algorithm than ours is compared with what our bytes give, read from a good copy.
    """
    try:
        theirs = parse_checksum(checksum)
    except ValueError:
        return None
    ours = parse_checksum(file.checksum)
    if theirs.algorithm == ours.algorithm:
        return theirs == ours
    if theirs.algorithm == "sha256" and not file.is_directory:
        return theirs.digest == file.digest
    computed = _computed(file, theirs.algorithm)
    return None if computed is None else theirs.digest == computed


def _computed(file: File, algorithm: str) -> str | None:
    for instance in Instance.objects.readable().filter(file=file).select_related("store"):
        try:
            content = instance.store.backend.digest(instance.path, [algorithm])
        except (ArchiveError, OSError):
            continue
        if content.digest == file.digest:
            return content.checksums[algorithm]
    return None


def _ask_many(peer: Peer, files: Sequence[File]) -> list[Word]:
    message = CloneHoldingsRequest(names=[file.name for file in files])
    answer = call_peer(peer, "v2/clone/holdings", message, CloneHoldingsResponse, timeout_seconds=120.0)
    said = {holding.name: holding for holding in answer.holdings}
    words = []
    for file in files:
        holding = said.get(file.name)
        if holding is None:
            words.append(Word(file))
            continue
        ids = tuple(dict.fromkeys(each for each in holding.store_ids if 0 <= each <= MAX_ID))
        words.append(Word(file, ids, checksums=(holding.checksum,), digest=holding.digest, size_bytes=holding.size))
    return words
