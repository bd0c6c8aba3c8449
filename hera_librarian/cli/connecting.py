"""From the name of a connection to a client, with a prompt for a password that is written down nowhere."""

import getpass
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from hera_librarian.cli.failures import CommandFailure, wrong_usage
from hera_librarian.cli.output import note
from hera_librarian.exceptions import LibrarianHTTPError

if TYPE_CHECKING:
    from hera_librarian.admin import AdminClient
    from hera_librarian.config import ClientInfo

NO_ENDPOINT = "There is no endpoint"


def client_for(connection_name: str) -> "AdminClient":
    """A client for a connection; the one class knows all calls, the server says which of them the account may make.

    Raises LibrarianError when the client configuration has no such connection, or it cannot be used.
    """
    from hera_librarian.admin import AdminClient
    from hera_librarian.config import load_settings

    settings = load_settings(warn=False)
    for problem in settings.problems:
        if not problem.startswith("Connection "):  # what is wrong with others is told by check-connections
            note(problem)
    return AdminClient.from_info(with_password(settings.connection(connection_name)))


def with_password(info: "ClientInfo") -> "ClientInfo":
    """The same connection; its password is asked for when it has a user only."""
    if not info.lacks_password:
        return info
    if not sys.stdin.isatty():
        raise wrong_usage(
            f"Connection {info.name} has no password, and there is no terminal to ask for it on.",
            "Add a token, password_file or password_env to the connection.",
        )
    try:
        return replace(info, password=getpass.getpass(f"Password of {info.user} at {info.url}: "))
    except EOFError:
        raise wrong_usage("No password was given.") from None


def require_v3(client: "AdminClient", what: str) -> None:
    """Say plainly that a server speaks only the wire protocol, where something needs more."""
    if client.site() is None:
        raise CommandFailure(
            f"This server offers only the wire protocol, which has no way to {what}.",
            "Ask its operator for a newer server, or do without.",
            code="server_cannot",
        )


def cannot_yet(error: LibrarianHTTPError, what: str) -> NoReturn:
    """Put the 404 of an endpoint that a server does not have into words; any other failure is raised as it is."""
    said = str(error.full_response.get("reason") or "")
    if error.status_code in (404, 405) and (not said or said.startswith((NO_ENDPOINT, "Not Found", "Method Not"))):
        raise CommandFailure(
            f"This server cannot {what} yet: it has no endpoint {error.url}.",
            "Ask its operator for a newer server.",
            code="server_cannot",
        ) from error
    raise error
