"""`validate/file`: every known copy of a file is read again."""

from pydantic import RootModel

from hera_librarian.models.types import WireModel, WirePath


class FileValidationRequest(WireModel):
    """Which file."""

    file_name: WirePath


class FileValidationResponseItem(WireModel):
    """What the bytes of one copy are now."""

    librarian: str
    store: int
    instance_id: int
    original_checksum: str
    original_size: int
    current_checksum: str
    current_size: int
    computed_same_checksum: bool


class FileValidationResponse(RootModel[list[FileValidationResponseItem]]):
    """One entry a copy."""


class FileValidationFailedResponse(WireModel):
    """Why not."""

    reason: str
    suggested_remedy: str
