"""`manage.py doctor`: what of this site works, what does not and why, and what mends it."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from librarian.common.errors import ArchiveError
from librarian.doctor.registry import all_looks
from librarian.doctor.running import run_looks
from librarian.doctor.scope import Scope
from librarian.doctor.telling import as_plain_data, gather, lines

EXIT_PROBLEMS = 1
EXIT_REFUSED = 2


class Command(BaseCommand):
    help = (
        "Look at settings, home, secret files, database, jobs, stores and peers, and say of each what works, what is "
        "doubtful and what fails, with its remedy. Changes nothing. Exit code 0: nothing fails; 1: something does; "
        "2: no such store or peer."
    )
    requires_system_checks = []  # they are among what is told

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--store", action="append", default=[], metavar="NAME", help="only this store; repeatable")
        parser.add_argument("--peer", action="append", default=[], metavar="NAME", help="only this peer; repeatable")
        parser.add_argument(
            "--quick", action="store_true", help="write nothing to stores, and try no ssh hosts of peers"
        )
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        scope = Scope(stores=options["store"], peers=options["peer"], quick=options["quick"])
        try:
            groups = gather(run_looks(all_looks(scope)))
        except ArchiveError as error:
            raise CommandError(f"{error.reason} {error.suggested_remedy}", returncode=EXIT_REFUSED) from error
        told = as_plain_data(groups)
        if options["json"]:
            self.stdout.write(json.dumps(told, ensure_ascii=False, indent=2))
        else:
            self.stdout.write("\n".join(lines(groups)))
        if not told["healthy"]:
            raise CommandError("Something fails; each line says what mends it.", returncode=EXIT_PROBLEMS)
