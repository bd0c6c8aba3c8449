"""List the sites that a site knows. With --ping it asks each of them whether it answers."""

from argparse import ArgumentParser, Namespace

from hera_librarian.cli.arguments import add_connection, add_json
from hera_librarian.cli.connecting import cannot_yet, client_for
from hera_librarian.cli.failures import ExitCode
from hera_librarian.cli.output import bold, document, say, visible
from hera_librarian.exceptions import LibrarianHTTPError

AVAILABILITY = {None: "Unknown", True: "Available", False: "Not Available"}


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian get-librarian-list`."""
    add_connection(parser)
    parser.add_argument("--ping", action="store_true", help="have the site ask each of them")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """One line a site."""
    try:
        sites = client_for(arguments.connection).get_librarian_list(ping=arguments.ping).librarians
    except LibrarianHTTPError as error:
        cannot_yet(error, "list other sites")
    if arguments.json:
        document([site.model_dump(mode="json") for site in sites])
        return ExitCode.OK
    for site in sites:
        say(
            f"{bold(visible(site.name))} ({visible(site.url)}:{site.port})"
            f" - {AVAILABILITY[site.available]} - {'Enabled' if site.enabled else 'Disabled'}"
        )
        if site.reason:
            say(f"    {visible(site.reason)}")
    if not sites:
        say("No librarians found.")
    return ExitCode.OK
