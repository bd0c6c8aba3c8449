"""Make a site known to another one, with the account that the second has on the first.

The authenticator, user:password or a token, comes from a file, from $LIBRARIAN_PEER_AUTHENTICATOR, or from a prompt.
"""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from hera_librarian.cli.arguments import add_connection, add_json, count
from hera_librarian.cli.connecting import cannot_yet, client_for
from hera_librarian.cli.failures import CommandFailure, ExitCode
from hera_librarian.cli.given_secrets import PEER_AUTHENTICATOR, add_secret, read_secret
from hera_librarian.cli.output import document, say, visible
from hera_librarian.exceptions import LibrarianHTTPError

if TYPE_CHECKING:
    from hera_librarian.models.admin import AdminAddLibrarianResponse


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian add-librarian`."""
    add_connection(parser)
    parser.add_argument("--name", required=True, help="its own name, by which it signs in")
    parser.add_argument("--url", required=True, help="its address, with http:// or https://")
    parser.add_argument("--port", required=True, type=count, metavar="N", help="its port")
    add_secret(
        parser, "authenticator", what="user:password or a token of our account there", variable=PEER_AUTHENTICATOR
    )
    parser.add_argument("--do-not-check-connection", action="store_true", help="do not have the site ask it first")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Add it; a name that is taken and a site that does not answer are told apart."""
    from hera_librarian.client import checked
    from hera_librarian.models.admin import AdminAddLibrarianRequest, AdminAddLibrarianResponse

    client = client_for(arguments.connection)
    message = checked(
        AdminAddLibrarianRequest,
        librarian_name=arguments.name,
        url=arguments.url,
        port=arguments.port,
        authenticator=read_secret(arguments, f"Authenticator at {arguments.name} (user:password or token)"),
        check_connection=not arguments.do_not_check_connection,
    )
    try:
        answer = client.post("admin/librarians/add", message, AdminAddLibrarianResponse)
    except LibrarianHTTPError as error:
        cannot_yet(error, "add other sites")
    if not answer.success:
        raise _refusal(arguments, answer)
    if arguments.json:
        document({"name": arguments.name, **answer.model_dump()})
    else:
        say(f"Librarian {visible(arguments.name)} added.")
    return ExitCode.OK


def _refusal(arguments: Namespace, answer: "AdminAddLibrarianResponse") -> CommandFailure:
    start = f"Unable to add librarian {arguments.name}"
    if answer.reason:
        remedy = answer.suggested_remedy or ""
        return CommandFailure(f"{start}: {answer.reason}", remedy, code=answer.code or "failed")
    if answer.already_exists:
        return CommandFailure(f"{start}: the name is taken.", "Remove it first with remove-librarian.", code="conflict")
    return CommandFailure(
        f"{start}: it did not answer at {arguments.url}, port {arguments.port}, or not to this authenticator.",
        "Check them, or add --do-not-check-connection if it is not running yet.",
        code="peer_not_reached",
    )
