"""`checkin/update`, `checkin/status`: two sites compare the states of transfers."""

from pydantic import Field

from hera_librarian.models.types import WireId, WireModel
from hera_librarian.transfer import TransferStatus

MAX_TRANSFERS = 100_000


class CheckinUpdateRequest(WireModel):
    """Sets the state of transfers, by the ids of the site that is asked."""

    source_transfer_ids: list[WireId] = Field(max_length=MAX_TRANSFERS)
    destination_transfer_ids: list[WireId] = Field(max_length=MAX_TRANSFERS)
    new_status: TransferStatus


class CheckinUpdateResponse(WireModel):
    """Which ones were set, and why others were not."""

    modified_source_transfer_ids: list[int]
    modified_destination_transfer_ids: list[int]
    unmodified_source_transfer_ids: list[int]
    unmodified_destination_transfer_ids: list[int]
    reasons: list[str]


class CheckinStatusRequest(WireModel):
    """Asks for the state of transfers."""

    source_transfer_ids: list[WireId] = Field(max_length=MAX_TRANSFERS)
    destination_transfer_ids: list[WireId] = Field(max_length=MAX_TRANSFERS)


class CheckinStatusResponse(WireModel):
    """State by id; null where the transfer is unknown or not the caller's."""

    source_transfer_status: dict[int, TransferStatus | None]
    destination_transfer_status: dict[int, TransferStatus | None]
