"""`manage.py issue_token USER --name N`: issue a token from the command line."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from accounts.levels import Level
from accounts.management.commands.add_user import level_argument
from accounts.models import User
from accounts.services import issue_token
from librarian.common.errors import ArchiveError

EXIT_REFUSED = 1
LONGEST_DAYS = 36_500.0


class Command(BaseCommand):
    help = "Issue a token and print it, once: it is kept nowhere and cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="name of the account")
        parser.add_argument(
            "--name", required=True, help="what to call the token; unique among the account's live ones"
        )
        parser.add_argument(
            "--level", type=level_argument, help=f"{', '.join(Level.names[1:])} (default: that of the account)"
        )
        parser.add_argument("--expires-days", type=float, metavar="D", help="days it lives (default: until revoked)")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(
                f"User not found: {options['user']}. Make the account with `manage.py add_user`.",
                returncode=EXIT_REFUSED,
            )
        days = options["expires_days"]
        if days is not None and not 0 < days <= LONGEST_DAYS:
            raise CommandError(
                f"--expires-days must be more than 0 and at most {LONGEST_DAYS:.0f}; leave it out for no end.",
                returncode=EXIT_REFUSED,
            )
        try:
            token, clear_text = issue_token(
                actor=None,
                user=user,
                name=options["name"],
                level=user.level if options["level"] is None else options["level"],
                expires_at=None if days is None else now() + timedelta(days=days),
            )
        except ArchiveError as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_REFUSED) from problem
        end = f"until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "until it is revoked"
        self.stderr.write(f"Token {token.name!r} of {user.username}, level {Level(token.level).name}, {end}:")
        self.stdout.write(clear_text)
