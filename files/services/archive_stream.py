"""Many files as one tar stream (POSIX pax): each flat file under its name, each directory product as its tree, and at
the end what was sent and what was not.

Files come in the order in which they were registered. One that cannot be read is left out and named in the manifest,
as long as that is known before its header is sent; a read that breaks later breaks the stream. Memory does not grow
with the selection, and no transaction or query is open while bytes are sent. What one product looks like in a tar is in
`tar_stream.py`.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from files.models import File, FileMember
from files.names import normalise_name
from files.services.archive_lists import ArchiveLists
from files.services.download import KnownCopies, begin_reading, copies_of, open_copy
from files.services.tar_stream import (
    end_of_tar,
    file_header,
    members_of,
    mtime_of,
    padded_blocks,
    product_blocks,
)
from librarian.common.errors import ArchiveError, Conflict, InvalidName, NotFound, TooLarge, Unavailable

_BATCH_FILES = 200
_BATCH_NAMES = 500
_SENT_AT_ONCE_BYTES = 256 * 1024


class TooManyFiles(TooLarge):
    """More files than one archive may hold here."""

    code = "too_many_files"
    remedy = "Narrow the search, or fetch the files in parts, for example by time of arrival or by observation."


# --- Choosing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selection:
    """Keys of the files to send, rising, and the names that lead to none with the reason of each."""

    keys: "array[int]"
    nameless: list[tuple[str, ArchiveError]] = field(default_factory=list)


def select_matching(files: QuerySet[File]) -> Selection:
    """Every file of a queryset. Raises NotFound when there is none, TooManyFiles over LIBRARIAN_MAX_ARCHIVE_FILES."""
    limit = settings.LIBRARIAN_MAX_ARCHIVE_FILES
    keys = array("q", files.order_by("pk").values_list("pk", flat=True)[: limit + 1])
    if len(keys) > limit:
        raise TooManyFiles(f"This selection has more than {limit:,} files, the most that one archive holds here.")
    if not keys:
        raise NotFound("No file is like that.", remedy="Widen the search; case counts in names.")
    return Selection(keys)


def select_named(files: QuerySet[File], names: Sequence[str]) -> Selection:
    """The files of a queryset that these names mean, each once; names that mean none are kept with the reason.

    Raises NotFound when no name means a file, TooManyFiles over LIBRARIAN_MAX_ARCHIVE_FILES.
    """
    limit = settings.LIBRARIAN_MAX_ARCHIVE_FILES
    if len(names) > limit:
        raise TooManyFiles(f"These are {len(names):,} names; {limit:,} are the most that one archive holds here.")
    nameless: list[tuple[str, ArchiveError]] = []
    asked: dict[str, str] = {}  # name as filed -> as it was asked for
    for name in names:
        try:
            asked.setdefault(normalise_name(name).name, name)
        except InvalidName as problem:
            nameless.append((name, problem))
    found: dict[str, int] = {}
    waiting = iter(asked)
    while batch := list(islice(waiting, _BATCH_NAMES)):
        found.update(files.filter(name__in=batch).order_by().values_list("name", "pk"))
    nameless += [(name, _unknown(filed)) for filed, name in asked.items() if filed not in found]
    if not found:
        raise nameless[0][1] if len(nameless) == 1 else NotFound(f"None of these {len(names)} names is a file here.")
    return Selection(array("q", sorted(found.values())), nameless)


def _unknown(name: str) -> NotFound:
    return NotFound(
        f"There is no file {name} among those asked for.", remedy="Check the name, or search with name_contains."
    )


# --- Sending ----------------------------------------------------------------------------------------------------------


def begin_archive(selection: Selection) -> Iterator[bytes]:
    """Blocks of the archive; the first bytes of the first file that can be sent are read already.

    Raises Unavailable when none of the files can be. The blocks raise BrokenRead in their midst when bytes are missing.
    """
    blocks = _Archive(selection).blocks()
    return _joined(chain([next(blocks)], blocks))


class _Archive:
    """One archive while it is written."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.lists = ArchiveLists()
        self.places = _Places()
        self.written = 0

    def blocks(self) -> Iterator[bytes]:
        """The whole archive."""
        with self.lists:
            for block in chain(self._products(), self._own_files()):
                self.written += len(block)
                yield block
            yield end_of_tar(self.written)

    def _products(self) -> Iterator[bytes]:
        keys = self.selection.keys
        for start in range(0, len(keys), _BATCH_FILES):
            files = list(File.objects.filter(pk__in=keys[start : start + _BATCH_FILES].tolist()).order_by("pk"))
            copies = copies_of(files)
            members = _Members([file for file in files if file.is_directory])
            for file in files:
                yield from self._product(file, copies[file.pk], members)
        if not self.lists.delivered_count:
            raise self._nothing()
        for name, problem in self.selection.nameless:
            self.lists.leave_out(name, problem)

    def _product(self, file: File, copies: KnownCopies, members: "_Members") -> Iterator[bytes]:
        try:
            blocks = self._opened(file, copies, members)
            self.places.take(file.name)
        except ArchiveError as problem:
            self.lists.leave_out(file.name, problem, file)
            return
        self.lists.deliver(file)
        yield from blocks

    def _opened(self, file: File, copies: KnownCopies, members: "_Members") -> Iterator[bytes]:
        """The file's entries, once its bytes were seen. Raises ArchiveError when they cannot be read."""
        if file.is_directory:
            instance = open_copy(file=file, copies=copies).instance
            return product_blocks(instance, file.name, self._summed(file, members.of(file)))
        content = begin_reading(file=file, copies=copies)
        header = file_header(file.name, size_bytes=file.size_bytes, mtime=mtime_of(file))
        return chain([header], padded_blocks(content, file.size_bytes))

    def _summed(self, file: File, members: Iterator[FileMember]) -> Iterator[FileMember]:
        for member in members:
            if member.sha256:
                self.lists.sum_up(member.sha256, f"{file.name}/{member.path}")
            yield member

    def _own_files(self) -> Iterator[bytes]:
        """The manifest, then the sums, which hold the manifest's too."""
        now = int(timezone.now().timestamp())
        for wanted, finish in (("manifest.json", self.lists.finish_manifest), ("SHA256SUMS", self.lists.finish_sums)):
            name = self.places.free_name(wanted)
            size_bytes, content = finish(name)
            yield file_header(name, size_bytes=size_bytes, mtime=now)
            yield from padded_blocks(content, size_bytes)

    def _nothing(self) -> ArchiveError:
        problems = self.lists.first_problems
        if len(self.selection.keys) == 1:
            return problems[0][1]
        return Unavailable(
            f"None of the {len(self.selection.keys):,} files can be read here now. {problems[0][1].reason}",
            remedy=problems[0][1].suggested_remedy,
            files=[{"name": name, **problem.as_answer()} for name, problem in problems],
        )


class _Members:
    """Entries of the directory products of one batch, handed out product by product in the batch's order."""

    def __init__(self, products: Sequence[File]) -> None:
        self._rows = members_of(*products)
        self._next = next(self._rows, None)

    def of(self, product: File) -> Iterator[FileMember]:
        """Entries of one product; those of products before it that were not sent are passed over."""
        while self._next is not None and self._next.file_id < product.pk:
            self._next = next(self._rows, None)
        while self._next is not None and self._next.file_id == product.pk:
            yield self._next
            self._next = next(self._rows, None)


class _Places:
    """Which places of the archive are taken. Names with directories could stand in each other's way when unpacked."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._above: set[str] = set()
        self._tops: set[str] = set()  # of names that may be those of our own lists

    def take(self, name: str) -> None:
        """Raise Conflict if this name lies below another file of the archive, or another below it."""
        top = name.partition("/")[0].casefold()
        if top.startswith(("manifest", "sha256sums")):
            self._tops.add(top)
        if settings.LIBRARIAN_FILE_NAMES != "path":
            return  # no name has directories, and names are unique
        above = [name[:index] for index, letter in enumerate(name) if letter == "/"]
        if name in self._above or not self._taken.isdisjoint(above):
            raise Conflict(
                f"{name} and another file of this archive cannot both be unpacked: one lies below the other.",
                remedy="Download it by itself.",
            )
        self._taken.add(name)
        self._above.update(above)

    def free_name(self, wanted: str) -> str:
        """`wanted`, or with a number where a file of the archive has that name."""
        stem, dot, ending = wanted.partition(".")
        names = chain([wanted], (f"{stem}~{number}{dot}{ending}" for number in range(2, len(self._tops) + 3)))
        return next(name for name in names if name.casefold() not in self._tops)


def _joined(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Small pieces joined into larger ones, since each piece costs a write to the socket."""
    waiting: list[bytes] = []
    size = 0
    for block in blocks:
        waiting.append(block)
        size += len(block)
        if size >= _SENT_AT_ONCE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)
