"""Handing out bytes: which copy is read, and what happens when it is not what its row says.

A copy whose presence, kind or size is wrong is never served; that is written down and the next copy is tried. A read
that fails later raises in the middle of the stream, so that the connection breaks instead of ending a body early.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from django.conf import settings
from django.db.models import Case, F, IntegerField, Q, Value, When

from files.models import Condition, File, FileMember, Instance, Presence
from files.services.findings import Finding, record_bad_copy
from librarian.common.errors import ArchiveError, NotFound, Unavailable
from stores.backends.base import MissingBytes

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


def open_copy(*, file: File, member: FileMember | None = None) -> ReadableCopy:
    """Choose a copy of `file` that this host can read, look at its bytes, and return it.

    Parameters
    ----------
    member : FileMember, optional
        Only this entry of a directory product is looked at, not the whole tree.

    Raises NoCopyHere if no copy is here, Unavailable if none of those here can be read now.
    """
    reasons: list[str] = []
    for instance in _candidates(file):
        finding = _look(instance, member)
        if isinstance(finding, ReadableCopy):
            return finding
        reasons.append(f"{instance.store.name}: {finding}")
    raise _refusal(file, reasons)


def begin_reading(
    *, file: File, member: FileMember | None = None, offset: int = 0, length: int | None = None
) -> Iterator[bytes]:
    """Blocks of a flat file or of one member, the first of them read already, from the first copy that gives it."""
    reasons: list[str] = []
    for instance in _candidates(file):
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
    raise _refusal(file, reasons)


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


def _candidates(file: File) -> Iterator[Instance]:
    """Readable copies on stores of this host; those seen good first, the latest look first."""
    is_good = Case(When(Q(condition=Condition.GOOD), then=Value(0)), default=Value(1), output_field=IntegerField())
    copies = file.instances.readable().select_related("store", "file")
    for instance in copies.order_by(is_good, F("condition_at").desc(nulls_last=True), "pk"):
        if instance.store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
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


def _refusal(file: File, reasons: list[str]) -> ArchiveError:
    """Why no bytes are handed out: not here at all, or here and not readable now."""
    kept = list(file.instances.filter(presence__in=[Presence.PRESENT, Presence.SET_ASIDE]).select_related("store"))
    peers = sorted(set(file.remote_instances.values_list("peer_name", flat=True)))
    if not kept:
        remedy = f"Copies are known at: {', '.join(peers)}. Ask there." if peers else None
        return NoCopyHere(f"No copy of {file.name} is at this site.", remedy=remedy, remote_copies=peers)
    tried = {reason.partition(":")[0] for reason in reasons}
    reasons = reasons + [f"{copy.store.name}: {_why_not(copy)}" for copy in kept if copy.store.name not in tried]
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
