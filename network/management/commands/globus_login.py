"""`manage.py globus_login`: let a person log our native app in at Globus."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from librarian.common.errors import ArchiveError
from network.providers.globus_login import NativeLogin


class Command(BaseCommand):
    help = (
        "Log the native app of LIBRARIAN_GLOBUS_CLIENT_ID in: shows an address to open, asks for the code that Globus "
        "shows there, and puts the refresh token into LIBRARIAN_GLOBUS_SECRET_FILE. It is not shown."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--collection",
            action="append",
            default=[],
            metavar="ID",
            help="mapped collection whose data shall be reached; may be given several times",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            login = NativeLogin(options["collection"])
            self.stdout.write(f"Open this address, log in and say yes:\n\n{login.address}\n")
            path = login.finish(input("The code that is shown there: "))
        except ArchiveError as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}") from None
        except OSError as error:
            raise CommandError(f"The token could not be written: {error.strerror}. Mend that and repeat.") from error
        self.stdout.write(f"Logged in; the refresh token is in {path}.")
