"""What people want of transfers, from whichever surface: done, audited, and the job that goes on with it nudged."""

from collections.abc import Sequence

from accounts.models import User
from files.models import File
from files.names import normalise_name
from librarian.common.audit import record_act
from librarian.common.errors import Conflict, NotFound
from network.models import IncomingTransfer, OutgoingTransfer, Peer, TransferState
from network.services.nudging import nudge
from network.services.transfers import ask_for_transfers, cancel_incoming, cancel_outgoing, retry_outgoing

MOST_AT_ONCE = 10_000


class NothingToSend(Conflict):
    code = "nothing_to_send"
    remedy = "It is there already, on its way, or no copy here can be read; the file's page says which."


def cancel_transfer(transfer: OutgoingTransfer | IncomingTransfer, *, actor: User, address: str = "") -> None:
    """Give a transfer up. Raises TransferOver, LostRace."""
    if isinstance(transfer, OutgoingTransfer):
        cancel_outgoing(transfer, by=actor.get_username())
    else:
        cancel_incoming(transfer, by=actor.get_username())
    record_act(actor=actor, action="cancel_transfer", subject=str(transfer), address=address)


def retry_transfer(transfer: OutgoingTransfer, *, actor: User, address: str = "") -> OutgoingTransfer:
    """Try a transfer to a peer again, now. Raises TransferOver, LostRace."""
    new = retry_outgoing(transfer, by=actor.get_username())
    record_act(actor=actor, action="retry_transfer", subject=str(transfer), facts={"new": new.pk}, address=address)
    nudge("offer_files", transfer.peer_name)
    return new


def retry_failed(peer: Peer, *, actor: User, address: str = "") -> int:
    """Try again what failed for good on the way to a peer, the oldest first; returns how many files that are."""
    failed = OutgoingTransfer.objects.latest().filter(
        peer_name=peer.name, state=TransferState.FAILED, next_try_at__isnull=True
    )  # of those that are there all the same, none is sent
    keys = list(failed.order_by("pk").values_list("file", flat=True)[:MOST_AT_ONCE])
    number = ask_for_transfers(keys, peer=peer, by=actor.get_username())
    if number:
        record_act(
            actor=actor, action="retry_transfers", subject=f"peer {peer.name}", facts={"files": number}, address=address
        )
        nudge("offer_files", peer.name)
    return number


def send_file(file: File, *, peer: Peer, actor: User, address: str = "") -> None:
    """Send one file to a peer, whatever the standing orders say. Raises NothingToSend."""
    if not _send([file.pk], peer=peer, actor=actor, subject=file.name, address=address):
        raise NothingToSend(f"{file.name} is not sent to {peer.name}.")


def send_files(names: Sequence[str], *, peer: Peer, actor: User, address: str = "") -> int:
    """Send files to a peer; returns how many there are to send. Raises NotFound if one of the names has no file."""
    wanted = {normalise_name(name).name for name in names}
    files = dict(File.objects.filter(name__in=wanted).values_list("name", "pk"))
    if missing := sorted(wanted - set(files)):
        raise NotFound(f"There is no file {missing[0]} in this catalogue.", remedy="Check the names; nothing is sent.")
    return _send(list(files.values()), peer=peer, actor=actor, subject=f"{len(files)} files", address=address)


def _send(keys: list[int], *, peer: Peer, actor: User, subject: str, address: str) -> int:
    number = ask_for_transfers(keys, peer=peer, by=actor.get_username())
    if number:
        facts = {"peer": peer.name, "files": number}
        record_act(actor=actor, action="send_files", subject=subject, facts=facts, address=address)
        nudge("offer_files", peer.name)
    return number
