"""Switch transfers from a site to another one on or off."""

from argparse import ArgumentParser, Namespace

from hera_librarian.cli.arguments import add_connection, add_json, add_on_off
from hera_librarian.cli.connecting import cannot_yet, client_for
from hera_librarian.cli.failures import ExitCode
from hera_librarian.cli.output import document, say, visible
from hera_librarian.exceptions import LibrarianHTTPError


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian set-librarian-transfer`."""
    add_connection(parser)
    parser.add_argument("--name", required=True, help="name of the site that is sent to")
    add_on_off(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Switch them, and say how it is now."""
    try:
        enabled = client_for(arguments.connection).set_librarian_status(arguments.name, arguments.enabled)
    except LibrarianHTTPError as error:
        cannot_yet(error, "switch transfers")
    if arguments.json:
        document({"name": arguments.name, "transfers_enabled": enabled})
    else:
        say(f"Transfers to {visible(arguments.name)} {'enabled' if enabled else 'disabled'}.")
    return ExitCode.OK
