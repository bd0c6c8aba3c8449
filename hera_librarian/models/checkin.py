"""`checkin/update`, `checkin/status`: two sites compare the states of transfers."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hera_librarian.models.types import WireId, WireModel, WireText
from hera_librarian.transfer import TransferStatus

MAX_TRANSFERS = 100_000


def _not_too_many(value: Any) -> Any:
    """Said before the entries are read: of an object all are read, and what is wrong with each is kept meanwhile."""
    if isinstance(value, dict) and len(value) > MAX_TRANSFERS:
        raise ValueError(f"must have at most {MAX_TRANSFERS} entries")
    return value


Bounded = BeforeValidator(_not_too_many)


class TransferFailure(WireModel):
    """Why a transfer failed; `passing`: another attempt may succeed without anybody mending anything."""

    code: WireText = ""
    reason: WireText = ""
    suggested_remedy: WireText = ""
    passing: bool = False


class CheckinUpdateRequest(WireModel):
    """Sets the state of transfers, by the ids of the site that is asked.

    Extensions of ours: `counterparts` gives the caller's own id of a transfer by that of the site that is asked, so
    that an id which a restored database has given out anew is not taken for the old one; `failures` says by the same
    key why a transfer failed.
    """

    source_transfer_ids: list[WireId] = Field(max_length=MAX_TRANSFERS)
    destination_transfer_ids: list[WireId] = Field(max_length=MAX_TRANSFERS)
    new_status: TransferStatus
    counterparts: Annotated[dict[int, int], Bounded] = {}
    failures: Annotated[dict[int, TransferFailure], Bounded] = {}


class CheckinUpdateResponse(WireModel):
    """Which ones were set, and why others were not."""

    modified_source_transfer_ids: list[int]
    modified_destination_transfer_ids: list[int]
    unmodified_source_transfer_ids: list[int]
    unmodified_destination_transfer_ids: list[int]
    reasons: list[str]


class CheckinStatusRequest(WireModel):
    """Asks for the state of transfers. `counterparts` as in the update."""

    source_transfer_ids: list[WireId] = Field(max_length=MAX_TRANSFERS)
    destination_transfer_ids: list[WireId] = Field(max_length=MAX_TRANSFERS)
    counterparts: Annotated[dict[int, int], Bounded] = {}


class CheckinStatusResponse(WireModel):
    """State by id; null where the transfer is unknown or not the caller's. `failures` say why one failed (ours)."""

    source_transfer_status: dict[int, TransferStatus | None]
    destination_transfer_status: dict[int, TransferStatus | None]
    failures: dict[int, TransferFailure] = {}
