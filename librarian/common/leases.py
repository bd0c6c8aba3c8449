"""Leases: of all who could run a job on a target one does, and who is taken for dead cannot finish after its successor.

A lease carries a *fencing number* that grows with every holder. The last write of a job is made in one transaction with
`Lease.guard()`, a compare-and-set on that number: a holder that slept through its expiry finds a higher number there
and is refused, with everything else in that transaction.

    lease = acquire(job="heal", target="store 3", seconds=600)
    ...                                # long work, no transaction open
    with transaction.atomic():
        lease.guard()                  # LostRace if somebody took over
        instance.save()                # the write that counts
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from librarian.common.errors import LostRace
from librarian.common.identity import is_dead, own_identity
from librarian.common.models import JobLease

_held: ContextVar["Lease | None"] = ContextVar("lease of the running job", default=None)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one target, as long as nobody with a higher fencing number took it."""

    row_id: int
    job: str
    target: str
    holder: str
    fencing: int

    def guard(self) -> None:
        """Raise LostRace unless this lease is still the newest; until the open transaction ends nobody takes it over.

        Call it inside `transaction.atomic()`, together with the write it protects.
        """
        if not transaction.get_connection().in_atomic_block:
            raise RuntimeError("Lease.guard() protects nothing outside a transaction")
        # A write, so that the row stays locked until the end of the caller's transaction.
        if not self._row().update(expires_at=F("expires_at")):
            raise LostRace(f"Somebody else took over {self.job} {self.target}".rstrip() + "; nothing was changed.")

    def still_mine(self) -> bool:
        """True if nobody has taken over so far. For leaving early; it is `guard` that protects a write."""
        return self._row().exists()

    def release(self) -> bool:
        """Give the lease back; False (and nothing happens) if somebody has taken it over."""
        return bool(self._row().update(holder="", expires_at=None))

    def _row(self) -> QuerySet[JobLease]:
        return JobLease.objects.filter(pk=self.row_id, fencing=self.fencing, holder=self.holder)


def acquire(*, job: str, target: str = "", seconds: float) -> Lease | None:
    """Take the lease of a job on a target for `seconds`, or return None while somebody alive holds it.

    Free is what was given back, what has expired and what a process held that has certainly ended.
    """
    row, _ = JobLease.objects.get_or_create(job=job, target=target)
    if not is_free(row):
        return None
    lease = Lease(row.pk, job, target, own_identity(), row.fencing + 1)
    taken = JobLease.objects.filter(pk=row.pk, fencing=row.fencing).update(
        holder=lease.holder, fencing=lease.fencing, expires_at=timezone.now() + timedelta(seconds=seconds)
    )
    return lease if taken else None


def is_free(row: JobLease) -> bool:
    """True if nobody holds the lease, or whoever did let it expire or has ended."""
    if not row.holder or row.expires_at is None:
        return True
    return row.expires_at <= timezone.now() or is_dead(row.holder)


@contextmanager
def holding(lease: Lease) -> Iterator[None]:
    """Let the code of a job find its lease by `held_lease` and `guard_job`."""
    token = _held.set(lease)
    try:
        yield
    finally:
        _held.reset(token)


def held_lease() -> Lease | None:
    """The lease of the job that this code runs in; None outside a job."""
    return _held.get()


def guard_job() -> None:
    """`guard()` of the running job's lease; does nothing outside a job (a command or a request has no rival)."""
    lease = _held.get()
    if lease is not None:
        lease.guard()
