"""A disk that was lost in the post: its transfers end, and its files are wanted again from other copies."""

from collections.abc import Iterator, Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from accounts.models import User
from files.models import File, Instance, RemoteInstance
from files.search import compile_search
from files.services.events import NewEvent, extend_histories
from librarian.common import steps
from librarian.common.audit import record_act
from librarian.common.errors import ArchiveError
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import AuditEntry, Category, Severity
from network.models import (
    LIVE,
    OrderWay,
    OutgoingTransfer,
    Peer,
    Shipment,
    ShipmentState,
    StandingOrder,
    TransferState,
)
from network.services.shipping.custody import CALLER, LATE, UNFINISHED, let_copies_go, listed_copies, move_shipment
from network.services.shipping.manifest import UNSEALED
from network.services.shipping.patience import CUT_AFTER
from network.services.transfers import ask_for_transfers

BATCH = 500
CODE = "lost_in_post"
LOST_ACT = "disk_lost"


def note_lost(
    shipment: Shipment, *, actor: User | None, note: str = "", over_network: bool = False, address: str = ""
) -> int:
    """The disk is lost. Returns how many of its files are wanted again, each from another copy here.

    What a standing order carries to that peer waits for the order's next disk; everything else, or all of it with
    `over_network`, is sent over the network. Nothing is wanted that the peer holds by now. Harmless to repeat.

    Raises Conflict for a trip that is over.
    """
    by = actor.username if actor else ""
    if shipment.state != ShipmentState.LOST:
        _note(shipment, actor=actor, by=by, note=note, over_network=over_network, address=address)
    if shipment.seal != UNSEALED:
        let_copies_go(shipment, most=2**62, why=CODE)
    _end_transfers(shipment)
    steps.passed("lost_transfers_ended")
    return _want_again(shipment, by=by, over_network=over_network)


def _note(shipment: Shipment, *, actor: User | None, by: str, note: str, over_network: bool, address: str) -> None:
    facts = {"shipment": shipment.pk, "note": note, "over_network": over_network}
    with transaction.atomic():
        move_shipment(shipment, ShipmentState.LOST, by=by, note=note)
        subject = f"store {shipment.store.name}"
        record_act(actor=actor, action=LOST_ACT, subject=subject, facts=facts, address=address)
    for code in (LATE, UNFINISHED):
        clear_matching(code=code, caller=CALLER, target=str(shipment.pk), cleared_by="the disk is lost")


# --- Cut off half-way -------------------------------------------------------------------------------------------------


def finish_losses() -> int:
    """Go on with losses that were cut off half-way, as the person wanted them; how many there were."""
    before = timezone.now() - CUT_AFTER  # until then whoever began it may be at work
    lost = Shipment.objects.filter(state=ShipmentState.LOST, finished_at__lt=before).select_related("store")
    cut = [shipment for shipment in lost.order_by("pk") if _is_cut(shipment)]
    for shipment in cut:
        note_lost(shipment, actor=None, over_network=_goes_over_network(shipment))
    return len(cut)


def _is_cut(shipment: Shipment) -> bool:
    """True if a transfer is still open, copies still count as here, or a file that can be brought is not wanted."""
    if shipment.transfers.filter(state__in=LIVE).exists():
        return True
    if shipment.seal != UNSEALED and not shipment.copies_are_handed_over:
        return True
    readable = Instance.objects.readable().filter(file=OuterRef("file"))
    known = Peer.objects.filter(name=shipment.peer_name)
    return known.exists() and _missed_transfers(shipment).filter(Exists(readable)).exists()


def _goes_over_network(shipment: Shipment) -> bool:
    """What the person chose who said that it is lost."""
    said = AuditEntry.objects.filter(action=LOST_ACT, facts__shipment=shipment.pk).order_by("pk").last()
    return bool(said and said.facts.get("over_network"))


# --- Its transfers ----------------------------------------------------------------------------------------------------


def _end_transfers(shipment: Shipment) -> None:
    """Fail what the disk carried. Nobody tries again by himself: the files are wanted anew, or by a person."""
    reason = f"The disk {shipment.store.name} was lost in the post (shipment {shipment.pk})."
    remedy = "It is brought again from another copy; if there is none here, look for one elsewhere."
    rows = OutgoingTransfer.objects.filter(shipment=shipment, state__in=LIVE).select_related("file").order_by("pk")
    while batch := list(rows[:BATCH]):
        now = timezone.now()
        with transaction.atomic():
            OutgoingTransfer.objects.filter(pk__in=[each.pk for each in batch], state__in=LIVE).update(
                state=TransferState.FAILED,
                code="lost_in_post",
                reason=reason,
                remedy=remedy,
                next_try_at=None,
                changed_at=now,
                finished_at=now,
            )
            event = NewEvent("transfer_failed", "librarian", _facts(shipment, reason))
            extend_histories((each.file, [event]) for each in batch)


def _facts(shipment: Shipment, reason: str) -> dict[str, object]:
    return {"code": CODE, "peer": shipment.peer_name, "reason": reason, "shipment": shipment.pk}


# --- Its files --------------------------------------------------------------------------------------------------------


def _want_again(shipment: Shipment, *, by: str, over_network: bool) -> int:
    """Have the files brought again, and tell people what could not be."""
    peer = Peer.objects.filter(name=shipment.peer_name).first()
    orders = [] if over_network else _orders_that_carry(shipment.peer_name)
    carried = sent = 0
    for keys in _missed(shipment):
        readable = set(Instance.objects.readable().filter(file__in=keys).values_list("file", flat=True))
        by_disk = _carried_by(orders, readable)
        carried += _let_go(shipment, by_disk)
        if peer is not None:
            sent += ask_for_transfers(sorted(readable - by_disk), peer=peer, by=by or "librarian")
    _look_again(orders)
    _tell_people(shipment, carried=carried, sent=sent, homeless=_homeless(shipment))
    return carried + sent


def _missed(shipment: Shipment) -> Iterator[list[int]]:
    """Files that were to get there on the disk and are not there, nor on another way."""
    last = 0
    rows = _missed_transfers(shipment).order_by("file_id")
    while keys := list(rows.filter(file_id__gt=last).values_list("file_id", flat=True)[:BATCH]):
        yield keys
        last = keys[-1]


def _missed_transfers(shipment: Shipment) -> QuerySet[OutgoingTransfer]:
    there = RemoteInstance.objects.filter(peer_name=shipment.peer_name).values("file")
    lost = OutgoingTransfer.objects.latest().filter(shipment=shipment, state=TransferState.FAILED, code=CODE)
    return lost.exclude(file__in=there)


def _homeless(shipment: Shipment) -> int:
    """How many files of the disk, with a transfer or without, are not at the other site and cannot be read here."""
    there = RemoteInstance.objects.filter(file=OuterRef("file"), peer_name=shipment.peer_name)
    other = Instance.objects.readable().filter(file=OuterRef("file")).exclude(store=shipment.store_id)
    alone = Instance.objects.filter(~Exists(there), ~Exists(other))
    return sum(alone.filter(pk__in=keys).count() for keys in listed_copies(shipment))


def _orders_that_carry(peer_name: str) -> list[StandingOrder]:
    return list(StandingOrder.objects.active().filter(way=OrderWay.CARRY, peer_name=peer_name))


def _carried_by(orders: Sequence[StandingOrder], keys: set[int]) -> set[int]:
    """Those of the files that an order will put onto its next disk."""
    found: set[int] = set()
    for order in orders:
        try:
            matching = File.objects.filter(compile_search(order.search), pk__in=keys)
        except ArchiveError:  # the order says so itself; its files go over the network
            continue
        found |= set(matching.values_list("pk", flat=True))
    return found


def _let_go(shipment: Shipment, keys: set[int]) -> int:
    """These attempts are over: the files may be put onto another disk."""
    rows = OutgoingTransfer.objects.latest().filter(shipment=shipment, file__in=keys, state=TransferState.FAILED)
    return rows.update(is_latest=False)


def _look_again(orders: Sequence[StandingOrder]) -> None:
    """Let the orders look at all files at their next run."""
    StandingOrder.objects.filter(pk__in=[order.pk for order in orders]).update(next_look_at=None)


def _tell_people(shipment: Shipment, *, carried: int, sent: int, homeless: int) -> None:
    parts = [f"{sent} of its files are sent over the network", f"{carried} wait for the next disk"]
    if homeless:
        parts.append(f"{homeless} have no other copy here that could be read")
    report_error(
        severity=Severity.ERROR if homeless else Severity.WARNING,
        category=Category.DATA_AVAILABILITY if homeless else Category.TRANSFER,
        code="disk_lost",
        message=f"The disk {shipment.store.name} (shipment {shipment.pk} to {shipment.peer_name or 'nobody named'}) is "
        f"lost: {'; '.join(parts)}.",
        remedy="If it turns up, note on its page that it was received; what arrived twice does no harm."
        + (" Of files without another copy, ask whoever produced them." if homeless else ""),
        caller=CALLER,
        target=str(shipment.pk),
    )
