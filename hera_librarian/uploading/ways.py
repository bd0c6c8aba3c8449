"""Which way bytes take to a site: over a disk that it shares with this machine, or over HTTP."""

import socket
from typing import TYPE_CHECKING, Any

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient

AUTO, DISK, HTTP = "auto", "disk", "http"


class Ways:
    """The choice for one site, made once. `way` is `auto`, `disk` or `http`, `obsid` what the wire has no field for."""

    def __init__(self, client: "LibrarianClient", way: str, *, obsid: int | None = None) -> None:
        if way not in (AUTO, DISK, HTTP):
            raise ValueError(f"the way is 'auto', 'disk' or 'http', not {way!r}")
        if way == DISK and obsid is not None:
            raise LibrarianError(
                "The wire protocol has no field for an obsid.",
                remedy="Leave it out, or upload over HTTP (way='http').",
                code="invalid_request",
            )
        self._client = client
        self._obsid = obsid
        self._way = way
        self._disk: bool | None = True if way == DISK else False if way == HTTP else None

    @property
    def is_disk(self) -> bool:
        """True when the disk is shared as far as can be told before an upload is staged."""
        if self._disk is None:
            self._disk = self._sees_disk()
        return self._disk

    @property
    def may_fall_back(self) -> bool:
        """True when HTTP may be tried where the disk turns out not to be shared."""
        return self._way == AUTO and self._client.site() is not None

    def give_up_disk(self) -> None:
        """The disk is not shared after all."""
        self._disk = False

    def require_http(self) -> None:
        """Raise LibrarianError unless the site takes bytes over HTTP."""
        site = self._client.site()
        if site is None or not site.can("tus"):
            raise LibrarianError(
                f"{self._client.transport.root} takes no uploads over HTTP.",
                remedy="Upload from a machine that shares its disk, or ask its operator for a newer version.",
                code="no_http_upload",
            )

    def can_batch(self) -> bool:
        """Whether the site takes many small products in one tar."""
        site = self._client.site()
        return self._way != DISK and site is not None and site.can("tar_batch")

    def _sees_disk(self) -> bool:
        site = self._client.site()
        if site is None:
            return True  # a server of the wire protocol alone: there is no other way
        if self._obsid is not None:
            return False
        try:
            stores = self._client.transport.request("GET", "v3/stores/", params={"ingestable": "true"}).json()
        except (LibrarianHTTPError, ValueError):
            return False
        return any(is_seen_here(store, site.host_name) for store in stores.get("results", []))


def is_seen_here(store: dict[str, Any], site_host: str) -> bool:
    """Whether this machine is one of those that a store says can reach it; without a list, the site's own."""
    if not (store.get("ingestable") and store.get("enabled") and store.get("available")):
        return False
    hosts = store.get("hosts") or ([site_host] if site_host else [])
    return bool(local_names() & {str(host) for host in hosts})


def local_names() -> set[str]:
    """What this machine is called: in full and without its domain."""
    name = socket.gethostname()
    return {name, name.partition(".")[0]} - {""}
