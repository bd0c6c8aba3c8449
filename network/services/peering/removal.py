"""Removing a peer: its account with us stays, and what goes by its name stays; transfers end if that is wanted.

A peer that is added again under the same name goes on where it was: remote instances, transfers and orders go by the
name.
"""

import time

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from librarian.common.audit import record_act
from librarian.common.errors import Conflict
from librarian.common.inbox import clear_matching
from network.models import OutgoingTransfer, Peer, TransferState
from network.services.peering.calls import reachable
from network.services.peering.circuit import CALLER, FAILING
from network.services.sending.telling import tell
from network.services.transfers import cancel_outgoing

TELL_SECONDS = 10.0
TOLD_AT_ONCE = 25
BATCH = 500
COMMAND_LINE = "a person at the command line"


def remove_peer(*, peer: Peer, actor: User | None, end_transfers: bool = False, address: str = "") -> int:
    """Forget a peer and our account there; harmless when it is gone already.

    Parameters
    ----------
    end_transfers : bool
        Cancel what is on its way to it, and tell it as far as it answers within some seconds; else all of it waits
        until the peer is back. What an order wanted is sent anew when peer and order are there again.

    Returns
    -------
    int
        How many transfers to it were ended.
    """
    ended = _end_transfers(peer, by=actor.get_username() if actor is not None else COMMAND_LINE) if end_transfers else 0
    with transaction.atomic():
        removed, _ = Peer.objects.filter(pk=peer.pk).delete()
        if removed:
            facts = {"url": peer.url, "port": peer.port, "end_transfers": end_transfers, "ended": ended}
            record_act(actor=actor, action="remove_peer", subject=f"peer {peer.name}", facts=facts, address=address)
            clear_matching(code=FAILING, caller=CALLER, target=peer.name, cleared_by="the removal of the peer")
    return ended


def _end_transfers(peer: Peer, *, by: str) -> int:
    if not Peer.objects.filter(pk=peer.pk).update(transfers_enabled=False):  # nothing new is begun meanwhile
        return 0
    ended = 0
    known_there: list[OutgoingTransfer] = []
    last = 0
    live = OutgoingTransfer.objects.live().filter(peer_name=peer.name).select_related("file").order_by("pk")
    while batch := list(live.filter(pk__gt=last)[:BATCH]):
        last = batch[-1].pk
        gone = [transfer for transfer in batch if _cancel(transfer, by)]
        ended += len(gone)
        known_there += [transfer for transfer in gone if transfer.remote_transfer_id is not None]
        # an order that stands wants its files again when the peer is back; a person who does asks again
        mine = OutgoingTransfer.objects.filter(pk__in=[transfer.pk for transfer in gone], order__isnull=False)
        mine.filter(state=TransferState.CANCELLED, is_latest=True).update(next_try_at=timezone.now())
    _tell(peer, known_there)
    return ended


def _cancel(transfer: OutgoingTransfer, by: str) -> bool:
    try:
        cancel_outgoing(transfer, by=by)
    except Conflict:  # it has just ended by itself
        return False
    return True


def _tell(peer: Peer, transfers: list[OutgoingTransfer]) -> None:
    """Tell the peer while there still is one. What it does not hear now it learns when it asks what became of them."""
    ends_at = time.monotonic() + TELL_SECONDS
    for first in range(0, len(transfers), TOLD_AT_ONCE):
        if time.monotonic() >= ends_at or not reachable(peer):
            return
        if tell(peer, transfers[first : first + TOLD_AT_ONCE]).problems:
            return
