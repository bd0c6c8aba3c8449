"""`admin/...`: stores, peers, single rows."""

from pydantic import AliasChoices, Field, RootModel

from hera_librarian.deletion import DeletionPolicy
from hera_librarian.models.types import WireId, WireModel, WireName, WirePath, WireSize, WireText, WireTime


class AdminRequestFailedResponse(WireModel):
    """Why not."""

    reason: str
    suggested_remedy: str


class AdminCreateFileRequest(WireModel):
    """A file that lies on a store already."""

    name: WirePath
    create_time: WireTime
    size: WireSize
    checksum: WireText
    uploader: WireName
    source: WireName
    path: WirePath
    store_name: WireName


class AdminCreateFileResponse(WireModel):
    """Whether it was known, whether its bytes are there, whether all is well."""

    already_exists: bool = False
    file_exists: bool = False
    success: bool = False


class AdminStoreListItem(WireModel):
    """A store; `free_space` in bytes, -1 when it is away."""

    name: str
    store_type: str
    free_space: int
    ingestable: bool
    available: bool
    enabled: bool


class AdminStoreListResponse(RootModel[list[AdminStoreListItem]]):
    """All stores."""


class AdminStoreStateChangeRequest(WireModel):
    """Switches a store on or off."""

    store_name: WireName
    enabled: bool


class AdminStoreStateChangeResponse(WireModel):
    """How it is now."""

    store_name: str
    enabled: bool
    success: bool


class AdminStoreManifestRequest(WireModel):
    """What lies on a store; with the flags also hands it over to a peer."""

    store_name: WireName
    create_outgoing_transfers: bool = False
    destination_librarian: WireText = ""
    disable_store: bool = False
    mark_local_instances_as_unavailable: bool = False


class ManifestEntry(WireModel):
    """One copy on a store.

    The fields from `instance_id` on are ours: `place` is the path below the store's root, `digest` the SHA-256 of a
    flat file or the tree digest of a directory (`kind`).
    """

    name: str
    create_time: WireTime
    size: int
    checksum: str
    uploader: str
    source: str
    instance_path: WirePath
    deletion_policy: DeletionPolicy
    instance_create_time: WireTime
    instance_available: bool
    outgoing_transfer_id: int
    instance_id: int | None = None
    place: WirePath = ""
    kind: str = ""
    digest: str = ""
    obsid: int | None = None
    first_registered_at: WireTime | None = None


class ManifestShipment(WireModel):
    """The trip that a manifest belongs to."""

    id: int
    destination_librarian: str = ""
    packed_at: WireTime | None = None


class AdminStoreManifestResponse(WireModel):
    """What lies on a store. The last four fields are ours.

    `librarian_features` are the extensions that may be used in calls back to the site that wrote it.
    """

    librarian_name: str
    store_name: str
    store_files: list[ManifestEntry]
    shipment: ManifestShipment | None = None
    librarian_features: list[str] = []
    file_count: int | None = None
    size_bytes: int | None = None


class AdminListLibrariansRequest(WireModel):
    """With `ping` each peer is asked whether it answers."""

    ping: bool = True


class LibrarianListResponseItem(WireModel):
    """A peer; `available` is null when nobody asked. The last two fields are ours: why it is not available."""

    name: str
    url: str
    port: int
    available: bool | None
    enabled: bool
    reason: str | None = None
    suggested_remedy: str | None = None


class AdminListLibrariansResponse(WireModel):
    """All peers."""

    librarians: list[LibrarianListResponseItem]


class AdminAddLibrarianRequest(WireModel):
    """A new peer, with our account there. Scripts call the address `url` or `host`."""

    librarian_name: WireName
    url: WireText = Field(validation_alias=AliasChoices("url", "host"))
    port: int = Field(ge=1, le=65535)
    authenticator: str = Field(max_length=4096, repr=False)
    check_connection: bool = True


class AdminAddLibrarianResponse(WireModel):
    """Whether it was added; `ping_success` is null when the connection was not tried. The rest is ours: why not."""

    success: bool
    already_exists: bool
    ping_success: bool | None
    code: str | None = None
    reason: str | None = None
    suggested_remedy: str | None = None


class AdminRemoveLibrarianRequest(WireModel):
    """A peer to forget."""

    librarian_name: WireName
    remove_outgoing_transfers: bool = False


class AdminRemoveLibrarianResponse(WireModel):
    """Whether it is gone, and how many transfers to it were ended."""

    success: bool
    number_of_transfers_removed: int


class AdminChangeLibrarianTransferStatusRequest(WireModel):
    """Switches transfers to a peer on or off."""

    librarian_name: WireName
    transfers_enabled: bool


class AdminLibrarianTransferStatusResponse(WireModel):
    """How it is now."""

    librarian_name: str
    transfers_enabled: bool


class AdminDeleteInstanceRequest(WireModel):
    """A copy to forget; with `delete_file` its bytes too."""

    instance_id: WireId
    delete_file: bool | None = False


class AdminDeleteInstanceResponse(WireModel):
    """Whether it was done."""

    success: bool
    instance_id: int
