"""Say that a trouble of the error inbox is dealt with. If it is met again, it opens anew."""

from argparse import ArgumentParser, Namespace

from hera_librarian.cli.arguments import add_connection, add_json, count
from hera_librarian.cli.connecting import client_for
from hera_librarian.cli.failures import ExitCode
from hera_librarian.cli.output import document, say


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian clear-error`."""
    add_connection(parser)
    parser.add_argument("id", type=count, metavar="ERROR-ID", help="number of the trouble; see search-errors")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Clear it."""
    client_for(arguments.connection).clear_error(arguments.id)
    if arguments.json:
        document({"id": arguments.id, "cleared": True})
    else:
        say(f"Error {arguments.id} cleared.")
    return ExitCode.OK
