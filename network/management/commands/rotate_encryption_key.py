"""`manage.py rotate_encryption_key`: encrypt the secrets in the database with the newest key."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from librarian.common.errors import ArchiveError
from librarian.common.keys import new_fernet_key
from network.services import rotate_secrets

EXIT_REFUSED = 1


class Command(BaseCommand):
    help = (
        "Encrypt the authenticators of peers with the first of LIBRARIAN_ENCRYPTION_KEYS, whichever of them they have "
        "now. Exit code 0: all have it, older keys are not needed any more; 1: some cannot be read, or the keys cannot "
        "be used."
    )
    requires_system_checks = []  # they refuse bad keys, and this is what makes good ones

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--new-key", action="store_true", help="print a fresh key and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["new_key"]:
            self.stdout.write(new_fernet_key())
            return
        try:
            done = rotate_secrets(actor=None)
        except ArchiveError as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_REFUSED) from problem
        self.stdout.write(f"{done.changed} encrypted with the first key, {done.kept} were so already.")
        if done.unreadable:
            raise CommandError(
                f"No present key opens the authenticator of {', '.join(done.unreadable)}. Put the key back that "
                "sealed it, or enter the authenticator anew in the staff admin.",
                returncode=EXIT_REFUSED,
            )
