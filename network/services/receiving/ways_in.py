"""Ways to bring bytes into the staging of one of our stores, as they are offered to a sender."""

from collections.abc import Collection

from files.api.wire import hosts_of
from hera_librarian.features import HTTP, LOCAL, RSYNC, SSH_HOST
from hera_librarian.models.providers import (
    AsyncTransferManager,
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
    """What a sender with these features may use, the way that works best first.

    A foreign sender (no features) takes the first it is offered, whatever it is, and fails with rsync: it gets
    `local` alone (rule 8 of the wire reference).
    """
    is_foreign = not features
    ways: dict[str, AsyncTransferManager] = {}
    if (is_foreign or LOCAL in features) and is_allowed(store, LOCAL) and store.kind == Store.Kind.POSIX:
        ways[LOCAL] = LocalAsyncTransferManager(hostnames=hosts_of(store))
    if {RSYNC, SSH_HOST} <= set(features) and store.ssh_host and is_allowed(store, RSYNC):
        ways[RSYNC] = RsyncAsyncTransferManager(hostname=hosts_of(store)[0], ssh_host=store.ssh_host)
    if HTTP in features and is_allowed(store, HTTP):
        ways[HTTP] = HttpAsyncTransferManager(upload_path=UPLOAD_PATH)
    return ways
