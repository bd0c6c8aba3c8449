"""Make a token for a program. It is printed once, alone on standard output, and kept nowhere."""

import os
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hera_librarian.authlevel import AuthLevel
from hera_librarian.cli.arguments import add_connection, add_json, level
from hera_librarian.cli.connecting import client_for, require_v3
from hera_librarian.cli.failures import CommandFailure, ExitCode, wrong_usage
from hera_librarian.cli.output import document, note, say

if TYPE_CHECKING:
    from hera_librarian.admin import AdminClient

LONGEST_DAYS = 36_500.0


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian issue-token`."""
    add_connection(parser)
    parser.add_argument("--name", required=True, help="what to call it; unique among the account's live tokens")
    parser.add_argument(
        "--level", type=level, metavar="LEVEL", help=f"{', '.join(AuthLevel.__members__)} (default: yours)"
    )
    parser.add_argument("--user", metavar="NAME", help="the account it is for (default: yours); for administrators")
    parser.add_argument("--expires-days", type=float, metavar="D", help="days it lives (default: until revoked)")
    parser.add_argument("--output", metavar="FILE", help="write it to a new file that only you can read")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Issue it, and hand it over."""
    if arguments.expires_days is not None and not 0 < arguments.expires_days <= LONGEST_DAYS:
        raise wrong_usage(f"--expires-days must be more than 0 and at most {LONGEST_DAYS:.0f}.")
    if arguments.user and arguments.level is None:
        raise wrong_usage("For another account the level must be given.", "Add --level.")
    client = client_for(arguments.connection)
    require_v3(client, "issue tokens")
    target = _new_file(arguments.output) if arguments.output else None
    try:
        issued = client.transport.request("POST", "v3/tokens/", json=_wishes(arguments, client)).json()
    except BaseException:
        if target is not None:
            target.unlink()
        raise
    if target is not None:
        target.write_text(issued["token"] + "\n")
        issued["token"] = None
    if arguments.json:
        document(issued)
        return ExitCode.OK
    end = f"until {issued['expires_at']}" if issued["expires_at"] else "until it is revoked"
    note(f"token {issued['id']} ({issued['name']}) of {issued['user']}, level {issued['level_name']}, {end}")
    if target is None:
        say(issued["token"])
    return ExitCode.OK


def _wishes(arguments: Namespace, client: "AdminClient") -> dict[str, object]:
    from hera_librarian.finding.pages import read_json

    wishes: dict[str, object] = {"name": arguments.name}
    if arguments.level is None:
        wishes["level"] = read_json(client, "v3/users/me/")["acting_level"]
    else:
        wishes["level"] = int(AuthLevel[arguments.level])
    if arguments.user:
        wishes["user"] = arguments.user
    if arguments.expires_days is not None:
        wishes["expires_at"] = (datetime.now(UTC) + timedelta(days=arguments.expires_days)).isoformat()
    return wishes


def _new_file(path: str) -> Path:
    """An empty file of our own, made before the token is: one that cannot be written must not be issued."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise CommandFailure(f"{path} exists already.", "Choose another file, or move that one away.") from None
    return Path(path)
