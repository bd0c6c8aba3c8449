"""List the stores of a site."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from hera_librarian.cli.arguments import add_connection, add_json
from hera_librarian.cli.connecting import client_for
from hera_librarian.cli.failures import ExitCode
from hera_librarian.cli.output import bold, document, say, size_text, visible
from hera_librarian.exceptions import LibrarianHTTPError

if TYPE_CHECKING:
    from hera_librarian.admin import AdminClient


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian get-store-list`."""
    add_connection(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """One line a store."""
    stores = list_stores(client_for(arguments.connection))
    if arguments.json:
        document(stores)
        return ExitCode.OK
    for store in stores:
        free = "unknown" if store["free_space"] < 0 else size_text(store["free_space"])
        say(
            f"{bold(visible(store['name']))} ({visible(store['store_type'])}) [{free} Free]"
            f" - {'' if store['ingestable'] else 'Not '}Ingestable"
            f" - {'' if store['available'] else 'Not '}Available"
            f" - {'Enabled' if store['enabled'] else 'Disabled'}"
        )
    if not stores:
        say("No stores found.")
    return ExitCode.OK


def list_stores(client: "AdminClient") -> list[dict[str, Any]]:
    """Stores as the wire tells of them, which only administrators may ask; else as version 3 does."""
    try:
        return [store.model_dump(mode="json") for store in client.get_store_list()]
    except LibrarianHTTPError as error:
        if error.status_code not in (401, 403) or client.site() is None:
            raise
    from hera_librarian.finding.pages import MOST_PER_PAGE, rows

    found = rows(client, "v3/stores/", {"limit": MOST_PER_PAGE})
    return [_as_on_the_wire(row) for row in found]


def _as_on_the_wire(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "store_type": "local" if row["kind"] == "posix" else row["kind"],
        "free_space": row["usable_bytes"] if row["available"] else -1,
        "ingestable": row["ingestable"],
        "available": row["available"],
        "enabled": row["enabled"],
    }
