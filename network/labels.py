"""Peers and transfers as people see them: a word and a tone for each state, and sentences for whatever waits.

A sentence says what is waited for, since when is in the row, `next_at` when it goes on, `who` can mend it.
"""

from django.utils import timezone

from librarian.common.badges import ADMINS, Badge, Standing
from network.models import GIVEN_UP, IncomingTransfer, OutgoingTransfer, Peer, QueueState, ReportState, TransferState

OUTGOING: dict[str, Badge] = {
    TransferState.INITIATED: Badge("waiting", "quiet", "Chosen, and not sent yet."),
    TransferState.ONGOING: Badge("sending", "note", "Its bytes are on their way."),
    TransferState.STAGED: Badge("being checked", "note", "All bytes are there; the other site reads them back."),
    TransferState.COMPLETED: Badge("arrived", "good", "The other site has verified its copy."),
    TransferState.FAILED: Badge("failed", "bad", "Not tried again before a person wants it."),
    TransferState.CANCELLED: Badge("cancelled", "quiet", "Given up; not sent before a person wants it."),
}
INCOMING: dict[str, Badge] = {
    TransferState.INITIATED: Badge("waiting", "quiet", "Room is made for it; its bytes are awaited."),
    TransferState.ONGOING: Badge("arriving", "note", "Its bytes are on their way."),
    TransferState.STAGED: Badge("being checked", "note", "All bytes are said to be here; they are read back."),
    TransferState.COMPLETED: Badge("arrived", "good", "Verified, and in the catalogue."),
    TransferState.FAILED: Badge("failed", "bad", "It was not taken in; the reason stands beside it."),
    TransferState.CANCELLED: Badge("cancelled", "quiet", "Given up."),
}
CARRIED = Badge("carried", "note", "On a disk that travels; its passport says where that is.")
TRIED_AGAIN = Badge("tried again", "warn", "It failed, and is tried again by itself.")
REPLACED = Badge("replaced", "quiet", "It failed; a later attempt took its place.")

PEERS: dict[str, Badge] = {
    "unknown": Badge("not tried yet", "quiet", "Nobody has called it since it was added."),
    "answers": Badge("answers", "good", "Our latest call went well."),
    "resting": Badge("left alone", "bad", "It did not answer several times; jobs leave it alone for a while."),
    "failing": Badge("does not answer", "bad", "Our latest call failed; the reason stands beside it."),
}

REPORTS: dict[str, str] = {
    ReportState.NOTHING: "It has not ended yet.",
    ReportState.DUE: "The sender is to be told how it ended.",
    ReportState.DONE: "The sender knows how it ended.",
    ReportState.GIVEN_UP: "The sender could not be told how it ended.",
}


def outgoing_badge(transfer: OutgoingTransfer) -> Badge:
    """The state of a transfer to a peer; one that failed says whether it is tried again."""
    if transfer.state == TransferState.FAILED and not transfer.is_latest:
        return REPLACED
    if transfer.state == TransferState.FAILED and transfer.next_try_at is not None:
        return TRIED_AGAIN
    if transfer.state == TransferState.ONGOING and transfer.shipment_id:
        return CARRIED
    return OUTGOING[transfer.state]


def outgoing_standing(transfer: OutgoingTransfer, peer: Peer | None) -> Standing:
    """What a transfer to a peer waits for."""
    name = transfer.peer_name
    if transfer.state == TransferState.COMPLETED:
        return Standing(f"{name} has verified its copy.")
    if transfer.state in GIVEN_UP:
        return _given_up(transfer)
    if transfer.state == TransferState.STAGED:
        return Standing(f"All bytes are at {name}, which reads them back.", transfer.next_check_at)
    if transfer.shipment_id:
        who = f"the people at {name}, by ingesting the manifest of the disk"
        return Standing(f"It is carried to {name} on a disk, with passport {transfer.shipment_id}.", who=who)
    return _hindrance(name, peer) or _on_its_way(transfer)


def _given_up(transfer: OutgoingTransfer) -> Standing:
    if not transfer.is_latest:
        return Standing("A later attempt took its place.")
    if transfer.next_try_at is not None:
        return Standing("It is tried again by itself.", transfer.next_try_at)
    return Standing("It is not tried again before a person wants it.", who=ADMINS)


def _hindrance(name: str, peer: Peer | None) -> Standing | None:
    """What about the peer keeps files from going there."""
    if peer is None:
        return Standing(f"{name} is no peer of this site any more.", who=f"{ADMINS}, by adding it again or cancelling")
    if not peer.transfers_enabled:
        return Standing(f"Transfers to {name} are switched off.", who=f"{ADMINS}, by switching them on")
    if is_resting(peer):
        return Standing(f"{name} does not answer.", peer.rests_until, who=f"the people who run {name}")
    return None


def _on_its_way(transfer: OutgoingTransfer) -> Standing:
    name, batch = transfer.peer_name, transfer.queue_item
    if batch is None:
        return Standing(f"It waits to be offered to {name}.")
    if batch.state == QueueState.WAITING and batch.attempts:
        return Standing("Its batch is sent again by itself.", batch.next_try_at)
    if batch.state == QueueState.WAITING:
        return Standing(f"{name} has made room; its batch waits for its turn.", batch.next_try_at)
    return Standing(f"Its batch is being sent by {batch.provider or 'the best way that works'}.")


def incoming_standing(transfer: IncomingTransfer, peer: Peer | None) -> Standing:
    """What a transfer from another site waits for."""
    name = transfer.peer_name or transfer.account_name
    if transfer.state == TransferState.COMPLETED:
        return _report(transfer, f"Verified and in the catalogue. {REPORTS[transfer.report]}")
    if transfer.state in GIVEN_UP:
        return _report(transfer, f"It was not taken in. {REPORTS[transfer.report]}")
    if transfer.state == TransferState.STAGED:
        return Standing("All bytes are said to be here; they are read back and compared.", transfer.next_try_at)
    if peer is None:
        return Standing(f"Its bytes are awaited. {name} is no peer of this site, so it cannot be asked for them.")
    return Standing(f"Its bytes are awaited from {name}, which is asked when none come.", transfer.next_check_at)


def _report(transfer: IncomingTransfer, sentence: str) -> Standing:
    if transfer.report == ReportState.GIVEN_UP:
        return Standing(sentence, who=ADMINS)
    return Standing(sentence, transfer.next_report_at if transfer.report == ReportState.DUE else None)


def is_resting(peer: Peer) -> bool:
    """True while jobs leave a peer alone that did not answer."""
    return peer.rests_until is not None and peer.rests_until > timezone.now()
