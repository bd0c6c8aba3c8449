"""Wire protocol: `clone/stage`, `clone/batch_stage`, by which a sender offers files and is told where they go."""

from dataclasses import replace
from typing import NoReturn

from rest_framework.request import Request

from accounts.levels import Level
from accounts.permissions import wire_level_required
from files.api.wire import hosts_of
from files.services.uploads import staging_location
from hera_librarian.features import FEATURES
from hera_librarian.models.clone import (
    CloneBatchInitiationRequest,
    CloneBatchInitiationRequestFileItem,
    CloneBatchInitiationResponse,
    CloneBatchInitiationResponseFileItem,
    CloneInitiationRequest,
    CloneInitiationResponse,
    CloneRefusal,
)
from hera_librarian.models.providers import LocalTransferManager
from librarian.common.errors import ArchiveError, InvalidRequest, NoStore, TooLarge
from librarian.common.wire import WireFailure, WireView
from network.api.callers import is_admin
from network.services.receiving.accepting import Accepted, OfferConflict, accept_all, accept_parts
from network.services.receiving.offers import AlreadyHeld, Offer, sender_of
from network.services.receiving.ways_in import ways_in

TOO_LARGE = "No stores available for upload. Your upload is too large."


class StageClone(WireView):
    """`clone/stage`: room for one file, over a shared file system."""

    request_model = CloneInitiationRequest
    permission_classes = [wire_level_required(Level.READAPPEND)]
    success_status = 201

    def answer(self, request: Request, message: CloneInitiationRequest) -> CloneInitiationResponse:
        sender = sender_of(request.user, is_admin=is_admin(request), called=message.source, uploader=message.uploader)
        offer = _offer(message)
        try:
            accepted = accept_all([offer], replace(sender, shares_a_disk=True))
        except ArchiveError as error:
            _refuse_file(error, offer)
        upload = offer.transfer.upload
        return CloneInitiationResponse(
            available_bytes_on_store=_room_left(accepted),
            store_name=accepted.store.name,
            staging_name=upload.token,
            staging_location=staging_location(upload),
            upload_name=message.upload_name,
            destination_location=message.destination_location,
            transfer_providers={"local": LocalTransferManager(hostnames=hosts_of(accepted.store))},
            source_transfer_id=message.source_transfer_id,
            destination_transfer_id=offer.transfer.pk,
        )


class StageClones(WireView):
    """`clone/batch_stage`: room for a batch. Who understands `partial_batch` gets an answer for each file."""

    request_model = CloneBatchInitiationRequest
    permission_classes = [wire_level_required(Level.READAPPEND)]
    success_status = 201

    def answer(self, request: Request, message: CloneBatchInitiationRequest) -> CloneBatchInitiationResponse:
        sender = sender_of(
            request.user,
            is_admin=is_admin(request),
            called=message.source,
            uploader=message.uploads[0].uploader if message.uploads else "",
            features=message.librarian_features,
        )
        offers = [_offer(item) for item in message.uploads]
        try:
            refuse_negative(message.total_size)
            accepted = accept_parts(offers, sender) if sender.takes_parts else accept_all(offers, sender)
        except ArchiveError as error:
            _refuse_batch(error)
        store = accepted.store
        return CloneBatchInitiationResponse(
            available_bytes_on_store=_room_left(accepted),
            store_name=store.name if store else "",
            uploads=[_taken(offer) for offer in accepted.taken],
            async_transfer_providers=ways_in(store, sender.features) if store else {},
            refused=[_refusal(offer) for offer in accepted.refused],
            librarian_features=list(FEATURES) if sender.features else [],
        )


def refuse_negative(total_size: int) -> None:
    """Refuse a negative claim; otherwise the claim counts for nothing, the files' own sizes do."""
    if total_size < 0:
        raise InvalidRequest("Upload size must be positive.", remedy="Send the sum of the sizes in bytes.")


def _offer(item: CloneInitiationRequest | CloneBatchInitiationRequestFileItem) -> Offer:
    return Offer(
        source_transfer_id=item.source_transfer_id,
        upload_name=item.upload_name,
        destination=item.destination_location,
        size_bytes=item.upload_size,
        checksum=item.upload_checksum,
        uploader=item.uploader,
        facts=getattr(item, "facts", None),
    )


def _taken(offer: Offer) -> CloneBatchInitiationResponseFileItem:
    upload = offer.transfer.upload
    return CloneBatchInitiationResponseFileItem(
        staging_name=upload.token,
        staging_location=staging_location(upload),
        upload_name=offer.upload_name,
        destination_location=offer.destination,
        source_transfer_id=offer.source_transfer_id,
        destination_transfer_id=offer.transfer.pk,
        upload_id=upload.pk,
    )


def _refusal(offer: Offer) -> CloneRefusal:
    error = offer.error
    return CloneRefusal(
        source_transfer_id=offer.source_transfer_id,
        code=error.code,
        reason=error.reason,
        suggested_remedy=error.suggested_remedy,
        held=isinstance(error, AlreadyHeld),
        passing=error.passing,
        staged=error.extra.get("staged", False),
        store_ids=error.extra.get("store_ids", []),
        checksum=error.extra.get("checksum", ""),
    )


def _room_left(accepted: Accepted) -> int:
    """Bytes that the store could still take after this offer."""
    if accepted.store is None:
        return 0
    needed = sum(offer.needed_bytes for offer in accepted.taken if offer.again is None)
    return max(0, accepted.store.usable_bytes - accepted.store.promised_bytes - needed)


def _refuse_file(error: ArchiveError, offer: Offer) -> NoReturn:
    """Raise why one file is not taken, in the protocol's words and with its ids."""
    conflicting = error.conflicts[0][1] if isinstance(error, OfferConflict) else None
    ids = {
        "source_transfer_id": offer.source_transfer_id,
        "destination_transfer_id": conflicting.pk if conflicting else -1,
    }
    _refuse(error, ids)


def _refuse_batch(error: ArchiveError) -> NoReturn:
    """Raise why a batch is not taken; a conflict names the files because of which."""
    if isinstance(error, OfferConflict):
        sources = list(dict.fromkeys(offer.source_transfer_id for offer, _ in error.conflicts))
        _refuse(error, {"source_transfer_ids": sources, "destination_transfer_ids": [-1] * len(sources)})
    _refuse(error, {"source_transfer_id": -1, "destination_transfer_id": -1})


def _refuse(error: ArchiveError, ids: dict[str, object]) -> NoReturn:
    if isinstance(error, NoStore | TooLarge):
        told = f"{error.reason} {error.suggested_remedy}"
        raise WireFailure(413, TOO_LARGE, told, code=error.code, **ids) from error
    raise WireFailure(error.status, error.reason, error.suggested_remedy, code=error.code, **ids) from error
