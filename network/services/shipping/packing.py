"""Packing a disk: what lies on it is listed and sealed, and its files are on their way.

Everything is looked at first, then done in steps that can each be repeated: who died in the middle calls again, and
gets the same trip with the same transfers. Where a trip has left already, the manifest that went with it is the answer.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from files.models import Instance
from librarian.common import steps
from librarian.common.audit import record_act
from librarian.common.errors import Busy, Conflict, InvalidRequest, LostRace, Refused
from librarian.common.leases import acquire
from network.models import CustodyStep, Peer, Shipment, ShipmentState
from network.services.peering.naming import fix_site_name
from network.services.shipping.custody import SOUND, add_step, let_copies_go, note_handed_over
from network.services.shipping.loading import load
from network.services.shipping.manifest import BATCH, UNSEALED, ManifestFile, entry_of
from network.services.shipping.papers import PapersProblem, check_room_for_papers, write_papers
from stores.models import Store
from stores.services import set_store_enabled

LEASE_SECONDS = 6 * 3600  # nobody takes over from a process that lives


class NoSuchDestination(InvalidRequest):
    code = "no_such_peer"
    remedy = "List the librarians to learn their names, or add this one first."


class DiskTravels(Conflict):
    code = "disk_travels"
    remedy = "End that trip first: note that the disk was received, or that it was lost."


class CannotTravel(Refused):
    code = "store_cannot_travel"
    remedy = "Copy its files to a store on a disk, and pack that one."


def pack(
    *,
    store: Store,
    peer_name: str = "",
    begin_transfers: bool = False,
    disable_store: bool = False,
    hand_over: bool = False,
    actor: User | None,
    address: str = "",
) -> Shipment:
    """List what lies on a store, seal the list, and begin its trip.

    Repeating it answers the same trip with the same transfers; as long as the disk is here, files that came onto it
    since are added.

    Parameters
    ----------
    peer_name : str
        The site it goes to; may be empty unless transfers are begun.
    begin_transfers : bool
        Each file that the site does not hold becomes a transfer to it, which its callback completes.
    disable_store : bool
        Switch the store off.
    hand_over : bool
        The disk leaves now: its copies are handed over.

    Raises
    ------
    NoSuchDestination, CannotTravel, DiskTravels, Busy
        Nothing was changed then.
    """
    _check(store, peer_name, begin_transfers=begin_transfers)
    check_room_for_papers(store)
    with _alone_with(store):
        shipment = _trip_of(store, peer_name, actor=actor, address=address)
        if disable_store:
            set_store_enabled(store=store, enabled=False, actor=actor, address=address)
        if shipment.state == ShipmentState.PACKED:
            _list(shipment, store, begin_transfers=begin_transfers, actor=actor, address=address)
            _put_papers(shipment)
        if hand_over and shipment.state == ShipmentState.PACKED:
            note_handed_over(shipment, actor=actor, person="", note="", address=address)
    if hand_over:
        let_copies_go(shipment)
    return shipment


def present_copies(store: Store, *, is_sound: bool = False) -> Iterator[list[Instance]]:
    """Present copies on a store with their files, in the order of their ids, so many at a time.

    With `is_sound` only those that no check has found missing or bad.
    """
    last = 0
    rows = Instance.objects.present().filter(store=store).select_related("file").order_by("pk")
    if is_sound:
        rows = rows.filter(condition__in=SOUND)
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1].pk


# --- Before anything is changed ---------------------------------------------------------------------------------------


def _check(store: Store, peer_name: str, *, begin_transfers: bool) -> None:
    known = bool(peer_name) and Peer.objects.filter(name=peer_name).exists()
    if begin_transfers and not known:
        raise NoSuchDestination(f"Librarian {peer_name} does not exist.")
    if store.kind == Store.Kind.S3:
        raise CannotTravel(f"Store {store.name} is a bucket, which nobody can carry.")
    trip = _live_trip(store)
    if trip is not None and peer_name and trip.peer_name not in ("", peer_name):
        raise DiskTravels(f"Store {store.name} is on its way to {trip.peer_name} already (shipment {trip.pk}).")
    if trip is not None and peer_name and not trip.peer_name and trip.state != ShipmentState.PACKED:
        raise DiskTravels(f"Store {store.name} has left already, to nobody named (shipment {trip.pk}).")


@contextmanager
def _alone_with(store: Store) -> Iterator[None]:
    """Nobody else packs the store meanwhile. Raises Busy."""
    lease = acquire(job="pack", target=f"store {store.pk}", seconds=LEASE_SECONDS)
    if lease is None:
        raise Busy(f"Store {store.name} is being packed at this moment.", remedy="Look at its disk page in a while.")
    try:
        yield
    finally:
        lease.release()


# --- The trip ---------------------------------------------------------------------------------------------------------


def _trip_of(store: Store, peer_name: str, *, actor: User | None, address: str) -> Shipment:
    """The trip that the store is on, or a new one."""
    shipment = _live_trip(store)
    if shipment is None:
        fix_site_name()  # the manifest bears it, and another site calls back by it
        with transaction.atomic():
            shipment = Shipment.objects.create(
                store=store, peer_name=peer_name, seal=UNSEALED, created_by=actor.username if actor else ""
            )
            facts = {"shipment": shipment.pk, "peer": peer_name}
            record_act(actor=actor, action="pack_disk", subject=f"store {store.name}", facts=facts, address=address)
    elif peer_name and not shipment.peer_name:
        Shipment.objects.filter(pk=shipment.pk, peer_name="").update(peer_name=peer_name)
        shipment.peer_name = peer_name
    shipment.store = store
    return shipment


def _live_trip(store: Store) -> Shipment | None:
    """The trip that a store is on. One whose disk was received, and has taken files here since, is over for us."""
    shipment = Shipment.objects.live().filter(store=store).order_by("-pk").first()
    if shipment is None or shipment.state != ShipmentState.RECEIVED:
        return shipment
    arrived = shipment.steps.filter(step=CustodyStep.Step.RECEIVED).order_by("-pk").first()
    back = Instance.objects.present().filter(store=store, created_at__gt=arrived.at if arrived else timezone.now())
    return None if back.exists() else shipment


def _list(shipment: Shipment, store: Store, *, begin_transfers: bool, actor: User | None, address: str) -> None:
    """Write the manifest, beginning transfers as it goes, and seal the trip with it."""
    by = actor.username if actor else ""
    manifest = ManifestFile(shipment, store)
    try:
        for batch in present_copies(store, is_sound=True):
            transfers = load(shipment, batch, begin=begin_transfers, by=by)
            manifest.add([entry_of(each, store, transfers[each.file_id]) for each in batch])
            steps.passed("disk_loaded")
        seal = manifest.keep()
    finally:
        manifest.drop()
    steps.passed("manifest_kept")
    if seal == shipment.seal:
        return
    was_sealed = shipment.seal != UNSEALED
    fields = {"seal": seal, "file_count": manifest.file_count, "size_bytes": manifest.size_bytes}
    with transaction.atomic():
        changed = Shipment.objects.filter(pk=shipment.pk, seal=shipment.seal, state=ShipmentState.PACKED).update(
            **fields, changed_at=timezone.now()
        )
        if not changed:
            raise LostRace(f"Shipment {shipment.pk} was moved by somebody else.")
        note = f"{manifest.file_count} files, {manifest.size_bytes} bytes, seal {seal}."
        add_step(shipment, CustodyStep.Step.PACKED, by=by, note=f"Listed anew: {note}" if was_sealed else note)
        facts = {"shipment": shipment.pk, **fields}
        record_act(actor=actor, action="seal_disk", subject=f"store {store.name}", facts=facts, address=address)
    for name, value in fields.items():
        setattr(shipment, name, value)


def _put_papers(shipment: Shipment) -> None:
    """Write the disk's own papers, if this host can; else its custody says why not, and the job tries again."""
    try:
        write_papers(shipment)
    except PapersProblem as problem:
        if not shipment.steps.filter(step=CustodyStep.Step.NOTE, note=problem.reason).exists():
            add_step(shipment, CustodyStep.Step.NOTE, note=problem.reason)
