"""Client side of the Librarian: message shapes, checksums and names, usable without Django.

    from hera_librarian import LibrarianClient, AdminClient

The clients are imported when they are asked for, so that the package itself costs nothing to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hera_librarian.admin import AdminClient
    from hera_librarian.client import LibrarianClient
    from hera_librarian.config import all_connections, get_client_config
    from hera_librarian.exceptions import NoSuchConnectionError

__all__ = ["AdminClient", "LibrarianClient", "NoSuchConnectionError", "all_connections", "get_client_config"]

_MODULES = ("admin", "authlevel", "client", "config", "deletion", "exceptions", "models", "transfer")
_HOMES = {
    "AdminClient": "admin",
    "LibrarianClient": "client",
    "NoSuchConnectionError": "exceptions",
    "all_connections": "config",
    "get_client_config": "config",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"hera_librarian.{_HOMES[name]}"), name)
    if name in _MODULES:  # `hera_librarian.exceptions` without an import of its own, as scripts write it
        return import_module(f"hera_librarian.{name}")
    if name == "__version__":
        from hera_librarian.version import VERSION

        return VERSION
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
