"""Ways to move bytes to the answering site. On the wire the shape alone tells which one it is."""

from pydantic import Field

from hera_librarian.models.types import WireModel, WireTime


class LocalTransferManager(WireModel):
    """Copy to the staging location; works on the hosts named."""

    hostnames: list[str] = Field(max_length=1024)


class GlobusAsyncTransferManager(WireModel):
    """Globus transfer to an endpoint."""

    destination_endpoint: str
    native_app: bool = False
    transfer_attempted: bool = False
    transfer_complete: bool = False
    task_id: str = ""


class RsyncAsyncTransferManager(WireModel):
    """rsync to a host."""

    hostname: str
    transfer_attempted: bool = False
    transfer_complete: bool = False


class LocalAsyncTransferManager(WireModel):
    """Copy on a file system that both sites mount."""

    hostnames: list[str]
    transfer_attempted: bool = False
    transfer_complete: bool = False
    start_time_transfer: WireTime | None = None
    bytes_transfer: int | None = None


AsyncTransferManager = GlobusAsyncTransferManager | RsyncAsyncTransferManager | LocalAsyncTransferManager
