"""The client of an administrator: accounts, stores, other sites, the error inbox, disks that travel."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

import requests

from hera_librarian.authlevel import AuthLevel
from hera_librarian.checksums import DEFAULT_ALGORITHM
from hera_librarian.client import LibrarianClient, RefusedValue, checked, told_as
from hera_librarian.deletion import DeletionPolicy
from hera_librarian.errors import ErrorCategory, ErrorSeverity
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError, LibrarianTimeoutError
from hera_librarian.models.admin import (
    AdminAddLibrarianRequest,
    AdminAddLibrarianResponse,
    AdminChangeLibrarianTransferStatusRequest,
    AdminCreateFileRequest,
    AdminCreateFileResponse,
    AdminDeleteInstanceRequest,
    AdminDeleteInstanceResponse,
    AdminLibrarianTransferStatusResponse,
    AdminListLibrariansRequest,
    AdminListLibrariansResponse,
    AdminRemoveLibrarianRequest,
    AdminRemoveLibrarianResponse,
    AdminStoreListItem,
    AdminStoreListResponse,
    AdminStoreManifestRequest,
    AdminStoreManifestResponse,
    AdminStoreStateChangeRequest,
    AdminStoreStateChangeResponse,
)
from hera_librarian.models.clone import (
    CloneCompleteRequest,
    CloneCompleteResponse,
    CloneInitiationRequest,
    CloneInitiationResponse,
    CloneOngoingRequest,
    CloneOngoingResponse,
    CloneStagedRequest,
    CloneStagedResponse,
)
from hera_librarian.models.errors import (
    ErrorClearRequest,
    ErrorClearResponse,
    ErrorSearchRequest,
    ErrorSearchResponse,
    ErrorSearchResponses,
)
from hera_librarian.models.users import (
    UserAdministrationChangeResponse,
    UserAdministrationCreationRequest,
    UserAdministrationDeleteRequest,
    UserAdministrationGetRequest,
    UserAdministrationGetResponse,
    UserAdministrationUpdateRequest,
)
from hera_librarian.shared_disk import Measured, check_reachable, copy_product, measure

# Packing a disk of a million files takes a while before the first byte comes.
MANIFEST_TIMEOUT = (10, 6 * 3600)
UNKNOWN = "Unknown error. Please check the arguments and the server's log."


class AdminClient(LibrarianClient):
    """A LibrarianClient with the calls that need the level ADMIN."""

    # --- Error inbox --------------------------------------------------------------------------------------------------

    def search_errors(
        self,
        id: int | None = None,
        category: ErrorCategory | str | None = None,
        severity: ErrorSeverity | str | None = None,
        create_time_window: tuple[datetime, datetime] | None = None,
        include_resolved: bool = False,
        max_results: int = 64,
    ) -> list[ErrorSearchResponse]:
        """Troubles for which all of these hold, newest first; only unsolved ones unless told otherwise."""
        message = checked(
            ErrorSearchRequest,
            id=id,
            category=category,
            severity=severity,
            create_time_window=create_time_window,
            include_resolved=include_resolved,
            max_results=max_results,
        )
        try:
            return self.post("search/error", message, ErrorSearchResponses).root
        except LibrarianHTTPError as problem:
            if problem.status_code == 404 and problem.reason == "No errors found.":
                return []
            raise

    def clear_error(self, id: int) -> None:
        """Say that a trouble is dealt with. Raises ValueError if there is none of that id, or it is cleared already."""
        message = checked(ErrorClearRequest, id=id)
        with told_as(RefusedValue, 404, "No error found with ID"), told_as(RefusedValue, 400, "Error with ID"):
            self.post("error/clear", message, ErrorClearResponse)

    # --- Accounts -----------------------------------------------------------------------------------------------------

    def create_user(self, username: str, password: str, auth_level: AuthLevel) -> None:
        """Make an account. Raises ValueError if the name is taken."""
        message = checked(
            UserAdministrationCreationRequest, username=username, password=password, permission=auth_level
        )
        self._change_user("users/create", message, "User already exists", username)

    def update_user(self, username: str, new_password: str | None = None, auth_level: AuthLevel | None = None) -> None:
        """Give an account another password, another level, or both. Raises ValueError if there is none."""
        message = checked(
            UserAdministrationUpdateRequest, username=username, password=new_password, permission=auth_level
        )
        self._change_user("users/update", message, "User not found", username)

    def delete_user(self, username: str) -> None:
        """Remove an account. Raises ValueError if there is none."""
        message = checked(UserAdministrationDeleteRequest, username=username)
        self._change_user("users/delete", message, "User not found", username)

    def get_user(self, username: str) -> UserAdministrationGetResponse:
        """Name and level (`.permission`) of an account. Raises ValueError if there is none."""
        message = checked(UserAdministrationGetRequest, username=username)
        with _about_user("User not found", username):
            return self.post("users/get", message, UserAdministrationGetResponse)

    def _change_user(self, endpoint: str, message: Any, refusal: str, username: str) -> None:
        """Some servers refuse with status 200 and nothing but `success: false`."""
        with _about_user(refusal, username):
            answer = self.post(endpoint, message, UserAdministrationChangeResponse)
        if not answer.success:
            raise RefusedValue(f"{refusal}: {username}.", code="refused")

    # --- Files and copies ---------------------------------------------------------------------------------------------

    def add_file_row(
        self,
        name: str,
        create_time: datetime,
        size: int,
        checksum: str,
        uploader: str,
        path: Path | str,
        store_name: str,
    ) -> AdminCreateFileResponse:
        """Register a file that lies on a store already, at this absolute path. Raises LibrarianError."""
        message = checked(
            AdminCreateFileRequest,
            name=name,
            create_time=create_time,
            size=size,
            checksum=checksum,
            uploader=uploader,
            source=self.account_name(),
            path=path,
            store_name=store_name,
        )
        with _about_a_row():
            return self.post("admin/add_file", message, AdminCreateFileResponse)

    def delete_instance(self, instance_id: int, instance_type: str = "local") -> AdminDeleteInstanceResponse:
        """Have the server forget a copy, its own (`local`) or another site's (`remote`); no bytes are removed."""
        if instance_type not in ("local", "remote"):
            raise LibrarianError(f"The type of an instance is 'local' or 'remote', not {instance_type!r}.")
        message = checked(AdminDeleteInstanceRequest, instance_id=instance_id, delete_file=False)
        with _about_a_row():
            return self.post(f"admin/instance/delete_{instance_type}", message, AdminDeleteInstanceResponse)

    # --- Stores -------------------------------------------------------------------------------------------------------

    def get_store_list(self) -> list[AdminStoreListItem]:
        """All stores, with the bytes that may still be written."""
        return self.post("admin/stores/list", None, AdminStoreListResponse).root

    def set_store_state(self, store_name: str, enabled: bool) -> bool:
        """Switch a store on or off; how it is now. Raises LibrarianError if there is no such store."""
        message = checked(AdminStoreStateChangeRequest, store_name=store_name, enabled=enabled)
        with told_as(LibrarianError, 400, "Store"):
            return self.post("admin/stores/state_change", message, AdminStoreStateChangeResponse).enabled

    # --- Disks that travel --------------------------------------------------------------------------------------------

    def get_store_manifest(
        self,
        store_name: str,
        create_outgoing_transfers: bool = False,
        destination_librarian: str | None = None,
        disable_store: bool = False,
        mark_local_instances_as_unavailable: bool = False,
    ) -> AdminStoreManifestResponse:
        """What lies on a store; with the flags the store is also handed over to another site.

        Raises LibrarianError if there is no such store.
        """
        message = _manifest_request(
            store_name,
            create_outgoing_transfers=create_outgoing_transfers,
            destination_librarian=destination_librarian,
            disable_store=disable_store,
            mark_local_instances_as_unavailable=mark_local_instances_as_unavailable,
        )
        with told_as(LibrarianError, 400, "Store"):
            return self.transport.wire(
                "admin/stores/manifest", message, AdminStoreManifestResponse, timeout=MANIFEST_TIMEOUT
            )

    def save_store_manifest(self, file: IO[bytes], store_name: str, **wishes: Any) -> None:
        """The same, written to `file` as the server sends it: its SHA-256 is the seal of the disk.

        `wishes` are the flags of `get_store_manifest`. Raises LibrarianError if there is no such store.
        """
        message = _manifest_request(store_name, **wishes)
        with told_as(LibrarianError, 400, "Store"):
            response = self.transport.request(
                "POST",
                "v2/admin/stores/manifest",
                data=message.model_dump_json().encode(),
                headers={"Content-Type": "application/json"},
                stream=True,
                timeout=MANIFEST_TIMEOUT,
            )
        try:
            with response:
                for block in response.iter_content(2**20):
                    file.write(block)
        except requests.RequestException as problem:
            raise LibrarianTimeoutError(
                response.url, "The connection broke while the manifest came.", code="connection_broke"
            ) from problem

    def ingest_manifest_entry(
        self,
        name: str,
        create_time: datetime,
        size: int,
        checksum: str,
        uploader: str,
        source: str,
        deletion_policy: DeletionPolicy | int,
        source_transfer_id: int,
        local_path: Path | str,
    ) -> None:
        """Hand over one file of a manifest from the disk that travelled. This machine must see the server's staging.

        `create_time` and `deletion_policy` are not sent: the protocol has no place for them. Raises LibrarianError
        if the server has the file already, or the bytes are not those of the manifest.
        """
        local_path = Path(local_path)
        measured = measure(local_path)
        request = checked(
            CloneInitiationRequest,
            upload_size=size,
            upload_checksum=checksum,
            upload_name=PurePosixPath(name).name,
            destination_location=name,
            uploader=uploader,
            source=source,
            source_transfer_id=source_transfer_id,
        )
        _check_against_manifest(local_path, measured, size, checksum)
        with told_as(LibrarianError, 409, "already exists on librarian"):
            staged = self.post("clone/stage", request, CloneInitiationResponse)
        ids = {
            "source_transfer_id": staged.source_transfer_id,
            "destination_transfer_id": staged.destination_transfer_id,
        }
        with told_as(LibrarianError, 400, "Transfer"):
            self.post("clone/ongoing", CloneOngoingRequest(**ids), CloneOngoingResponse)
        hosts = [host for provider in staged.transfer_providers.values() for host in provider.hostnames]
        check_reachable(Path(staged.staging_location), hosts)
        copy_product(local_path, Path(staged.staging_location), measured)
        self.post("clone/staged", CloneStagedRequest(**ids), CloneStagedResponse)

    def complete_outgoing_transfer(self, outgoing_transfer_id: int, store_id: int) -> bool:
        """Close a transfer of this server by hand: the other site holds the file on its store `store_id`."""
        message = CloneCompleteRequest.model_construct(
            source_transfer_id=outgoing_transfer_id, destination_transfer_id=-1, store_id=store_id
        )
        with told_as(LibrarianError, 400, "ransfer"):  # servers write it with either letter
            self.post("clone/complete", message, CloneCompleteResponse)
        return True

    # --- Other sites --------------------------------------------------------------------------------------------------

    def get_librarian_list(self, ping: bool = False) -> AdminListLibrariansResponse:
        """The sites that the server knows, as `.librarians`; with `ping` it asks each whether it answers."""
        with told_as(LibrarianError, 400, "User"):
            return self.post(
                "admin/librarians/list", AdminListLibrariansRequest(ping=ping), AdminListLibrariansResponse
            )

    def add_librarian(
        self,
        name: str,
        url: str | None = None,
        port: int | None = None,
        authenticator: str | None = None,
        check_connection: bool = True,
        *,
        host: str | None = None,
    ) -> bool:
        """Tell the server of another site, and of its account there. `host` is another word for `url`.

        False if the name is taken, or the site was asked and did not answer. Raises LibrarianError if the server
        refuses it.
        """
        url = url if url is not None else host
        if not url or port is None or not authenticator:
            raise RefusedValue("A site has a name, a url (or host), a port and an authenticator.", code="invalid_value")
        message = checked(
            AdminAddLibrarianRequest,
            librarian_name=name,
            url=url,
            port=port,
            authenticator=authenticator,
            check_connection=check_connection,
        )
        with told_as(LibrarianError, 400, "Librarian"):
            return self.post("admin/librarians/add", message, AdminAddLibrarianResponse).success

    def remove_librarian(self, name: str, remove_outgoing_transfers: bool = False) -> tuple[bool, int]:
        """Have the server forget another site; whether it did, and how many transfers to it were ended."""
        message = checked(
            AdminRemoveLibrarianRequest, librarian_name=name, remove_outgoing_transfers=remove_outgoing_transfers
        )
        with told_as(LibrarianError, 400, "Librarian", "does not exist"):
            answer = self.post("admin/librarians/remove", message, AdminRemoveLibrarianResponse)
        return answer.success, answer.number_of_transfers_removed

    def set_librarian_status(self, librarian_name: str, transfers_enabled: bool) -> bool:
        """Switch transfers to another site on or off; how it is now. Raises LibrarianError if there is none.

        Servers have the switch under either of two names.
        """
        message = checked(
            AdminChangeLibrarianTransferStatusRequest,
            librarian_name=librarian_name,
            transfers_enabled=transfers_enabled,
        )
        model = AdminLibrarianTransferStatusResponse
        with told_as(LibrarianError, 400, "Librarian"):
            try:
                return self.post("admin/librarians/transfer_status/set", message, model).transfers_enabled
            except LibrarianHTTPError as problem:
                if problem.status_code not in (404, 405):
                    raise
            return self.post("admin/librarians/transfer_status/change", message, model).transfers_enabled


def _manifest_request(
    store_name: str, *, destination_librarian: str | None = None, **flags: bool
) -> AdminStoreManifestRequest:
    return checked(
        AdminStoreManifestRequest,
        store_name=store_name,
        destination_librarian=destination_librarian or "",
        **flags,
    )


def _check_against_manifest(path: Path, measured: Measured, size: int, checksum: str) -> None:
    """Refuse early what the server would refuse after the copy. Of a checksum by another algorithm it is the judge."""
    if measured.size_bytes != size:
        said = f"{path} has {measured.size_bytes} bytes, the manifest says {size}."
    elif checksum.startswith(DEFAULT_ALGORITHM) and checksum != measured.checksum:
        said = f"The bytes of {path} are not those of the manifest."
    else:
        return
    raise LibrarianError(said, remedy="Take the file from another copy.", code="content_mismatch")


@contextmanager
def _about_user(refusal: str, username: str) -> Iterator[None]:
    """Turn a refusal about an account into the exception that scripts expect.

    A server that does not say why answers 400 with the message of a success, and means the one thing that can be wrong.
    """
    try:
        yield
    except LibrarianHTTPError as problem:
        body = problem.full_response
        says_nothing = not body.get("reason") and ("success" in body or "permission" in body)
        if problem.status_code != 400 or not (says_nothing or refusal in problem.reason):
            raise
        reason = f"{refusal}: {username}." if says_nothing else problem.reason
        raise RefusedValue(reason, remedy=problem.suggested_remedy, code=problem.code) from problem


@contextmanager
def _about_a_row() -> Iterator[None]:
    """Turn a refusal of a row into LibrarianError; who may not ask at all learns that."""
    try:
        yield
    except LibrarianHTTPError as problem:
        if problem.status_code in (401, 403):
            raise
        reason = str(problem.full_response.get("reason") or UNKNOWN)
        raise LibrarianError(reason, remedy=problem.suggested_remedy, code=problem.code) from problem
