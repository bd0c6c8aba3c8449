"""Ways to bring bytes into the staging of one of our stores, as they are offered to a sender."""

from collections.abc import Collection

from files.api.wire import hosts_of
from hera_librarian.features import GLOBUS, HTTP, LOCAL, RSYNC, SSH_HOST
from hera_librarian.models.providers import (
    AsyncTransferManager,
    GlobusAsyncTransferManager,
    HttpAsyncTransferManager,
    LocalAsyncTransferManager,
    RsyncAsyncTransferManager,
)
from stores.models import Store

UPLOAD_PATH = "v3/uploads/"


def is_allowed(store: Store, provider: str) -> bool:
    """True unless the store restricts its providers to others."""
    return not store.providers or provider in store.providers


def ways_in(store: Store, features: Collection[str]) -> dict[str, AsyncTransferManager]:
    """What a sender with these features may use, the way that works best first."""
    if not features:
        return _for_a_foreign_sender(store)
    ways: dict[str, AsyncTransferManager] = {}
    if LOCAL in features and _takes_local(store):
        ways[LOCAL] = LocalAsyncTransferManager(hostnames=hosts_of(store))
    if {RSYNC, SSH_HOST} <= set(features) and _takes_rsync(store):
        ways[RSYNC] = RsyncAsyncTransferManager(hostname=hosts_of(store)[0], ssh_host=store.ssh_host)
    if GLOBUS in features and _takes_globus(store):
        ways[GLOBUS] = GlobusAsyncTransferManager(destination_endpoint=store.globus_endpoint)
    if HTTP in features and is_allowed(store, HTTP):
        ways[HTTP] = HttpAsyncTransferManager(upload_path=UPLOAD_PATH)
    return ways


def why_no_way_in(store: Store, features: Collection[str]) -> str:
    """Why nothing of a sender with these features can come to a store, as the end of a sentence; empty if it can."""
    if store.kind == Store.Kind.POSIX or ways_in(store, features):
        return ""  # of a shared directory the sender may know without an offer
    return f"is no directory that the sender could share ({store.get_kind_display()}), and no other way leads there"


def _for_a_foreign_sender(store: Store) -> dict[str, AsyncTransferManager]:
    """It takes the first that it is offered, whether it can use it or not (rule 8 of the wire reference).

    So it gets `local`, and `globus` only where a person named that among the store's providers, whose order counts, or
    where there is no `local`. Never rsync, with which it fails, and no shape that it does not know.
    """
    ways: dict[str, AsyncTransferManager] = {}
    if _takes_local(store):
        ways[LOCAL] = LocalAsyncTransferManager(hostnames=hosts_of(store))
    if _takes_globus(store) and (GLOBUS in store.providers or not ways):
        ways[GLOBUS] = GlobusAsyncTransferManager(destination_endpoint=store.globus_endpoint)
    order = [*store.providers, LOCAL, GLOBUS]
    return {name: ways[name] for name in sorted(ways, key=order.index)}


def _takes_local(store: Store) -> bool:
    return is_allowed(store, LOCAL) and store.kind == Store.Kind.POSIX


def _takes_rsync(store: Store) -> bool:
    """Its staging is a directory of a host that a person named for other sites' storage nodes."""
    return bool(store.ssh_host) and is_allowed(store, RSYNC) and store.kind != Store.Kind.S3


def _takes_globus(store: Store) -> bool:
    """Its staging is a directory that a Globus collection shows."""
    return bool(store.globus_endpoint) and is_allowed(store, GLOBUS) and store.kind != Store.Kind.S3
