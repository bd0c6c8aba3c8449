"""`manage.py import_connections [NAME…]`: make peers of the connections in `~/.hl_client.cfg`."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from librarian.common.errors import ArchiveError
from network.services.peering.importing import Found, Imported, import_connections

EXIT_REFUSED = 1


class Command(BaseCommand):
    help = (
        "Make peers of the connections in a client configuration (~/.hl_client.cfg), in either of its forms. Each site "
        "is called first: the peer gets the name that the site gives itself, which need not be that of the connection. "
        "What is known here already is left as it is. Exit code 0: all are known now; 1: some are not, or the file "
        "cannot be used."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="only these connections (default: all)")
        parser.add_argument(
            "--file", type=Path, metavar="F", help="the configuration (default: HL_CLIENT_CONFIG, ~/.hl_client.cfg)"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
        parser.add_argument(
            "--no-check", action="store_true", help="call nobody; the peer is named as the connection is"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        failed = 0
        try:
            for each in import_connections(
                actor=None,
                path=options["file"],
                names=options["names"],
                check=not options["no_check"],
                dry_run=options["dry_run"],
            ):
                self.stdout.write(in_words(each))
                failed += each.found is Found.FAILED
        except ArchiveError as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_REFUSED) from problem
        if failed:
            raise CommandError(f"{failed} not added; the reasons stand above.", returncode=EXIT_REFUSED)


def in_words(each: Imported) -> str:
    """One line about one connection."""
    name = each.connection if each.peer_name in ("", each.connection) else f"{each.connection} ({each.peer_name})"
    return ": ".join([name, " ".join([f"{each.found.value}.", *each.notes])])
