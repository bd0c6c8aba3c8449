"""Make an account. Its password comes from a file, from $LIBRARIAN_NEW_PASSWORD, or from a prompt."""

import secrets
from argparse import ArgumentParser, Namespace

from hera_librarian.authlevel import AuthLevel
from hera_librarian.cli.arguments import add_connection, add_json, level
from hera_librarian.cli.connecting import client_for
from hera_librarian.cli.failures import ExitCode, wrong_usage
from hera_librarian.cli.given_secrets import NEW_PASSWORD, add_secret, read_secret
from hera_librarian.cli.output import document, note, say, visible


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian create-user`."""
    add_connection(parser)
    parser.add_argument("--username", required=True, metavar="NAME", help="name to log in with, for ever")
    parser.add_argument(
        "--auth-level", required=True, type=level, metavar="LEVEL", help=", ".join(AuthLevel.__members__)
    )
    add_secret(parser, "password", what="the password", variable=NEW_PASSWORD)
    parser.add_argument("--generate", action="store_true", help="make a password up and print it, once")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Make it; a generated password is the only thing on standard output."""
    if arguments.generate and (arguments.secret is not None or arguments.secret_file is not None):
        raise wrong_usage("Both a password and --generate are given.", "Leave one of them out.")
    client = client_for(arguments.connection)
    password = (
        secrets.token_urlsafe(24)
        if arguments.generate
        else read_secret(arguments, f"New password of {arguments.username}")
    )
    client.create_user(arguments.username, password, AuthLevel[arguments.auth_level])
    shown = {"password": password} if arguments.generate else {}
    if arguments.json:
        document({"username": arguments.username, "auth_level": arguments.auth_level, **shown})
        return ExitCode.OK
    done = f"User {visible(arguments.username)} created with level {arguments.auth_level}."
    if arguments.generate:
        note(done)
        say(password)
    else:
        say(done)
    return ExitCode.OK
