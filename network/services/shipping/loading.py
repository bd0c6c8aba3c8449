"""The transfers of a trip: one for each file that is not at the peer and not on its way there already.

A file and a peer have one live transfer, so of a file that is being sent over the network while its disk is packed:

- one that only waits to be offered gives way: the disk carries the file;
- one that the peer knows of keeps its id and is listed with it. Whichever arrives first brings the file. If it is the
  disk, the peer's callback names a delivery that this transfer knows nothing of and is refused; asked about its own
  delivery, the peer says that it holds the file, and that completes it.
"""

from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.utils import timezone

from files.models import File, FileEvent, Instance, RemoteInstance
from files.services.events import NewEvent, extend_histories
from librarian.common.bulk import bulk_insert
from librarian.common.errors import LostRace
from network.models import GIVEN_UP, OutgoingTransfer, Shipment, TransferState
from network.services.shipping.manifest import NO_TRANSFER
from network.services.shipping.patience import ASK_AFTER

TRIES = 3
PACKED = "packed"


def load(shipment: Shipment, copies: Sequence[Instance], *, begin: bool, by: str) -> dict[int, int]:
    """Id of the transfer of each copy's file, by the file's id (-1: none). With `begin` those that lack are made.

    One transaction; repeating it answers the same. The histories of the files say that they were packed.
    """
    for left in reversed(range(TRIES)):
        try:
            with transaction.atomic():
                found = _load(shipment, copies, begin=begin, by=by)
                _tell_histories(shipment, copies, found, by=by)
            return found
        except (IntegrityError, LostRace):  # an order or a person chose one of them at this moment
            if not left:
                raise
    raise AssertionError("unreachable")


def _load(shipment: Shipment, copies: Sequence[Instance], *, begin: bool, by: str) -> dict[int, int]:
    peer_name, keys = shipment.peer_name, [copy.file_id for copy in copies]
    found = dict.fromkeys(keys, NO_TRANSFER)
    if not peer_name:
        return found
    latest = {
        transfer.file_id: transfer
        for transfer in OutgoingTransfer.objects.latest().filter(peer_name=peer_name, file__in=keys)
    }
    there = set(RemoteInstance.objects.filter(peer_name=peer_name, file__in=keys).values_list("file", flat=True))
    wanted: list[tuple[Instance, OutgoingTransfer | None]] = []
    for copy in copies:
        old = latest.get(copy.file_id)
        if old is not None and (old.shipment_id == shipment.pk or (old.is_live and not _gives_way(old))):
            found[copy.file_id] = old.pk
        elif begin and copy.file_id not in there:
            wanted.append((copy, old))
    found |= _begin(shipment, wanted, by=by)
    return found


def _gives_way(transfer: OutgoingTransfer) -> bool:
    """True for one that waits to be offered over the network; its peer knows nothing of it."""
    return (
        transfer.state == TransferState.INITIATED
        and transfer.remote_transfer_id is None
        and transfer.shipment_id is None
    )


def _begin(
    shipment: Shipment, wanted: Sequence[tuple[Instance, OutgoingTransfer | None]], *, by: str
) -> dict[int, int]:
    now = timezone.now()
    _take_the_place_of([old for _, old in wanted if old is not None], shipment)
    new = [
        OutgoingTransfer(
            file_id=copy.file_id,
            peer_name=shipment.peer_name,
            shipment=shipment,
            instance=copy,
            order_id=old.order_id if old else None,
            asked_by=by,
            state=TransferState.ONGOING,
            attempt=old.attempt + 1 if old and old.state in GIVEN_UP else 1,
            size_bytes=copy.file.size_bytes,
            changed_at=now,
            next_check_at=now + ASK_AFTER,
        )
        for copy, old in wanted
    ]
    bulk_insert(new)
    return {transfer.file_id: transfer.pk for transfer in new}


def _take_the_place_of(older: Sequence[OutgoingTransfer], shipment: Shipment) -> None:
    """Older attempts are no longer the latest; one that waited is cancelled. Raises LostRace if one has moved on."""
    now = timezone.now()
    waiting = [old.pk for old in older if old.is_live]
    cancelled = OutgoingTransfer.objects.filter(
        pk__in=waiting, state=TransferState.INITIATED, remote_transfer_id=None
    ).update(
        state=TransferState.CANCELLED,
        is_latest=False,
        code="carried",
        reason=f"A disk carries it: shipment {shipment.pk}.",
        remedy="",
        changed_at=now,
        finished_at=now,
    )
    ended = [old for old in older if not old.is_live]
    passed = sum(
        OutgoingTransfer.objects.filter(
            pk__in=[old.pk for old in ended if old.state == state], state=state, is_latest=True
        ).update(is_latest=False, next_try_at=None)
        for state in {old.state for old in ended}
    )
    if cancelled != len(waiting) or passed != len(ended):
        raise LostRace("Somebody else moved one of these transfers.")


def _tell_histories(shipment: Shipment, copies: Sequence[Instance], transfers: dict[int, int], *, by: str) -> None:
    """One line for each file and trip."""
    files: dict[int, File] = {copy.file_id: copy.file for copy in copies}
    told = FileEvent.objects.filter(
        file__in=files, type=PACKED, text__contains=f'"shipment":{shipment.pk},'
    ).values_list("file", flat=True)
    for file_id in set(told):
        files.pop(file_id)
    if not files:
        return
    histories = []
    for file_id, file in files.items():
        facts = {"peer": shipment.peer_name, "shipment": shipment.pk, "store": shipment.store.name}
        if transfers[file_id] != NO_TRANSFER:
            facts["transfer"] = transfers[file_id]
        histories.append((file, [NewEvent(PACKED, by or "librarian", facts)]))
    extend_histories(histories)
