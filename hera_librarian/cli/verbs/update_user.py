"""Change the level or the password of an account, or both."""

from argparse import ArgumentParser, Namespace

from hera_librarian.authlevel import AuthLevel
from hera_librarian.cli.arguments import add_connection, add_json, level
from hera_librarian.cli.connecting import client_for
from hera_librarian.cli.failures import ExitCode, wrong_usage
from hera_librarian.cli.given_secrets import NEW_PASSWORD, add_secret, read_secret
from hera_librarian.cli.output import document, say, visible


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian update-user`."""
    add_connection(parser)
    parser.add_argument("--username", required=True, metavar="NAME", help="name of the account")
    parser.add_argument("--auth-level", type=level, metavar="LEVEL", help=", ".join(AuthLevel.__members__))
    parser.add_argument("--new-password", action="store_true", help="ask for a new password")
    add_secret(parser, "password", what="the new password", variable=NEW_PASSWORD)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Change what is given, and nothing else."""
    with_password = arguments.new_password or arguments.secret is not None or arguments.secret_file is not None
    if not with_password and arguments.auth_level is None:
        raise wrong_usage("Nothing is to be changed.", "Give --auth-level, --new-password or --password-file.")
    client = client_for(arguments.connection)
    password = read_secret(arguments, f"New password of {arguments.username}") if with_password else None
    auth_level = AuthLevel[arguments.auth_level] if arguments.auth_level else None
    client.update_user(arguments.username, new_password=password, auth_level=auth_level)
    if arguments.json:
        document(
            {
                "username": arguments.username,
                "auth_level": arguments.auth_level,
                "password_changed": with_password,
            }
        )
    else:
        say(f"User {visible(arguments.username)} changed.")
    return ExitCode.OK
