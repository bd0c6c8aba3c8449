"""Remove an account with its tokens. The last administrator stays."""

from argparse import ArgumentParser, Namespace

from hera_librarian.cli.arguments import add_connection, add_json
from hera_librarian.cli.connecting import client_for
from hera_librarian.cli.failures import ExitCode
from hera_librarian.cli.output import document, say, visible


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian delete-user`."""
    add_connection(parser)
    parser.add_argument("--username", required=True, metavar="NAME", help="name of the account")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Remove it."""
    client_for(arguments.connection).delete_user(arguments.username)
    if arguments.json:
        document({"username": arguments.username, "deleted": True})
    else:
        say(f"User {visible(arguments.username)} deleted.")
    return ExitCode.OK
