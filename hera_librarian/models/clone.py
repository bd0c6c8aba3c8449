"""`clone/...`: one Librarian hands files to another.

Beside the messages of the protocol there are extensions of ours (`hera_librarian.features`). They are used only between
sites that both name them in `librarian_features`; whoever does not know a field ignores it.
"""

from typing import Annotated

from pydantic import Field

from hera_librarian.models.providers import AsyncTransferManager, LocalTransferManager
from hera_librarian.models.types import (
    MAX_ID,
    WireId,
    WireModel,
    WireName,
    WirePath,
    WireSize,
    WireText,
    WireTime,
)

MAX_BATCH = 10_000
WireIdOrNone = Annotated[int, Field(ge=-1, le=MAX_ID)]  # clients that close a transfer by hand send -1
# Of a file that is brought without a transfer of the sender, on a disk; in a batch each has another one.
WireOfferId = Annotated[int, Field(ge=-MAX_BATCH, le=MAX_ID)]
MAX_FEATURES = 64


class CloneInitiationRequest(WireModel):
    """Asks for room for one file."""

    upload_size: WireSize
    upload_checksum: WireText
    upload_name: WirePath
    destination_location: WirePath
    uploader: WireName
    source: WireName
    source_transfer_id: WireOfferId


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


class CloneFacts(WireModel):
    """What one of our sites tells another of a file beyond the protocol (feature `facts`).

    `kind` is `flat` or `directory`; `digest` the SHA-256 of a flat file or the tree digest of a directory;
    `stream_bytes` the length of the tar stream in which the `http` provider sends a directory.
    """

    kind: str = Field(pattern="^(flat|directory)$")
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    obsid: int | None = Field(default=None, ge=0, le=2**53)
    first_registered_at: WireTime | None = None
    stream_bytes: int | None = Field(default=None, ge=0, le=2**63 - 1)


class CloneBatchInitiationRequestFileItem(WireModel):
    """One file of a batch."""

    upload_size: WireSize
    upload_checksum: WireText
    upload_name: WirePath
    destination_location: WirePath
    uploader: WireName
    source_transfer_id: WireOfferId
    facts: CloneFacts | None = None


class CloneBatchInitiationRequest(WireModel):
    """Asks for room for a batch."""

    uploads: list[CloneBatchInitiationRequestFileItem] = Field(max_length=MAX_BATCH)
    source: WireName
    total_size: WireSize
    librarian_features: list[str] = Field(default=[], max_length=MAX_FEATURES)


class CloneBatchInitiationResponseFileItem(WireModel):
    """Where to put one file of a batch."""

    staging_name: WirePath
    staging_location: WirePath
    upload_name: WirePath
    destination_location: WirePath
    source_transfer_id: int
    destination_transfer_id: int
    upload_id: int | None = None  # of the resumable upload, for the provider `http`


class CloneRefusal(WireModel):
    """Why one file of a batch is not taken (feature `partial_batch`).

    `held` says that the same bytes are here under this name, on the stores `store_ids`; `passing` that the same offer
    may be taken later; `staged` that the caller has brought all its bytes, and they are being checked.
    """

    source_transfer_id: int
    code: str
    reason: str
    suggested_remedy: str = ""
    held: bool = False
    passing: bool = False
    staged: bool = False
    store_ids: list[int] = []
    checksum: str = ""


class CloneBatchInitiationResponse(WireModel):
    """Where to put a batch, and the ways that lead there, the one that works first."""

    available_bytes_on_store: int
    store_name: str
    uploads: list[CloneBatchInitiationResponseFileItem]
    async_transfer_providers: dict[str, AsyncTransferManager]
    refused: list[CloneRefusal] = []
    librarian_features: list[str] = Field(default=[], max_length=MAX_FEATURES)


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
    source_transfer_id: WireOfferId
    destination_transfer_id: WireIdOrNone


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


class CloneCompletion(WireModel):
    """One copy that is verified and kept on the caller's store `store_id`, and what was read of it."""

    source_transfer_id: WireId
    destination_transfer_id: WireId
    store_id: WireId
    size: WireSize
    checksum: WireText
    digest: str = Field(pattern="^[0-9a-f]{64}$")


class CloneBatchCompleteRequest(WireModel):
    """Many of `clone/complete` in one call (feature `batch_complete`)."""

    completions: list[CloneCompletion] = Field(max_length=MAX_BATCH)


class CloneCompletionAnswer(WireModel):
    """Whether one completion was noted, and why not."""

    source_transfer_id: int
    destination_transfer_id: int
    accepted: bool
    code: str = ""
    reason: str = ""
    suggested_remedy: str = ""


class CloneBatchCompleteResponse(WireModel):
    """An answer for each, in the order they were asked."""

    results: list[CloneCompletionAnswer]


class CloneHoldingsRequest(WireModel):
    """Asks which of these files the site holds now (feature `holdings`)."""

    names: list[WirePath] = Field(max_length=MAX_BATCH)


class CloneHolding(WireModel):
    """A file with a present copy on each of the stores `store_ids`."""

    name: str
    size: int
    checksum: str
    digest: str
    store_ids: list[int]


class CloneHoldingsResponse(WireModel):
    """Those of the names that are held; the others are not."""

    holdings: list[CloneHolding]


class CloneFailRequest(_Transfer):
    """The sender gives a transfer up."""

    reason: WireText


class CloneFailResponse(WireModel):
    """Noted."""

    source_transfer_id: int
    destination_transfer_id: int
    success: bool
