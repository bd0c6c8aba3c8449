"""Switch a store on or off. A store that is off takes no files and gives none."""

from argparse import ArgumentParser, Namespace

from hera_librarian.cli.arguments import add_connection, add_json, add_on_off
from hera_librarian.cli.connecting import client_for
from hera_librarian.cli.failures import ExitCode
from hera_librarian.cli.output import document, say, visible


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian set-store-state`."""
    add_connection(parser)
    parser.add_argument("--store", required=True, metavar="NAME", help="name of the store")
    add_on_off(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Switch it, and say how it is now."""
    enabled = client_for(arguments.connection).set_store_state(arguments.store, arguments.enabled)
    if arguments.json:
        document({"store_name": arguments.store, "enabled": enabled})
    else:
        say(f"Store {visible(arguments.store)} state set to {'enabled' if enabled else 'disabled'}.")
    return ExitCode.OK
