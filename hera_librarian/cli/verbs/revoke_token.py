"""End a token at once and for ever."""

from argparse import ArgumentParser, Namespace

from hera_librarian.cli.arguments import add_connection, add_json, count
from hera_librarian.cli.connecting import client_for, require_v3
from hera_librarian.cli.failures import ExitCode
from hera_librarian.cli.output import document, say


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian revoke-token`."""
    add_connection(parser)
    parser.add_argument("token", type=count, metavar="ID", help="number of the token; see list-tokens")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Revoke it; harmless when it is revoked already."""
    client = client_for(arguments.connection)
    require_v3(client, "revoke tokens")
    client.transport.request("DELETE", f"v3/tokens/{arguments.token}/", safe=True)
    if arguments.json:
        document({"id": arguments.token, "revoked": True})
    else:
        say(f"Token {arguments.token} revoked.")
    return ExitCode.OK
