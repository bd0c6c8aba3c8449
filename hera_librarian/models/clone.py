"""`clone/...`: one Librarian hands files to another."""

from pydantic import Field

from hera_librarian.models.providers import AsyncTransferManager, LocalTransferManager
from hera_librarian.models.types import WireId, WireModel, WireName, WirePath, WireSize, WireText

MAX_BATCH = 10_000


class CloneInitiationRequest(WireModel):
    """Asks for room for one file."""

    upload_size: WireSize
    upload_checksum: WireText
    upload_name: WirePath
    destination_location: WirePath
    uploader: WireName
    source: WireName
    source_transfer_id: WireId


class CloneInitiationResponse(WireModel):
    """Where to put the bytes of one file."""

    available_bytes_on_store: int
    store_name: str
    staging_name: WirePath
    staging_location: WirePath
    upload_name: WirePath
    destination_location: WirePath
    transfer_providers: dict[str, LocalTransferManager]
    source_transfer_id: int
    destination_transfer_id: int


class CloneBatchInitiationRequestFileItem(WireModel):
    """One file of a batch."""

    upload_size: WireSize
    upload_checksum: WireText
    upload_name: WirePath
    destination_location: WirePath
    uploader: WireName
    source_transfer_id: WireId


class CloneBatchInitiationRequest(WireModel):
    """Asks for room for a batch."""

    uploads: list[CloneBatchInitiationRequestFileItem] = Field(max_length=MAX_BATCH)
    source: WireName
    total_size: WireSize


class CloneBatchInitiationResponseFileItem(WireModel):
    """Where to put one file of a batch."""

    staging_name: WirePath
    staging_location: WirePath
    upload_name: WirePath
    destination_location: WirePath
    source_transfer_id: int
    destination_transfer_id: int


class CloneBatchInitiationResponse(WireModel):
    """Where to put a batch, and the ways that lead there, the one that works first."""

    available_bytes_on_store: int
    store_name: str
    uploads: list[CloneBatchInitiationResponseFileItem]
    async_transfer_providers: dict[str, AsyncTransferManager]


class CloneFailedResponse(WireModel):
    """Why one file is refused; -1 where no transfer is meant."""

    reason: str
    suggested_remedy: str = "Please try again later."
    source_transfer_id: int
    destination_transfer_id: int


class CloneBatchFailedResponse(WireModel):
    """Why a batch is refused, and because of which transfers."""

    reason: str
    suggested_remedy: str = "Please try again later."
    source_transfer_ids: list[int]
    destination_transfer_ids: list[int]


class _Transfer(WireModel):
    source_transfer_id: WireId
    destination_transfer_id: WireId


class CloneOngoingRequest(_Transfer):
    """The bytes are on their way."""


class CloneOngoingResponse(WireModel):
    """Noted."""

    source_transfer_id: int
    destination_transfer_id: int


class CloneStagedRequest(_Transfer):
    """The bytes are in staging."""


class CloneStagedResponse(WireModel):
    """Noted."""

    source_transfer_id: int
    destination_transfer_id: int
    success: bool = True


class CloneCompleteRequest(_Transfer):
    """The copy is verified and kept on the caller's store `store_id`."""

    store_id: WireId


class CloneCompleteResponse(WireModel):
    """Noted."""

    source_transfer_id: int
    destination_transfer_id: int


class CloneFailRequest(_Transfer):
    """The sender gives a transfer up."""

    reason: WireText


class CloneFailResponse(WireModel):
    """Noted."""

    source_transfer_id: int
    destination_transfer_id: int
    success: bool
