"""One run of a job at a time works with one peer, however it was started: by the clock for all, or nudged for one."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import DatabaseError

from librarian.common.inbox import report_error
from librarian.common.jobtable import BOX_GRACE_SECONDS, get_job
from librarian.common.leases import acquire, held_lease
from librarian.common.models import Category, Severity
from network.models import Peer

log = logging.getLogger(__name__)


@contextmanager
def turn_with(peer_name: str, *, job: str) -> Iterator[bool]:
    """Yield True while no other run of the job works with this peer, or False if somebody alive does.

    A run that was started for the peer holds its lease already; one that goes through all peers takes each in turn.
    """
    held = held_lease()
    if held is not None and (held.job, held.target) == (job, peer_name):
        yield True
        return
    with _apart(peer_name, job), _own_lease(peer_name, job) as is_mine:
        yield is_mine


@contextmanager
def _apart(peer_name: str, job: str) -> Iterator[None]:
    """A mistake of ours with one peer is reported, and the peers after it have their turn all the same."""
    try:
        yield
    except DatabaseError:
        raise
    except Exception as fault:
        log.exception("%s failed with %s", job, peer_name)
        report_error(
            severity=Severity.ERROR,
            category=Category.PROGRAMMING,
            code="job_failed",
            message=f"The job {job} failed with {peer_name}: {type(fault).__name__}: {fault}",
            remedy="It is tried again at its next run. A report of the fault should quote the log of the job worker.",
            caller=f"job:{job}",
            target=peer_name,
        )


@contextmanager
def _own_lease(peer_name: str, job: str) -> Iterator[bool]:
    lease = acquire(job=job, target=peer_name, seconds=get_job(job).time_box_seconds + BOX_GRACE_SECONDS)
    if lease is None:
        yield False
        return
    try:
        yield True
    finally:
        lease.release()


def peers_to_serve(peer_name: str, peer_names: Iterable[str], *, switched_on: bool = True) -> list[Peer]:
    """Those of the named peers that exist and may be sent to (unless told otherwise); only `peer_name` if given."""
    peers = Peer.objects.filter(name__in=set(peer_names)).order_by("name")
    if switched_on:
        peers = peers.sending()
    return list(peers.filter(name=peer_name) if peer_name else peers)
