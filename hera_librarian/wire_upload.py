"""Uploading over the wire: stage, copy onto the disk that client and server share, commit.

The way of servers without version 3, and the fastest one where the disk is shared. No bytes travel in HTTP.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from hera_librarian.deletion import DeletionPolicy
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError, LibrarianTimeoutError
from hera_librarian.models.uploads import UploadCompletionRequest, UploadInitiationRequest, UploadInitiationResponse
from hera_librarian.shared_disk import Measured, Pace, Progress, check_reachable, copy_product, measure

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient

NEW = "new"
ALREADY_HERE = "already here"
# A commit is answered once the server has read the bytes again; the slowest disk that we reckon with.
COMMIT_BYTES_PER_SECOND = 10e6


@dataclass(frozen=True, slots=True)
class DiskUpload:
    """What became of an upload. `name` is the one the file is filed as where the server tells, else as asked for."""

    name: str
    outcome: str
    size_bytes: int
    checksum: str


def upload_by_disk(
    client: "LibrarianClient",
    local_path: Path | str,
    destination: Path | str,
    *,
    deletion_policy: DeletionPolicy = DeletionPolicy.DISALLOWED,
    null_obsid: bool = False,
    uploader: str | None = None,
    progress: Progress | None = None,
    pace: Pace | None = None,
) -> DiskUpload:
    """Upload one file or directory product through the server's staging area.

    Raises
    ------
    NoSharedDisk
        The staging area cannot be written from here.
    ValueError
        The destination is absolute.
    LibrarianError, LibrarianHTTPError
        The product cannot be read, or the server refuses. A name that is taken by the very same bytes is no refusal:
        the outcome is `already here` then.
    """
    local_path = Path(local_path)
    destination = relative_destination(destination)
    measured = measure(local_path)
    request = UploadInitiationRequest(
        upload_size=measured.size_bytes,
        upload_checksum=measured.checksum,
        upload_name=PurePosixPath(destination).name,
        destination_location=destination,
        uploader=uploader or client.account_name(),
    )
    try:
        staged = client.post("upload/stage", request, UploadInitiationResponse)
    except LibrarianHTTPError as problem:
        if problem.status_code == 409 and (name := _filed_name(client, destination, measured)):
            return DiskUpload(name, ALREADY_HERE, measured.size_bytes, measured.checksum)
        raise
    provider = _local_provider(staged)
    copy_product(local_path, Path(staged.staging_location), measured, progress=progress, pace=pace)
    message = UploadCompletionRequest(
        **staged.model_dump(exclude={"available_bytes_on_store", "transfer_providers"}),
        transfer_provider_name=provider,
        transfer_provider=staged.transfer_providers[provider],
        meta_mode="infer",
        deletion_policy=deletion_policy,
        uploader=request.uploader,
        null_obsid=null_obsid,
    )
    name = _commit(client, message, measured)
    return DiskUpload(name, NEW, measured.size_bytes, measured.checksum)


def relative_destination(destination: Path | str) -> str:
    """The destination as text. Raises ValueError if it is absolute."""
    text = destination.as_posix() if isinstance(destination, Path) else str(destination)
    if text.startswith("/"):
        raise AbsoluteDestination(text)
    return text


class AbsoluteDestination(LibrarianError, ValueError):
    """Files are named relative to the archive; scripts expect a ValueError."""

    def __init__(self, destination: str) -> None:
        remedy = "Leave the leading slash out."
        super().__init__(
            f"Destination path may not be absolute; got {destination!r}.", remedy=remedy, code="invalid_name"
        )


def _local_provider(staged: UploadInitiationResponse) -> str:
    """Name of the first way to the staging area. Raises NoSharedDisk if none leads there from here."""
    hostnames = [host for provider in staged.transfer_providers.values() for host in provider.hostnames]
    check_reachable(Path(staged.staging_location), hostnames if staged.transfer_providers else ())
    return next(iter(staged.transfer_providers), "local")


def _commit(client: "LibrarianClient", message: UploadCompletionRequest, measured: Measured) -> str:
    """Commit and return the name as filed.

    Our servers may be asked twice. Others set a transfer that they ask twice about to failed, although the file is
    in, so there a lost answer is looked up instead.
    """
    connect, _ = client.transport.timeout
    try:
        response = client.transport.request(
            "POST",
            "v2/upload/commit",
            data=message.model_dump_json().encode(),
            headers={"Content-Type": "application/json"},
            safe=_is_ours(client),
            timeout=(connect, 300 + measured.size_bytes / COMMIT_BYTES_PER_SECOND),
        )
    except LibrarianTimeoutError as problem:
        if name := _filed_name(client, message.destination_location, measured):
            return name
        problem.suggested_remedy = "The server may still be filing it: search for the name before sending it again."
        raise
    except LibrarianHTTPError as problem:
        problem.url = "upload/commit"
        raise
    return unquote(response.headers.get("Librarian-Name", "")) or message.destination_location


def _is_ours(client: "LibrarianClient") -> bool:
    try:
        return client.site() is not None
    except (LibrarianError, LibrarianHTTPError):
        return False  # no reason to give up an upload


def _filed_name(client: "LibrarianClient", destination: str, measured: Measured) -> str | None:
    """Name under which these very bytes are held, None if they are not or nobody knows."""
    try:
        found = client.search_files(name=destination)
    except (LibrarianError, LibrarianHTTPError):
        return None  # the failure that led here says more
    for file in found:
        same = file.size == measured.size_bytes and file.checksum == measured.checksum
        if same and (file.remote_instances or any(instance.available for instance in file.instances)):
            return file.name
    return None
