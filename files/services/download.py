"""Handing out bytes: which copy is read, and what happens when it is not what its row says.

A copy whose presence, kind or size is wrong is never served; that is written down and the next copy is tried. A read
that fails later raises in the middle of the stream, so that the connection breaks instead of ending a body early.
"""

import errno
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain

from django.conf import settings
from django.db.models import Case, Exists, F, IntegerField, OuterRef, Q, Value, When

from files.models import Condition, File, FileMember, Instance, Presence, RemoteInstance
from files.services.findings import Finding, record_bad_copy
from librarian.common.errors import ArchiveError, NotFound, Unavailable
from stores.backends.base import MissingBytes
from stores.models import NEAREST_FIRST, Store

CALLER = "download"
_DISK_ERRORS = {errno.EIO, errno.EBADMSG, errno.EUCLEAN}


class NoCopyHere(NotFound):
    """The catalogue knows the file; none of its copies is at this site."""

    code = "no_copy_here"
    remedy = "Ask the site that holds it; the file's page lists every copy that is known."


class BrokenRead(Exception):
    """The bytes ended early or could not be read while they were sent. Never an answer: the answer has begun."""


@dataclass(frozen=True, slots=True)
class ReadableCopy:
    """A copy whose bytes were just seen to have the kind and size of the file (or of the one member looked at)."""

    instance: Instance
    size_bytes: int
    member: FileMember | None = None

    def blocks(self, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Exactly `length` bytes from `offset` (all the rest when None). Raises BrokenRead if there are fewer."""
        wanted = self.size_bytes - offset if length is None else length
        path = self.member.path if self.member else ""
        yield from read_exactly(self.instance, path, offset=offset, length=wanted)


@dataclass(frozen=True, slots=True)
class KnownCopies:
    """What the catalogue knows of one file's copies.

    `here` are those of which bytes are kept, the best first, of equals the nearest; `is_readable` of each says whether
    it may be tried.
    """

    here: list[Instance]
    peers: Callable[[], list[str]]


def copies_of(files: Iterable[File]) -> dict[int, KnownCopies]:
    """The copies of each file, by its key: one query for however many files, and one when `peers` is first asked."""
    by_key = {file.pk: file for file in files}
    here: dict[int, list[Instance]] = {key: [] for key in by_key}
    stores: dict[int, Store] = {}
    is_good = Case(When(Q(condition=Condition.GOOD), then=Value(0)), default=Value(1), output_field=IntegerField())
    nearest = [When(Q(store__kind=kind), then=Value(rank)) for rank, kind in enumerate(NEAREST_FIRST)]
    is_far = Case(*nearest, default=Value(len(NEAREST_FIRST)), output_field=IntegerField())
    kept = Instance.objects.filter(file__in=by_key, presence__in=[Presence.PRESENT, Presence.SET_ASIDE])
    rows = kept.annotate(is_readable=Exists(Instance.objects.readable().filter(pk=OuterRef("pk"))))
    for instance in rows.select_related("store").order_by(
        is_good, is_far, F("condition_at").desc(nulls_last=True), "pk"
    ):
        instance.file = by_key[instance.file_id]
        instance.store = stores.setdefault(instance.store_id, instance.store)  # one backend, not one a copy
        here[instance.file_id].append(instance)

    @cache
    def peers() -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        rows = RemoteInstance.objects.filter(file__in=by_key).order_by("peer_name").values_list("file", "peer_name")
        for key, name in rows.distinct():
            found.setdefault(key, []).append(name)
        return found

    return {key: KnownCopies(copies, lambda key=key: peers().get(key, [])) for key, copies in here.items()}


def open_copy(*, file: File, member: FileMember | None = None, copies: KnownCopies | None = None) -> ReadableCopy:
    """Choose a copy of `file` that this host can read, look at its bytes, and return it.

    Parameters
    ----------
    member : FileMember, optional
        Only this entry of a directory product is looked at, not the whole tree.
    copies : KnownCopies, optional
        What `copies_of` said of this file, when it was asked for a whole batch.

    Raises NoCopyHere if no copy is here, Unavailable if none of those here can be read now.
    """
    copies = copies or copies_of([file])[file.pk]
    reasons: list[str] = []
    for instance in _candidates(copies.here):
        finding = _look(instance, member)
        if isinstance(finding, ReadableCopy):
            return finding
        reasons.append(f"{instance.store.name}: {finding}")
    raise _refusal(file, copies, reasons)


def begin_reading(
    *,
    file: File,
    member: FileMember | None = None,
    offset: int = 0,
    length: int | None = None,
    copies: KnownCopies | None = None,
) -> Iterator[bytes]:
    """Blocks of a flat file or of one member, the first of them read already, from the first copy that gives it.

    `copies` and refusals as for `open_copy`.
    """
    copies = copies or copies_of([file])[file.pk]
    reasons: list[str] = []
    for instance in _candidates(copies.here):
        copy = _look(instance, member)
        if not isinstance(copy, ReadableCopy):
            reasons.append(f"{instance.store.name}: {copy}")
            continue
        blocks = copy.blocks(offset=offset, length=length)
        try:
            first = next(blocks, b"")
        except BrokenRead as problem:
            reasons.append(f"{instance.store.name}: {problem}")
            continue
        return chain([first], blocks)
    raise _refusal(file, copies, reasons)


def read_exactly(instance: Instance, member_path: str, *, offset: int, length: int) -> Iterator[bytes]:
    """Exactly `length` bytes of a copy or of one of its members. Raises BrokenRead if there are fewer."""
    left = length
    try:
        for block in instance.store.backend.read(instance.path, member_path, offset, length) if length else ():
            block = block[:left]
            left -= len(block)
            yield block
            if not left:
                return
    except MissingBytes as problem:
        _record(instance, Finding(Condition.MISSING, problem.reason))
        raise BrokenRead(problem.reason) from problem
    except ArchiveError as problem:
        if _is_disk_error(problem):
            _record(instance, Finding(Condition.UNREADABLE, problem.reason))
        raise BrokenRead(problem.reason) from problem
    if left:
        sentence = f"it ended {left} bytes early."
        _record(instance, Finding(Condition.SHORT, sentence))
        raise BrokenRead(sentence)


# --- Choosing ---------------------------------------------------------------------------------------------------------


def _candidates(copies: Iterable[Instance]) -> Iterator[Instance]:
    """Readable copies on stores of this host."""
    for instance in copies:
        if instance.is_readable and instance.store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
            yield instance


def _look(instance: Instance, member: FileMember | None) -> ReadableCopy | str:
    """The copy if what lies there has the right kind and size, else why it is not served."""
    try:
        finding = _look_at_member(instance, member) if member else _look_at_product(instance)
    except MissingBytes as problem:
        finding = Finding(Condition.MISSING, problem.reason)
    except ArchiveError as problem:
        if not _is_disk_error(problem):
            return problem.reason  # could not look: proves nothing
        finding = Finding(Condition.UNREADABLE, problem.reason)
    if finding is not None:
        return _record(instance, finding)
    return ReadableCopy(instance, member.size_bytes if member else instance.file.size_bytes, member)


def _look_at_product(instance: Instance) -> Finding | None:
    file = instance.file
    kind, size_bytes = instance.store.backend.stat(instance.path)
    if kind != file.kind:
        return Finding(Condition.DIFFERENT, f"a product of kind {kind} lies there; the file is {file.kind}.")
    if size_bytes != file.size_bytes:
        condition = Condition.SHORT if size_bytes < file.size_bytes else Condition.DIFFERENT
        return Finding(condition, f"it has {size_bytes} bytes; the file has {file.size_bytes}.")
    return None


def _look_at_member(instance: Instance, member: FileMember) -> Finding | None:
    """Read around the end of one member: its last byte must be there and none after it.

    A member may be a link inside the product, which only `read` resolves; and a tree need not be walked for it.
    """
    offset = max(member.size_bytes - 1, 0)
    found = sum(map(len, instance.store.backend.read(instance.path, member.path, offset, 2)))
    if offset + found == member.size_bytes:
        return None
    if offset + found < member.size_bytes:
        return Finding(Condition.SHORT, f"its member {member.path} has fewer than {member.size_bytes} bytes.")
    return Finding(Condition.DIFFERENT, f"its member {member.path} has more than {member.size_bytes} bytes.")


def _is_disk_error(problem: ArchiveError) -> bool:
    """True if the disk itself said that it cannot give these bytes, rather than that the store is away."""
    return isinstance(problem.__cause__, OSError) and problem.__cause__.errno in _DISK_ERRORS


def _record(instance: Instance, finding: Finding) -> str:
    record_bad_copy(instance=instance, finding=finding, actor=CALLER, facts={"seen": finding.sentence})
    return finding.sentence


# --- Refusing ---------------------------------------------------------------------------------------------------------


def _refusal(file: File, copies: KnownCopies, reasons: list[str]) -> ArchiveError:
    """Why no bytes are handed out: not here at all, or here and not readable now."""
    peers = copies.peers()
    if not copies.here:
        remedy = f"Copies are known at: {', '.join(peers)}. Ask there." if peers else None
        return NoCopyHere(f"No copy of {file.name} is at this site.", remedy=remedy, remote_copies=peers)
    tried = {reason.partition(":")[0] for reason in reasons}
    reasons = reasons + [f"{copy.store.name}: {_why_not(copy)}" for copy in copies.here if copy.store.name not in tried]
    elsewhere = f" Copies are also known at: {', '.join(peers)}." if peers else ""
    return Unavailable(
        f"No copy of {file.name} can be read now.",
        remedy=Unavailable.remedy + elsewhere,
        copies=reasons,
        remote_copies=peers,
    )


def _why_not(instance: Instance) -> str:
    store = instance.store
    if instance.presence != Presence.PRESENT:
        return "the copy was found bad and is set aside"
    if not store.enabled:
        return "the store is switched off"
    if not store.available:
        return f"the store is not available ({store.availability_reason or 'not measured yet'})"
    if not store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
        return f"the store is not reached from this host but from {', '.join(store.hosts)}"
    return f"the copy is {instance.get_condition_display().lower()}"
