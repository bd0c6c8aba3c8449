"""Methods of the classic client (version 1) that scripts still call, and what to use instead of the rest."""

import json
import warnings
from collections.abc import Callable
from datetime import UTC
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from hera_librarian.checksums import parse_checksum
from hera_librarian.deletion import DeletionPolicy
from hera_librarian.exceptions import LibrarianClientRemovedFunctionality, LibrarianError, LibrarianHTTPError

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient
    from hera_librarian.models.search import FileSearchResponse
    from hera_librarian.uploading import UploadResult

_SERVED = {"name-is-exactly": "name", "source-is-exactly": "source", "source-is": "source"}
_REMOVED = {
    "probe_stores": "Use AdminClient.get_store_list(), or the server's page Stores.",
    "stores": "Use AdminClient.get_store_list(), or the server's page Stores.",
    "create_file_event": "The server writes the history of files itself; see the page of the file.",
    "assign_observing_sessions": "The server assigns sessions by itself.",
    "register_instances": "Use `manage.py ingest --in-place` on the server, or AdminClient.add_file_row(...).",
    "set_one_file_deletion_policy": "Give the policy when you upload the file.",
    "delete_file_instances": "Copies are erased by the rules of the server, never by a client.",
    "delete_file_instances_matching_query": "Copies are erased by the rules of the server, never by a client.",
    "launch_file_copy": "Use a standing order on the server that has the file.",
    "initiate_offload": "Use a standing order on the server.",
    "describe_session_without_event": "Ask the server for its sessions, /api/v3/.",
    "launch_local_disk_stage_operation": "Use search(...) and download(...), or path() where the disk is shared.",
    "search_instances": "Use search_files(name=...), whose results list their instances.",
    "search_observations": "Use search(obsid=...).",
    "search_sessions": "Use search(...).",
}


class ClassicMethods:
    """What the classic client had besides the methods that kept their names."""

    def upload_file(
        self: "LibrarianClient",
        local_path: Path | str,
        dest_store_path: Path | str,
        meta_mode: str,
        rec_info: dict[str, Any] | None = None,
        deletion_policy: str = "disallowed",
        known_staging_store: str | None = None,
        known_staging_subdir: str | None = None,
        null_obsid: bool = False,
        use_globus: bool = False,
        client_id: str | None = None,
        transfer_token: str | None = None,
        source_endpoint_id: str | None = None,
    ) -> "UploadResult":
        """Upload a file or directory product, as monitor-and-control does it.

        `meta_mode` is `infer`: the server reads what it needs from name and header. With `null_obsid` the product
        belongs to no observation. Globus and its three parameters are not needed to reach the server any more.

        Raises
        ------
        ValueError
            The destination is absolute, or the deletion policy or the mode is none.
        LibrarianClientRemovedFunctionality
            For records given by the caller, and for bytes staged beforehand.
        """
        from hera_librarian.client import RefusedValue

        if str(deletion_policy) not in ("allowed", "disallowed"):
            raise RefusedValue(f"The deletion policy is 'allowed' or 'disallowed', not {deletion_policy!r}.")
        if null_obsid and meta_mode != "infer":
            raise RefusedValue("null_obsid goes only with the mode 'infer'.")
        if meta_mode in ("direct", "json-stdin") or rec_info:
            raise LibrarianClientRemovedFunctionality(
                "Records of files and observations cannot be given with an upload.",
                "Use the mode 'infer': the server reads them from name and header.",
            )
        if meta_mode != "infer":
            raise RefusedValue(f"The mode is 'infer', not {meta_mode!r}.")
        if known_staging_store is not None or known_staging_subdir is not None:
            raise LibrarianClientRemovedFunctionality(
                "Bytes cannot be staged beforehand.",
                "Use `manage.py ingest --in-place` for what is on a store already.",
            )
        if use_globus:
            warnings.warn("Globus is not used to upload; the bytes go by disk or HTTP.", stacklevel=2)
        return self.upload(local_path, dest_store_path, DeletionPolicy.from_str(deletion_policy), null_obsid=null_obsid)

    def locate_file_instance(self: "LibrarianClient", file_name: str) -> dict[str, str]:
        """Where one copy of a file lies: `full_path_on_store`, `store_name`, `store_path`, `store_ssh_host`.

        What a server does not tell is empty. Raises LibrarianError if there is no such file, or no copy to be read.
        """
        place = _locate_by_wire(self, file_name) if self.site() is None else _locate(self, file_name)
        if place is None:
            raise LibrarianError(
                f"No copy of {file_name} is at this site.",
                remedy="Its page tells where else copies are known to be.",
                code="no_copy_here",
            )
        return place

    def search_files_classically(self: "LibrarianClient", search: str) -> dict[str, Any]:
        """Answer a search in the classic language, in the classic form, if it asks for a name, a source or both.

        Raises LibrarianClientRemovedFunctionality for more than that, LibrarianError for what is no such search.
        """
        try:
            clauses = json.loads(search)
        except (ValueError, RecursionError):
            clauses = None
        if not isinstance(clauses, dict) or not clauses:
            raise LibrarianError("The search is not a JSON object with clauses.", code="invalid_search")
        if not set(clauses) <= set(_SERVED) or not all(isinstance(value, str) for value in clauses.values()):
            raise LibrarianClientRemovedFunctionality(
                "Searches in the classic language are answered only by name-is-exactly and source-is-exactly.",
                "Use search(...), for instance search(name='zen.*.uvh5').",
            )
        found = self.search_files(**{_SERVED[clause]: value for clause, value in clauses.items()})
        return {"success": True, "results": [_classic_row(file) for file in found]}


def _removed(name: str, instead: str) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any, **keywords: Any) -> Any:
        raise LibrarianClientRemovedFunctionality(f"{name} is gone.", instead)

    method.__name__ = name
    method.__doc__ = f"Gone. {instead}"
    return method


for _name, _instead in _REMOVED.items():
    setattr(ClassicMethods, _name, _removed(_name, _instead))


# --- Inside -----------------------------------------------------------------------------------------------------------


def _locate(client: "LibrarianClient", name: str) -> dict[str, str] | None:
    from hera_librarian.finding.places import host_and_path

    try:
        file = client.transport.request("GET", f"v3/files/{quote(name)}/").json()
    except LibrarianHTTPError as problem:
        if problem.status_code == 404:
            raise LibrarianError(problem.reason, remedy=problem.suggested_remedy, code=problem.code) from problem
        raise
    for copy in file["instances"]:
        if copy["presence"] == "present" and copy["location"]:
            store = client.transport.request("GET", f"v3/stores/{quote(copy['store'], safe='')}/").json()
            host, full = host_and_path(copy["location"], store.get("ssh_host"), *store["hosts"], _host(client))
            return _place(full, copy["store"], copy["path"], host)
    return None


def _locate_by_wire(client: "LibrarianClient", name: str) -> dict[str, str] | None:
    """The same by a server that does not tell the names of its stores."""
    found = client.search_files(name=name)
    if not found:
        raise LibrarianError(f"There is no file {name}.", remedy="Check the name.", code="not_found")
    for copy in found[0].instances:
        if copy.available:
            return _place(copy.path, "", found[0].name, _host(client))
    return None


def _place(full: str, store: str, path: str, host: str) -> dict[str, str]:
    return {"full_path_on_store": full, "store_name": store, "store_path": path, "store_ssh_host": host}


def _host(client: "LibrarianClient") -> str:
    site = client.site()
    return (site.host_name if site else "") or urlsplit(client.host).hostname or ""


def _classic_row(file: "FileSearchResponse") -> dict[str, Any]:
    """A file as classic searches list it. What the wire does not tell is empty or null."""
    checksum = parse_checksum(file.checksum)
    return {
        "name": file.name,
        "type": PurePosixPath(file.name).suffix.removeprefix("."),
        "create_time": int(file.create_time.replace(tzinfo=UTC).timestamp()),
        "obsid": None,
        "size": file.size,
        "md5": checksum.digest if checksum.algorithm == "md5" else "",
    }
