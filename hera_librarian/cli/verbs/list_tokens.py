"""List tokens: your own, or everybody's for administrators. The tokens themselves are kept nowhere."""

from argparse import ArgumentParser, Namespace

from hera_librarian.cli.arguments import add_connection, add_json
from hera_librarian.cli.connecting import client_for, require_v3
from hera_librarian.cli.failures import ExitCode
from hera_librarian.cli.output import document, say, table

HEADINGS = ("ID", "User", "Name", "Begins", "Level", "Usable", "Expires", "Last Used")


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian list-tokens`."""
    add_connection(parser)
    parser.add_argument("--all", action="store_true", help="also those that were revoked or have expired")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """A table, newest first."""
    client = client_for(arguments.connection)
    require_v3(client, "list tokens")
    from hera_librarian.finding.pages import MOST_PER_PAGE, rows

    found = rows(client, "v3/tokens/", {"limit": MOST_PER_PAGE})
    tokens = [token for token in found if arguments.all or token["is_usable"]]
    if arguments.json:
        document(tokens)
    elif tokens:
        fields = ("id", "user", "name", "hint", "level_name", "is_usable", "expires_at", "last_used_at")
        table(HEADINGS, [[token[field] for field in fields] for token in tokens])
    else:
        say("No tokens found.")
    return ExitCode.OK
