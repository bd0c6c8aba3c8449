"""`upload/stage`, `upload/commit`."""

from hera_librarian.models.providers import LocalTransferManager
from hera_librarian.models.types import WireId, WireModel, WireName, WirePath, WirePolicy, WireSize, WireText


class UploadInitiationRequest(WireModel):
    """Asks for room in staging."""

    upload_size: WireSize
    upload_checksum: WireText
    upload_name: WirePath
    destination_location: WirePath
    uploader: WireName


class UploadInitiationResponse(WireModel):
    """Where to put the bytes."""

    available_bytes_on_store: int
    store_name: str
    staging_name: WirePath
    staging_location: WirePath
    upload_name: WirePath
    destination_location: WirePath
    transfer_providers: dict[str, LocalTransferManager]
    transfer_id: int


class UploadCompletionRequest(WireModel):
    """Says that the bytes are in staging."""

    store_name: WireName
    staging_name: WirePath
    staging_location: WirePath
    upload_name: WirePath
    destination_location: WirePath
    transfer_provider_name: WireName
    transfer_provider: LocalTransferManager
    meta_mode: WireText
    deletion_policy: WirePolicy
    uploader: WireName
    null_obsid: bool = False
    transfer_id: WireId


class UploadFailedResponse(WireModel):
    """Why not."""

    reason: str
    suggested_remedy: str = "Please try again later."
