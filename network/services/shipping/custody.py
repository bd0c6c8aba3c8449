"""Who had a disk when: each step is a line that stays, beside the state of the trip, and the copies go with the disk.

People say that a disk was handed over and received; what the Librarian finds out by itself it enters without a name.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from files.models import Condition, Instance, Presence
from files.services.events import NewEvent, extend_histories
from librarian.common.audit import record_act
from librarian.common.errors import Conflict, InvalidRequest
from librarian.common.inbox import clear_matching
from librarian.common.moves import move
from librarian.common.texts import storable
from network.models import SHIPMENT_LIVE, CustodyStep, Shipment, ShipmentState, TransferState
from network.services.shipping.manifest import BATCH, UNSEALED, NoManifest, batches_of, open_kept

CALLER = "shipments"
LATE, LOST, UNFINISHED = "shipment_late", "disk_lost", "packing_unfinished"
SOUND = (Condition.GOOD, Condition.NEVER_CHECKED, Condition.UNKNOWN)  # what is packed
MOST_AT_ONCE = 20_000  # copies handed over while a person waits; the job does the rest
NOTE_CHARACTERS = 4_000


class NotSealed(Conflict):
    code = "shipment_not_sealed"
    remedy = "Pack the store again: what was begun is found and finished."


class NotListed(Conflict):
    code = "copies_not_listed"
    remedy = "Pack the store again: what came onto it since is added, and the disk gets its new papers."


def hand_over(shipment: Shipment, *, actor: User | None, person: str = "", note: str = "", address: str = "") -> None:
    """The disk leaves, in the hands of `person`; its copies are handed over with it. Raises Conflict."""
    note_handed_over(shipment, actor=actor, person=person, note=note, address=address)
    let_copies_go(shipment)


def note_handed_over(shipment: Shipment, *, actor: User | None, person: str, note: str, address: str) -> None:
    """Enter that the disk leaves. Raises Conflict for one that has left, NotSealed, NotListed."""
    if shipment.seal == UNSEALED:
        raise NotSealed(f"Shipment {shipment.pk} is not packed to the end.")
    if shipment.state == ShipmentState.PACKED:
        _refuse_other_contents(shipment)
    _step(
        shipment,
        ShipmentState.HANDED_OVER,
        CustodyStep.Step.HANDED_OVER,
        actor=actor,
        person=person,
        note=note,
        address=address,
    )
    clear_matching(code=LATE, caller=CALLER, target=str(shipment.pk), cleared_by="the disk was handed over")


def _refuse_other_contents(shipment: Shipment) -> None:
    """What the sealed manifest does not list would leave unseen: nobody takes it in, and nobody sends it again."""
    here = Instance.objects.present().filter(store=shipment.store_id, condition__in=SOUND)
    try:
        with open_kept(shipment) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != shipment.seal:
                raise NotSealed(f"Shipment {shipment.pk} was listed anew and not sealed.")
        listed = sum(here.filter(pk__in=keys).count() for keys in _in_manifest(shipment))
    except NoManifest:
        return  # it lies on another host
    if (others := here.count() - listed) > 0:
        raise NotListed(f"{others} copies on store {shipment.store.name} are not in the manifest of the disk.")


def note_received(
    shipment: Shipment, *, actor: User | None, person: str = "", note: str = "", address: str = ""
) -> None:
    """The disk has arrived, or was found again. From now on the other site is asked what it holds. Raises Conflict."""
    step = CustodyStep.Step.RECEIVED
    said = {"actor": actor, "person": person, "note": note, "address": address}
    if shipment.state in (ShipmentState.RECEIVED, ShipmentState.VERIFIED):
        _step(shipment, None, step, **said)  # it passed from hand to hand there
        return
    _step(shipment, ShipmentState.RECEIVED, step, **said)
    shipment.transfers.filter(state=TransferState.ONGOING).update(next_check_at=timezone.now())
    for code in (LATE, LOST):
        clear_matching(code=code, caller=CALLER, target=str(shipment.pk), cleared_by="the disk was received")


def add_note(shipment: Shipment, *, actor: User | None, person: str = "", note: str = "", address: str = "") -> None:
    """A line of the disk's custody that changes nothing else. Raises InvalidRequest for an empty one."""
    if not note.strip():
        raise InvalidRequest("A note without words says nothing.", remedy="Write what happened to the disk.")
    _step(shipment, None, CustodyStep.Step.NOTE, actor=actor, person=person, note=note, address=address)


def add_step(shipment: Shipment, step: str, *, by: str = "", person: str = "", note: str = "") -> None:
    """Append a line of custody."""
    CustodyStep.objects.create(
        shipment=shipment, step=step, by=by[:64], person=storable(person, 128), note=storable(note, NOTE_CHARACTERS)
    )


def move_shipment(shipment: Shipment, to: ShipmentState, *, by: str = "", person: str = "", note: str = "") -> None:
    """Move a trip on with its line of custody. Inside a transaction. Raises Conflict, LostRace."""
    now = timezone.now()
    move(shipment, to=to, changed_at=now, finished_at=None if to in SHIPMENT_LIVE else now)
    add_step(shipment, CustodyStep.Step(to.value), by=by, person=person, note=note)


def _step(
    shipment: Shipment,
    to: ShipmentState | None,
    step: CustodyStep.Step,
    *,
    actor: User | None,
    person: str,
    note: str,
    address: str,
) -> None:
    """What a person says of a disk, audited."""
    by = actor.username if actor else ""
    facts: dict[str, Any] = {"shipment": shipment.pk, "person": person, "note": note}
    with transaction.atomic():
        if to is None:
            add_step(shipment, step, by=by, person=person, note=note)
        else:
            move_shipment(shipment, to, by=by, person=person, note=note)
        record_act(
            actor=actor, action=f"disk_{step}", subject=f"store {shipment.store.name}", facts=facts, address=address
        )


# --- The copies -------------------------------------------------------------------------------------------------------


def let_copies_go(shipment: Shipment, *, most: int = MOST_AT_ONCE, why: str = "handed_over") -> int:
    """Hand over the copies that the manifest lists, batch by batch; returns how many.

    Harmless to repeat; the job finishes what was cut or was more than `most`.
    """
    if shipment.copies_are_handed_over:
        return 0
    gone = 0
    for keys in listed_copies(shipment):
        gone += _let_go(shipment, keys, why)
        if gone >= most:
            return gone
    Shipment.objects.filter(pk=shipment.pk).update(copies_are_handed_over=True)
    shipment.copies_are_handed_over = True
    return gone


def _in_manifest(shipment: Shipment) -> Iterator[list[int]]:
    """Ids of the copies that the manifest lists. Raises NoManifest."""
    for entries in batches_of(shipment):
        yield [entry.instance_id for entry in entries if entry.instance_id is not None]


def listed_copies(shipment: Shipment) -> Iterator[list[int]]:
    """Ids of the copies of a trip; by its transfers where the manifest lies on another host."""
    try:
        yield from _in_manifest(shipment)
    except NoManifest:
        keys = list(shipment.transfers.filter(instance__isnull=False).values_list("instance", flat=True))
        yield from (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))


def _let_go(shipment: Shipment, keys: list[int], why: str) -> int:
    with transaction.atomic():
        rows = Instance.objects.present().filter(pk__in=keys, store=shipment.store_id)
        leaving = list(rows.select_for_update(of=("self",)).select_related("file").order_by("pk"))
        rows.filter(pk__in=[copy.pk for copy in leaving]).update(presence=Presence.HANDED_OVER)
        facts = {"shipment": shipment.pk, "peer": shipment.peer_name, "store": shipment.store.name}
        extend_histories((copy.file, [NewEvent(why, "librarian", facts | {"path": copy.path})]) for copy in leaving)
    return len(leaving)
