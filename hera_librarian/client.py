"""The client of one server: what an account that is no administrator's can ask for.

Calls of the wire protocol are made here, so they work with every server. Uploading with resumption and finding live in
`uploading` and `finding`, which are imported when they are used; methods of older clients in `classic`.
"""

import getpass
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from hera_librarian.addresses import split_url
from hera_librarian.classic import ClassicMethods
from hera_librarian.config import ClientInfo, connection, read_connection
from hera_librarian.deletion import DeletionPolicy
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError
from hera_librarian.models.ping import PingRequest, PingResponse
from hera_librarian.models.search import FileSearchRequest, FileSearchResponse, FileSearchResponses
from hera_librarian.models.users import UserAdministrationChangeResponse, UserAdministrationPasswordChange
from hera_librarian.models.validate import FileValidationRequest, FileValidationResponse, FileValidationResponseItem
from hera_librarian.site import SiteInfo
from hera_librarian.transport import Timeout, Transport

if TYPE_CHECKING:
    from hera_librarian.finding import DownloadResult, FileResult, Search
    from hera_librarian.uploading import UploadResult

Answer = TypeVar("Answer", bound=BaseModel)
Message = TypeVar("Message", bound=BaseModel)

# Re-reading every copy of a large file takes the disks as long as it takes.
VALIDATION_TIMEOUT = (10, 6 * 3600)


class RefusedValue(LibrarianError, ValueError):
    """The server refuses a value; scripts catch it as either."""


class LibrarianClient(ClassicMethods):
    """Speaks to one server.

    `LibrarianClient("karoo")` takes a connection from the configuration, `LibrarianClient(conn_name="karoo",
    conn_config={"url": ..., "authenticator": ...})` one that is given, and
    `LibrarianClient("https://librarian.example.org", 443, "me", "secret")` needs no configuration. A token replaces
    user and password: `LibrarianClient("https://librarian.example.org", 443, token="...")`.

    Attributes
    ----------
    host : str
        With its scheme, without a trailing slash or port.
    port : int
    user, password : str
        Empty with a token.
    transport : Transport
        Sends the requests; usable for all of `/api/`.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | Mapping[str, Any] | None = None,
        user: str | None = None,
        password: str | None = None,
        *,
        token: str | None = None,
        conn_name: str | None = None,
        conn_config: Mapping[str, Any] | None = None,
        timeout: Timeout | float = (10, 300),
        retries: int = 5,
    ) -> None:
        if isinstance(port, Mapping):  # the classic second parameter
            port, conn_config = None, port
        if host is not None and conn_name is None and "://" not in host and port is None:
            host, conn_name = None, host
        if (host is None) == (conn_name is None and conn_config is None):
            raise LibrarianError(
                "Give the name of a connection, or host, port, user and password.", code="invalid_configuration"
            )
        if host is None:
            info = read_connection(conn_config, name=conn_name or "") if conn_config else connection(conn_name or "")
            host, port, user, password, token = info.host, info.port, info.user, info.password, info.token
        elif port is None:
            host, port = split_url(host)
        if user and not password:
            raise LibrarianError(
                f"There is no password for {user} at {host}.",
                remedy="Give it, or name a password_file or password_env in the connection.",
                code="no_password",
            )
        self.name = conn_name or ""
        self.host = host.removesuffix("/")
        self.port = int(port)
        self.user = user or ""
        self.password = password or ""
        self.transport = Transport(self.host, self.port, user, password, token, timeout=timeout, retries=retries)
        self._site: SiteInfo | None = None
        self._site_is_known = False

    @classmethod
    def from_info(cls, client_info: ClientInfo) -> "LibrarianClient":
        """A client for a connection of the configuration."""
        token = getattr(client_info, "token", None)
        client = cls(client_info.host, client_info.port, client_info.user, client_info.password, token=token)
        client.name = getattr(client_info, "name", "")
        return client

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.user or 'token'} at {self.transport.root}>"

    def __enter__(self) -> "LibrarianClient":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client can be used again."""
        self.transport.close()

    # --- Calls of the wire --------------------------------------------------------------------------------------------

    @property
    def hostname(self) -> str:
        """Root of the wire protocol at this server."""
        return f"{self.transport.root}/v2"

    def resolve(self, path: str) -> str:
        """Full address of an endpoint of the wire."""
        return f"{self.hostname}/{path.removeprefix('/')}"

    def post(
        self, endpoint: str, request: BaseModel | None = None, response: type[Answer] | None = None
    ) -> Answer | None:
        """Call an endpoint of the wire; its answer, None if no response model is given.

        Raises
        ------
        LibrarianHTTPError
            The server refuses; the error has its reason and remedy.
        LibrarianTimeoutError
            The server could not be reached, or did not answer in time.
        LibrarianError
            What it answered is not of the protocol.
        """
        return self.transport.wire(endpoint, request, response)

    def ping(self, require_login: bool = False, **ignored: Any) -> PingResponse:
        """Who answers. Wrong credentials are noticed only with `require_login`."""
        endpoint = "ping/logged" if require_login else "ping/"
        return self.transport.wire(endpoint, PingRequest(), PingResponse, retries=1)

    def search_files(
        self,
        name: str | None = None,
        create_time_window: tuple[datetime, datetime] | None = None,
        uploader: str | None = None,
        source: str | None = None,
        max_results: int = 64,
        *,
        search: str | None = None,
    ) -> list[FileSearchResponse] | dict[str, Any]:
        """Files for which all of these hold, newest first, with their copies; at most `max_results`.

        A JSON text as `name` or `search` is a classic search: see `classic.search_files_classically`.
        """
        if search is not None or (isinstance(name, str) and name.lstrip().startswith("{")):
            return self.search_files_classically(search if search is not None else name)
        message = checked(
            FileSearchRequest,
            name=name,
            create_time_window=create_time_window,
            uploader=uploader,
            source=source,
            max_results=max_results,
        )
        try:
            return self.post("search/file", message, FileSearchResponses).root
        except LibrarianHTTPError as problem:
            if problem.status_code == 404 and problem.reason == "No files found.":
                return []
            raise

    def validate_file(self, file_name: str) -> list[FileValidationResponseItem]:
        """Have every known copy of a file read again; one entry a copy."""
        message = checked(FileValidationRequest, file_name=file_name)
        return self.transport.wire(
            "validate/file", message, FileValidationResponse, timeout=VALIDATION_TIMEOUT, safe=False
        ).root

    def change_password(self, current_password: str, new_password: str) -> bool:
        """Give this account another password, which the client uses from then on.

        Raises ValueError if `current_password` is not the one that the client uses.
        """
        if current_password != self.password:
            raise RefusedValue("The current password is not the one of this client.", code="wrong_password")
        message = checked(UserAdministrationPasswordChange, password=current_password, new_password=new_password)
        answer = self.post("users/password_update", message, UserAdministrationChangeResponse)
        if answer.success:
            self.password = new_password
            self.transport.set_credentials(self.user, new_password)
        return answer.success

    # --- Files in and out ---------------------------------------------------------------------------------------------

    def site(self) -> SiteInfo | None:
        """What the server says of itself; None if it speaks only the wire protocol. Asked once, then remembered."""
        if not self._site_is_known:
            self._site = self._ask_site()
            self._site_is_known = True
        return self._site

    def upload(
        self,
        local_path: Path | str,
        dest_path: Path | str,
        deletion_policy: DeletionPolicy | str | int = DeletionPolicy.DISALLOWED,
        **options: Any,
    ) -> "UploadResult":
        """Upload a file or a directory product, filed as `dest_path`, which is relative.

        The bytes go over a shared disk where the server says that this machine sees it, else over HTTP, resumed after
        a cut. `options` are those of `uploading.upload_path`. Doing it twice is harmless: the outcome is
        `already here` then.

        Raises
        ------
        ValueError
            `dest_path` is absolute.
        LibrarianHTTPError, LibrarianError
            It was not uploaded.
        """
        from hera_librarian.wire_upload import relative_destination

        destination = relative_destination(dest_path)
        policy = DeletionPolicy.from_str(str(deletion_policy))
        if self.site() is None:
            return self._upload_by_wire(local_path, destination, deletion_policy=policy, **options)
        from hera_librarian.uploading import upload_path

        result = upload_path(self, Path(local_path), destination, deletion_policy=policy, **options)
        if not result.ok:
            raise LibrarianError(result.reason, remedy=result.remedy, code=result.code)
        return result

    def search(self, **filters: Any) -> "Search":
        """Files that match, over all pages, fetched as they are looked at; `.to_table()` makes an astropy Table."""
        from hera_librarian.finding import search

        return search(self, **filters)

    def file(self, name: str) -> "FileResult":
        """The file of this name. Raises LibrarianHTTPError (404) if there is none."""
        from hera_librarian.finding import file_named

        return file_named(self, name)

    def download(self, files: Iterable[Any], folder: Path | str, **options: Any) -> "list[DownloadResult]":
        """Download files, given by name or as results of a search, into a folder; digests are verified."""
        from hera_librarian.finding import download_files

        return list(download_files(self, files, Path(folder), **options))

    def account_name(self) -> str:
        """Whose uploads these are: the account, with a token the name of the person at this machine."""
        if self.user:
            return self.user
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return "unknown"

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _upload_by_wire(
        self, local_path: Path | str, destination: str, *, way: str = "auto", obsid: int | None = None, **options: Any
    ) -> "UploadResult":
        """The one way into a server without version 3."""
        from hera_librarian.uploading import UploadResult
        from hera_librarian.wire_upload import upload_by_disk

        if way not in ("auto", "disk") or obsid is not None:
            raise LibrarianError(
                "This server takes uploads only over a shared disk, and takes no obsid with them.",
                remedy="Leave way and obsid out.",
                code="server_cannot",
            )
        options.pop("memory", None)  # nothing is resumed on a disk
        done = upload_by_disk(self, local_path, destination, **options)
        return UploadResult(
            path=str(local_path),
            name=done.name,
            outcome=done.outcome,
            size_bytes=done.size_bytes,
            checksum=done.checksum,
            way="disk",
        )

    def _ask_site(self) -> SiteInfo | None:
        try:
            body = self.transport.request("GET", "v3/", headers={"Accept": "application/json"}).json()
            return SiteInfo.model_validate(body)
        except LibrarianHTTPError as problem:
            # Ours always give a code. Anything else at this address does not know it, or a proxy keeps it closed.
            if 400 <= problem.status_code < 500 and "code" not in problem.full_response:
                return None
            raise
        except (ValueError, ValidationError):
            return None  # something else answers there: a proxy's page for instance


def checked(model: type[Message], **fields: Any) -> Message:
    """A message of the wire. Raises RefusedValue naming the field, without its value, if it could not be one."""
    try:
        return model(**fields)
    except ValidationError as problem:
        error = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in error["loc"])
        raise RefusedValue(f"{place}: {error['msg']}", code="invalid_value") from None


@contextmanager
def told_as(kind: type[LibrarianError], status: int, *texts: str) -> Iterator[None]:
    """Turn a failure of this status whose reason has all these texts into an exception that scripts expect."""
    try:
        yield
    except LibrarianHTTPError as problem:
        if problem.status_code == status and all(text in problem.reason for text in texts):
            raise kind(problem.reason, remedy=problem.suggested_remedy, code=problem.code) from problem
        raise
