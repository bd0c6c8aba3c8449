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
    """rsync to a host; `ssh_host` (ours) is the name by which SSH reaches it, `hostname` if left out."""

    hostname: str
    ssh_host: str | None = None
    transfer_attempted: bool = False
    transfer_complete: bool = False


class LocalAsyncTransferManager(WireModel):
    """Copy on a file system that both sites mount."""

    hostnames: list[str]
    transfer_attempted: bool = False
    transfer_complete: bool = False
    start_time_transfer: WireTime | None = None
    bytes_transfer: int | None = None


class HttpAsyncTransferManager(WireModel):
    """Resumable uploads at the site's own API (ours): pieces go to `<API root>/<upload_path><upload_id>/`."""

    upload_path: str = Field(pattern=r"^v3/[a-z/]{1,64}/$")


AsyncTransferManager = (
    GlobusAsyncTransferManager | RsyncAsyncTransferManager | LocalAsyncTransferManager | HttpAsyncTransferManager
)
