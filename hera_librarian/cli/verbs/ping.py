"""Ask a server whether it answers, and who it is. With --login also whether it takes the credentials."""

from argparse import ArgumentParser, Namespace

from hera_librarian.cli.arguments import add_connection, add_json
from hera_librarian.cli.connecting import client_for
from hera_librarian.cli.failures import ExitCode
from hera_librarian.cli.output import document, say, visible


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian ping`."""
    add_connection(parser)
    parser.add_argument("--login", action="store_true", help="also try the credentials of the connection")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Say who answers."""
    answer = client_for(arguments.connection).ping(require_login=arguments.login)
    if arguments.json:
        document({"name": answer.name, "description": answer.description, "logged_in": arguments.login})
    else:
        say(f"{visible(answer.name)}: {visible(answer.description)}")
    return ExitCode.OK
