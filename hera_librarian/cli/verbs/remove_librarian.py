"""Make a site forget another one. What is known of copies there stays."""

from argparse import ArgumentParser, Namespace

from hera_librarian.cli.arguments import add_connection, add_json
from hera_librarian.cli.connecting import cannot_yet, client_for
from hera_librarian.cli.failures import CommandFailure, ExitCode
from hera_librarian.cli.output import document, say, visible
from hera_librarian.exceptions import LibrarianHTTPError


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian remove-librarian`."""
    add_connection(parser)
    parser.add_argument("--name", required=True, help="name of the site")
    parser.add_argument("--remove-outgoing-transfers", action="store_true", help="also end the transfers to it")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Remove it."""
    try:
        success, transfers = client_for(arguments.connection).remove_librarian(
            arguments.name, remove_outgoing_transfers=arguments.remove_outgoing_transfers
        )
    except LibrarianHTTPError as error:
        cannot_yet(error, "remove other sites")
    if not success:
        raise CommandFailure(f"Librarian {arguments.name} was not removed.", "The server's log tells why.")
    if arguments.json:
        document({"name": arguments.name, "removed": True, "number_of_transfers_removed": transfers})
        return ExitCode.OK
    if transfers:
        say(f"Removed {transfers} outgoing transfers to {visible(arguments.name)}.")
    say(f"Librarian {visible(arguments.name)} removed.")
    return ExitCode.OK
