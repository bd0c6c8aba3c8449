"""Wire protocol: `clone/...`, what two sites tell each other of files on their way. Offers are `wire_offers`."""

from collections.abc import Sequence
from typing import NoReturn

from rest_framework.request import Request

from accounts.levels import Level
from accounts.permissions import wire_level_required
from files.models import File, Instance
from files.names import normalise_name
from hera_librarian.models.clone import (
    CloneBatchCompleteRequest,
    CloneBatchCompleteResponse,
    CloneCompleteRequest,
    CloneCompleteResponse,
    CloneFailRequest,
    CloneFailResponse,
    CloneHolding,
    CloneHoldingsRequest,
    CloneHoldingsResponse,
    CloneOngoingRequest,
    CloneOngoingResponse,
    CloneStagedRequest,
    CloneStagedResponse,
)
from librarian.common.errors import ArchiveError, InvalidName
from librarian.common.wire import WireFailure, WireView
from network.api.callers import caller_of
from network.services.hearing import completions, words
from network.services.hearing.words import NoSuchTransfer, WrongTransferState


class CloneOngoing(WireView):
    """`clone/ongoing`: the sender's bytes are on their way. Harmless when repeated."""

    request_model = CloneOngoingRequest
    permission_classes = [wire_level_required(Level.READAPPEND)]

    def answer(self, request: Request, message: CloneOngoingRequest) -> CloneOngoingResponse:
        try:
            words.note_ongoing(message.destination_transfer_id, message.source_transfer_id, caller_of(request))
        except (NoSuchTransfer, WrongTransferState) as error:
            _refuse_word(error, message)
        return CloneOngoingResponse.model_validate(message)


class CloneStaged(WireView):
    """`clone/staged`: the sender's bytes are all in staging. Harmless when repeated."""

    request_model = CloneStagedRequest
    permission_classes = [wire_level_required(Level.CALLBACK)]

    def answer(self, request: Request, message: CloneStagedRequest) -> CloneStagedResponse:
        try:
            words.note_staged(message.destination_transfer_id, message.source_transfer_id, caller_of(request))
        except (NoSuchTransfer, WrongTransferState) as error:
            _refuse_word(error, message)
        return CloneStagedResponse(
            source_transfer_id=message.source_transfer_id, destination_transfer_id=message.destination_transfer_id
        )


class CloneFail(WireView):
    """`clone/fail`: the sender gives a transfer up. What has arrived stays."""

    request_model = CloneFailRequest
    permission_classes = [wire_level_required(Level.READAPPEND)]

    def answer(self, request: Request, message: CloneFailRequest) -> CloneFailResponse:
        ids = (message.destination_transfer_id, message.source_transfer_id)
        try:
            words.note_given_up(*ids, caller_of(request), reason=message.reason)
        except (NoSuchTransfer, WrongTransferState) as error:
            _refuse_word(error, message)
        return CloneFailResponse(
            source_transfer_id=message.source_transfer_id,
            destination_transfer_id=message.destination_transfer_id,
            success=True,
        )


class CloneComplete(WireView):
    """`clone/complete`: the receiver has verified and kept one file. Harmless when repeated."""

    request_model = CloneCompleteRequest
    permission_classes = [wire_level_required(Level.CALLBACK)]

    def answer(self, request: Request, message: CloneCompleteRequest) -> CloneCompleteResponse:
        ids = (message.source_transfer_id, message.destination_transfer_id)
        try:
            completions.note_completion(*ids, caller_of(request), store_id=message.store_id)
        except (NoSuchTransfer, WrongTransferState) as error:
            _refuse_word(error, message, missing=400)
        return CloneCompleteResponse.model_validate(message)


class CloneBatchComplete(WireView):
    """`clone/batch_complete` (ours): many completions with what was read of each, and an answer for each."""

    request_model = CloneBatchCompleteRequest
    permission_classes = [wire_level_required(Level.CALLBACK)]

    def answer(self, request: Request, message: CloneBatchCompleteRequest) -> CloneBatchCompleteResponse:
        results = completions.note_completions(message.completions, caller_of(request))
        return CloneBatchCompleteResponse(results=results)


class CloneHoldings(WireView):
    """`clone/holdings` (ours): which of these names have present copies here, each under the name as it was asked."""

    request_model = CloneHoldingsRequest
    permission_classes = [wire_level_required(Level.READONLY)]

    def answer(self, request: Request, message: CloneHoldingsRequest) -> CloneHoldingsResponse:
        asked = _filed_as(message.names)
        files = File.objects.filter(name__in=set(asked.values())).only("name", "size_bytes", "checksum", "digest")
        held = {file.name: file for file in files}
        stores: dict[int, list[int]] = {}
        copies = Instance.objects.present().filter(file__in=[file.pk for file in held.values()])
        for file_id, store_id in copies.order_by("pk").values_list("file", "store"):
            stores.setdefault(file_id, []).append(store_id)
        found = [(name, held[filed]) for name, filed in asked.items() if filed in held and held[filed].pk in stores]
        return CloneHoldingsResponse(
            holdings=[
                CloneHolding(
                    name=name,
                    size=file.size_bytes,
                    checksum=file.checksum,
                    digest=file.digest,
                    store_ids=stores[file.pk],
                )
                for name, file in found
            ]
        )


def _filed_as(names: Sequence[str]) -> dict[str, str]:
    """Name as asked -> name as filed; illegal names are left out, nothing is held under them."""
    filed = {}
    for name in names:
        try:
            filed[name] = normalise_name(name).name
        except InvalidName:
            continue
    return filed


def _refuse_word(error: ArchiveError, message: CloneOngoingRequest, *, missing: int = 404) -> NoReturn:
    """Raise why a word about a transfer is not taken; an unknown one has another status where it is completed."""
    raise WireFailure(
        missing if isinstance(error, NoSuchTransfer) else error.status,
        error.reason,
        error.suggested_remedy,
        code=error.code,
        source_transfer_id=message.source_transfer_id,
        destination_transfer_id=message.destination_transfer_id,
    ) from error
