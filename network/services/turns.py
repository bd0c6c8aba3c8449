"""One run of a job at a time works with one peer, however it was started: by the clock for all, or nudged for one."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from librarian.common.jobtable import BOX_GRACE_SECONDS, get_job
from librarian.common.leases import acquire, held_lease
from network.models import Peer


@contextmanager
def turn_with(peer_name: str, *, job: str) -> Iterator[bool]:
    """Yield True while no other run of the job works with this peer, or False if somebody alive does.

    A run that was started for the peer holds its lease already; one that goes through all peers takes each in turn.
    """
    held = held_lease()
    if held is not None and (held.job, held.target) == (job, peer_name):
        yield True
        return
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
