"""Kinds of stores and the classes that hold their bytes."""

from typing import TYPE_CHECKING

from librarian.common.errors import Misconfigured
from stores.backends.base import StoreBackend
from stores.backends.posix import PosixBackend
from stores.backends.s3 import S3Backend
from stores.backends.ssh.backend import SshBackend

if TYPE_CHECKING:
    from stores.models import Store

BACKENDS: dict[str, type[StoreBackend]] = {"posix": PosixBackend, "ssh": SshBackend, "s3": S3Backend}


def backend_class(kind: str) -> type[StoreBackend]:
    """Class of a kind. Raises Misconfigured for a kind this version cannot hold."""
    try:
        return BACKENDS[kind]
    except KeyError:
        raise Misconfigured(f"Stores of kind {kind!r} are not supported; known are {', '.join(BACKENDS)}.") from None


def open_backend(store: "Store") -> StoreBackend:
    """Backend of a store row."""
    return backend_class(store.kind)(store)
