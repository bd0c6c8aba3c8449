"""`search/file`; the other searches are re-exported, since scripts import them from here as well."""

from pydantic import RootModel

from hera_librarian.models.errors import (
    ErrorSearchFailedResponse,
    ErrorSearchRequest,
    ErrorSearchResponse,
    ErrorSearchResponses,
)
from hera_librarian.models.instances import (
    InstanceSearchFailedResponse,
    InstanceSearchRequest,
    InstanceSearchResponse,
    InstanceSearchResponses,
    RemoteInstanceSearchFailedResponse,
    RemoteInstanceSearchRequest,
    RemoteInstanceSearchResponse,
    RemoteInstanceSearchResponses,
)
from hera_librarian.models.types import WireModel, WirePath, WireText, WireTime

__all__ = [
    "ErrorSearchFailedResponse",
    "ErrorSearchRequest",
    "ErrorSearchResponse",
    "ErrorSearchResponses",
    "FileSearchFailedResponse",
    "FileSearchRequest",
    "FileSearchResponse",
    "FileSearchResponses",
    "InstanceSearchFailedResponse",
    "InstanceSearchRequest",
    "InstanceSearchResponse",
    "InstanceSearchResponses",
    "RemoteInstanceSearchFailedResponse",
    "RemoteInstanceSearchRequest",
    "RemoteInstanceSearchResponse",
    "RemoteInstanceSearchResponses",
]


class FileSearchRequest(WireModel):
    """All conditions must hold; null says nothing. Both ends of the window belong to it."""

    name: WirePath | None = None
    create_time_window: tuple[WireTime, WireTime] | None = None
    uploader: WireText | None = None
    source: WireText | None = None
    max_results: int = 64


class FileSearchResponse(WireModel):
    """A file with its copies here and elsewhere."""

    name: str
    create_time: WireTime
    size: int
    checksum: str
    uploader: str
    source: str
    instances: list[InstanceSearchResponse]
    remote_instances: list[RemoteInstanceSearchResponse]


class FileSearchResponses(RootModel[list[FileSearchResponse]]):
    """Newest first."""


class FileSearchFailedResponse(WireModel):
    """Why not."""

    reason: str
    suggested_remedy: str
