"""How far disks on their way have got: what their transfers tell, what the other site says when it is asked, and whom
to tell when nothing is heard for long. Nothing that a disk carries is sent another way by this.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from files.models import RemoteInstance
from librarian.common.errors import ArchiveError, Conflict
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity
from network.errors import PeerProblem
from network.models import CustodyStep, OutgoingTransfer, Peer, Shipment, ShipmentState, TransferState
from network.services.sending.held import ask_what_is_held
from network.services.sending.portions import portions
from network.services.sending.settling import other_bytes, settle
from network.services.shipping.custody import CALLER, LATE, UNFINISHED, add_step, let_copies_go, move_shipment
from network.services.shipping.losing import finish_losses
from network.services.shipping.manifest import UNSEALED
from network.services.shipping.papers import PapersProblem, write_papers
from network.services.shipping.patience import ASK_EVERY, LATE_AFTER, UNFINISHED_AFTER

BATCH = 500
WHERE = {ShipmentState.PACKED: "packed", ShipmentState.HANDED_OVER: "on its way"}
MOST_AT_ONCE = 20_000  # files of one trip that the other site is asked about in one run


def follow_shipments() -> dict[str, int]:
    """Finish what packing left over, ask other sites what they hold, and move trips on by what has arrived."""
    done: Counter[str] = Counter()
    finish_losses()
    for shipment in Shipment.objects.live().select_related("store").order_by("pk"):
        if shipment.seal == UNSEALED:
            _tell_if_unfinished(shipment)
            continue
        _finish(shipment)
        done["completed"] += _ask(shipment)
        done["moved"] += _move_on(shipment)
        if shipment.finished_at is None:
            done["late"] += _tell_if_late(shipment)
    return {key: done[key] for key in ("completed", "moved", "late")}


# --- What packing left over -------------------------------------------------------------------------------------------


def _finish(shipment: Shipment) -> None:
    """Papers that were not written where it was packed, copies that were not all handed over."""
    clear_matching(code=UNFINISHED, caller=CALLER, target=str(shipment.pk), cleared_by="it was packed to the end")
    try:
        if shipment.state == ShipmentState.HANDED_OVER:
            let_copies_go(shipment)
        elif shipment.state == ShipmentState.PACKED:
            write_papers(shipment)
    except PapersProblem:
        pass  # its custody says so since it was packed
    except ArchiveError:
        pass  # the manifest lies on another host


def _tell_if_unfinished(shipment: Shipment) -> None:
    if shipment.created_at > timezone.now() - UNFINISHED_AFTER:
        return
    report_error(
        severity=Severity.WARNING,
        category=Category.TRANSFER,
        code="packing_unfinished",
        message=f"Packing store {shipment.store.name} was broken off before its manifest was written.",
        remedy="Pack it again: what was begun is found and finished.",
        caller=CALLER,
        target=str(shipment.pk),
    )


# --- Asking -----------------------------------------------------------------------------------------------------------


def _ask(shipment: Shipment) -> int:
    """Ask the other site about transfers that nothing was heard of for long; how many are complete by its word."""
    due = shipment.transfers.filter(state=TransferState.ONGOING, next_check_at__lte=timezone.now())
    rows = list(due.select_related("file").order_by("pk")[:MOST_AT_ONCE])
    peer = Peer.objects.filter(name=shipment.peer_name).first() if rows else None
    if peer is None:
        return 0
    completed = 0
    for batch in portions(rows, BATCH):
        try:
            completed += _judge(peer, batch)
        except PeerProblem as problem:
            _wait(batch, shipment, problem)
            break
        _wait(batch, shipment)
    return completed


def _judge(peer: Peer, transfers: Sequence[OutgoingTransfer]) -> int:
    """Complete what the peer holds; fail what it holds with other bytes. Whatever else it says, the disk may come."""
    by_file = {transfer.file_id: transfer for transfer in transfers}
    completed = 0
    for word in ask_what_is_held(peer, [transfer.file for transfer in transfers]):
        transfer = by_file[word.file.pk]
        if word.is_held:
            completed += settle(transfer, word.store_ids[0]) == "completed"
        elif word.is_known and word.is_same is False:
            settle(transfer, other_bytes(transfer.file, transfer.peer_name, word.found))
    return completed


def _wait(transfers: Sequence[OutgoingTransfer], shipment: Shipment, problem: PeerProblem | None = None) -> None:
    """Ask again later: soon once the disk is there, else every day."""
    is_there = shipment.state == ShipmentState.RECEIVED
    pause = _patience() if is_there else ASK_EVERY
    fields: dict[str, object] = {"next_check_at": timezone.now() + pause}
    if problem is not None:
        fields |= {"code": problem.code, "reason": problem.reason, "remedy": problem.suggested_remedy}
    keys = [transfer.pk for transfer in transfers]
    OutgoingTransfer.objects.filter(pk__in=keys, state=TransferState.ONGOING).update(**fields)


# --- Moving on --------------------------------------------------------------------------------------------------------


def _move_on(shipment: Shipment) -> bool:
    """Received once the first file has arrived, verified once all have; True if it was moved."""
    if not shipment.peer_name or not shipment.transfers.exists():
        return False
    missing = _missing(shipment)
    first = shipment.transfers.filter(state=TransferState.COMPLETED).order_by("finished_at").first()
    to = ShipmentState.RECEIVED if missing.exists() else ShipmentState.VERIFIED
    if to == shipment.state or (to == ShipmentState.RECEIVED and first is None):
        return False
    note = f"{shipment.peer_name} has confirmed {'the first of its files' if missing.exists() else 'every file'}."
    try:
        with transaction.atomic():
            if to == ShipmentState.VERIFIED and shipment.state != ShipmentState.RECEIVED:
                add_step(shipment, CustodyStep.Step.RECEIVED, note="Its files have arrived.")
            move_shipment(shipment, to, note=note)
    except Conflict:
        return False
    if to == ShipmentState.RECEIVED:
        shipment.transfers.filter(state=TransferState.ONGOING).update(next_check_at=timezone.now() + _patience())
    clear_matching(code=LATE, caller=CALLER, target=str(shipment.pk), cleared_by="files of the disk have arrived")
    return True


def _patience() -> timedelta:
    return timedelta(seconds=settings.LIBRARIAN_STALE_TRANSFER_SECONDS)


def _missing(shipment: Shipment) -> QuerySet[OutgoingTransfer]:
    """Transfers of a trip whose file the other site has confirmed neither by it nor in another way."""
    there = RemoteInstance.objects.filter(file=OuterRef("file"), peer_name=shipment.peer_name)
    return shipment.transfers.filter(~Q(state=TransferState.COMPLETED), ~Exists(there))


def _tell_if_late(shipment: Shipment) -> bool:
    if shipment.changed_at > timezone.now() - LATE_AFTER:
        return False
    missing = _missing(shipment).count()
    if shipment.state == ShipmentState.PACKED and not missing:
        return False  # it carries nothing that anybody waits for
    where = WHERE.get(shipment.state) or f"at {shipment.peer_name or 'its goal'}"
    report_error(
        severity=Severity.WARNING,
        category=Category.TRANSFER,
        code="shipment_late",
        message=f"The disk {shipment.store.name} (shipment {shipment.pk}) has been {where} for more than "
        f"{LATE_AFTER.days} days, and {missing} of its files are not confirmed.",
        remedy="Ask the courier and the people of the other site; they repeat librarian ingest-manifest. On the disk's "
        "page say that it was handed over if it has left, or that it is lost.",
        caller=CALLER,
        target=str(shipment.pk),
    )
    return True
