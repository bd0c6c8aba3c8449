"""`manage.py add_user NAME`: make an account from the command line."""

import getpass
import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.levels import Level, parse_level
from accounts.models import User
from accounts.services import UserExists, create_user, new_password
from librarian.common.errors import ArchiveError

EXIT_REFUSED = 1
EXIT_EXISTS = 3


class Command(BaseCommand):
    help = (
        "Make an account. The password comes from a file, from a prompt, or is generated and printed once; "
        "never from the command line, where every user of the machine can read it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="letters, digits and _ . @ + -, at most 64")
        parser.add_argument(
            "--level", type=level_argument, default=Level.READONLY, help=f"{', '.join(Level.names)} (default READONLY)"
        )
        parser.add_argument("--kind", choices=User.Kind.values, default=User.Kind.PERSON)
        parser.add_argument("--full-name", default="", help="name for people")
        parser.add_argument("--email", default="")
        source = parser.add_mutually_exclusive_group()
        source.add_argument("--password-file", metavar="F", help="first line is the password; - reads standard input")
        source.add_argument("--generate", action="store_true", help="generate a password and print it once")
        source.add_argument("--no-password", action="store_true", help="only tokens open the account")
        parser.add_argument("--exists-ok", action="store_true", help="leave an existing account as it is, exit 0")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        if User.objects.filter(username=name).exists():
            return self._exists(name, options["exists_ok"])
        try:
            password = self._password(options)
            create_user(
                actor=None,
                username=name,
                password=password,
                level=options["level"],
                kind=options["kind"],
                full_name=options["full_name"],
                email=options["email"],
            )
        except UserExists:  # made by somebody else meanwhile
            return self._exists(name, options["exists_ok"])
        except ArchiveError as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_REFUSED) from problem
        self.stderr.write(f"Made {name} with level {options['level'].name}.")
        if options["generate"]:
            self.stdout.write(password)
        return None

    def _exists(self, name: str, is_fine: bool) -> None:
        if not is_fine:
            raise CommandError(
                f"User already exists: {name}. Use --exists-ok to leave it as it is, or change it in the staff admin.",
                returncode=EXIT_EXISTS,
            )
        self.stderr.write(f"{name} exists already; nothing was changed.")

    def _password(self, options: dict[str, Any]) -> str | None:
        if options["no_password"]:
            return None
        if options["generate"]:
            return new_password()
        if options["password_file"] is not None:
            return read_password(options["password_file"])
        if not sys.stdin.isatty():
            raise CommandError(
                "There is no terminal to ask for the password on. Use --password-file, --generate or --no-password.",
                returncode=EXIT_REFUSED,
            )
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise CommandError("The two passwords differ. Nothing was made.", returncode=EXIT_REFUSED)
        return password


def level_argument(text: str) -> Level:
    """A level by name or number, for argparse."""
    try:
        return parse_level(text)
    except ValueError as problem:
        raise ArgumentTypeError(str(problem)) from problem


def read_password(source: str) -> str:
    """First line of a file or, for `-`, of standard input. Raises CommandError when it cannot be read."""
    try:
        text = sys.stdin.readline() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise CommandError(
            f"The password file {source} cannot be read: {problem}.", returncode=EXIT_REFUSED
        ) from problem
    return text.splitlines()[0] if text else ""
