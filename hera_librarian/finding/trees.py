"""Downloading one directory product: as one tar stream, and after a cut member by member.

It is unpacked into a `.part` directory beside its place, whose name bears the digest of the product, and moved into
place once the tree digest, computed from the bytes that arrived, is that of the catalogue.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hera_librarian.exceptions import LibrarianHTTPError
from hera_librarian.finding.content import Content
from hera_librarian.finding.flat import BAD, PART, fill, mismatch
from hera_librarian.finding.folder import Folder, beside, discard, refuse_unsafe, take_alone
from hera_librarian.finding.outcomes import ALREADY_HERE, DOWNLOADED
from hera_librarian.finding.progress import Tally
from hera_librarian.finding.tar_answer import Cut, TarAnswer
from hera_librarian.finding.tree_digest import Entry, TreeDigest, local_entries, paths_in
from hera_librarian.finding.unpacking import unpack

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient
    from hera_librarian.finding.results import FileResult

SMALL_MEMBER_BYTES = 64 * 1024  # a request for each of such members costs more than the whole stream again
MOST_STREAMS = 3
_OUT_OF_ORDER = "not a tree digest"  # of members that come in no order, or beside others: never the catalogue's


class TreeDownload:
    """One directory product on its way to its place.

    Attributes
    ----------
    entries : list of Entry
        Its members, with the digests of what lies here.
    bytes_fetched : int
        What came over the network so far.
    """

    def __init__(
        self, client: "LibrarianClient", file: "FileResult", place: Path, folder: Folder, tally: Tally
    ) -> None:
        self._client = client
        self._file = file
        self._place = place
        self._folder = folder
        self._tally = tally
        self._part = beside(place, f".{file.digest[:12]}{PART}")
        self._store = ""  # the one to ask; empty: whichever the server chooses
        self.entries: list[Entry] = []
        self.bytes_fetched = 0

    def fetch(self) -> str:
        """Bring the product to its place and return the outcome. Raises LibrarianError, LibrarianHTTPError, OSError.

        One that is not the catalogue's is fetched from each other copy; when none is better, it is kept as `.bad`.
        """
        if self._is_here():
            return ALREADY_HERE
        self._folder.refuse_other_bytes(self._place)
        self._part.mkdir(parents=True, exist_ok=True)
        with _locked(self._part):
            arrived = self._fill()
            if arrived != self._file.digest:
                arrived = self._fill_from_others(arrived)
            if arrived != self._file.digest:
                bad = beside(self._place, BAD)
                discard(bad)
                os.rename(self._part, bad)
                raise mismatch(self._file.name, self._file.digest, arrived, bad)
            self._folder.put_tree(self._part, self._place)
        return DOWNLOADED

    def _is_here(self) -> bool:
        """True if the very product lies at the place already."""
        if self._place.is_symlink() or not self._place.is_dir():
            return False
        if self._digest(local_entries(str(self._place), self._tally.count)) == self._file.digest:
            return True
        self._tally.take_back()
        return False

    def _digest(self, entries: Iterable[Entry]) -> str:
        """Tree digest of members, which are kept in `entries`."""
        tree = TreeDigest()
        self.entries = []
        try:
            for entry in entries:
                tree.add(entry)
                self.entries.append(entry)
        except ValueError:
            return _OUT_OF_ORDER
        return tree.hexdigest()

    # --- Getting the members ------------------------------------------------------------------------------------------

    def _fill(self) -> str:
        """Complete the `.part` and return its tree digest."""
        for _ in range(MOST_STREAMS):
            if not self._stream_is_better():
                break
            self._start_again()
            self._folder.refuse_without_room(self._file.size_bytes)
            try:
                return self._from_stream()
            except Cut:
                self._tally.take_back()
        return self._from_members()

    def _fill_from_others(self, arrived: str) -> str:
        """Tree digest after trying each other copy from the start; `arrived` when none of them can be read."""
        for store in self._file.other_stores() or [""]:
            self._start_again()
            self._store = store
            try:
                arrived = self._fill()
            except LibrarianHTTPError:
                if not store:
                    raise
                continue  # that copy cannot be read, or the server is older than the choice
            if arrived == self._file.digest:
                break
        return arrived

    def _start_again(self) -> None:
        self._tally.take_back()
        for entry in list(self._part.iterdir()):
            discard(entry)

    def _stream_is_better(self) -> bool:
        """True unless much would be fetched again: nothing is here yet, or the members are small."""
        sizes = [os.path.getsize(self._part / path) if is_file else 0 for path, is_file in paths_in(str(self._part))]
        return sum(sizes) <= SMALL_MEMBER_BYTES * len(sizes)

    def _from_stream(self) -> str:
        with TarAnswer(self._client, self._file, self._store) as answer:
            try:
                entries = unpack(
                    answer,
                    str(self._part),
                    self._file.base_name,
                    size_bytes=self._file.size_bytes,
                    seen=self._tally.count,
                )
                digest = self._digest(entries)
                answer.drain()
            finally:
                self.bytes_fetched += answer.bytes_fetched
        return digest

    def _from_members(self) -> str:
        """Fetch what is missing, each member by itself; what is here already is read again."""
        listed = (Entry(each.path, each.size_bytes, each.sha256) for each in self._file.members())
        digest = self._digest(map(self._member, listed))
        here = [path for path, _ in paths_in(str(self._part))]
        return digest if here == [entry.path for entry in self.entries] else _OUT_OF_ORDER

    def _member(self, entry: Entry) -> Entry:
        """Bring one member to its place in the `.part`; the member as it is there."""
        refuse_unsafe(entry.path)
        place = self._part / entry.path
        if not entry.sha256:
            place.mkdir(parents=True, exist_ok=True)
            return entry
        place.parent.mkdir(parents=True, exist_ok=True)
        content = Content(self._client, self._file.name, entry.size_bytes, entry.sha256, member=entry.path)
        content.store = self._store
        try:
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            with os.fdopen(descriptor, "r+b") as handle:
                return Entry(
                    entry.path,
                    entry.size_bytes,
                    fill(handle, content, self._folder, self._tally, self._file.other_stores),
                )
        finally:
            self.bytes_fetched += content.bytes_fetched


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Nobody else fills the `.part` meanwhile. Raises LibrarianError if another process does."""
    descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        take_alone(descriptor, part)
        yield
    finally:
        os.close(descriptor)
