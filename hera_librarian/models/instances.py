"""Copies of files in answers, `search/instance_local` and `search/instance_remote`."""

from pydantic import RootModel

from hera_librarian.deletion import DeletionPolicy
from hera_librarian.models.types import WireId, WireModel, WirePath, WirePolicy, WireText, WireTime


class InstanceSearchRequest(WireModel):
    """All conditions must hold; null says nothing."""

    id: WireId | None = None
    path: WirePath | None = None
    deletion_policy: WirePolicy | None = None
    created_time: WireTime | None = None
    file_name: WirePath | None = None
    store_id: WireId | None = None
    available: bool | None = None
    max_results: int = 64


class InstanceSearchResponse(WireModel):
    """A copy on a store of the answering site."""

    path: WirePath
    deletion_policy: DeletionPolicy
    created_time: WireTime
    available: bool
    id: int | None = None
    file_name: str | None = None
    store_id: int | None = None


class InstanceSearchResponses(RootModel[list[InstanceSearchResponse]]):
    """Newest first."""


class InstanceSearchFailedResponse(WireModel):
    """Why not."""

    reason: str
    suggested_remedy: str


class RemoteInstanceSearchRequest(WireModel):
    """All conditions must hold; null says nothing."""

    id: WireId | None = None
    file_name: WirePath | None = None
    store_id: WireId | None = None
    librarian_id: WireId | None = None
    copy_time: WireTime | None = None
    sender: WireText | None = None
    max_results: int = 64


class RemoteInstanceSearchResponse(WireModel):
    """A copy at another site."""

    librarian_name: str
    copy_time: WireTime
    id: int | None = None
    file_name: str | None = None
    store_id: int | None = None
    sender: str | None = None


class RemoteInstanceSearchResponses(RootModel[list[RemoteInstanceSearchResponse]]):
    """Newest first."""


class RemoteInstanceSearchFailedResponse(WireModel):
    """Why not."""

    reason: str
    suggested_remedy: str
