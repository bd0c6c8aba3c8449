"""`manage.py verify_events`: prove every file's history against the signed roots."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from files.services.event_verification import Verdict, accept_restore, verify_events
from files.services.roots import write_root
from librarian.common.audit import record_act
from librarian.common.errors import ArchiveError


class Command(BaseCommand):
    help = (
        "Recompute every history and compare it with the signed roots under LIBRARIAN_HOME/roots, which are believed "
        "rather than the database. Exit code 1 when something does not hold."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--write-root", action="store_true", help="write a root of now first")
        parser.add_argument("--accept-restore", action="store_true", help="this database was restored from a backup")
        parser.add_argument("--by", default="", help="who says so (kept in the new root)")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["write_root"]:
                write_root()
            verdict = verify_events()
            if options["accept_restore"]:
                self._accept(verdict, options["by"])
                return
        except ArchiveError as error:
            raise CommandError(f"{error.reason} {error.suggested_remedy}", returncode=2) from error
        if options["json"]:
            self.stdout.write(json.dumps(verdict.as_dict(), ensure_ascii=False))
        else:
            self._tell(verdict)
        if verdict.findings:
            raise CommandError(f"{len(verdict.findings)} findings.", returncode=1)

    def _accept(self, verdict: Verdict, by: str) -> None:
        if not by:
            raise CommandError("--accept-restore needs --by NAME: who says that it was restored.", returncode=2)
        root = accept_restore(accepted_by=by, verdict=verdict)
        record_act(actor=None, action="accept_restore", subject=root["root"], facts={"by": by})
        self.stdout.write(f"Accepted by {by}: the new root {root['root']} covers {root['histories']} histories.")

    def _tell(self, verdict: Verdict) -> None:
        for finding in verdict.findings:
            self.stderr.write(finding)
        if verdict.looks_restored:
            self.stderr.write(
                "Every finding is a history that ends before its root: this database is older than its roots. If it "
                "was restored from a backup, say so once: verify_events --accept-restore --by NAME"
            )
        self.stdout.write(
            f"{verdict.histories} histories with {verdict.lines} lines; {verdict.roots} roots cover "
            f"{verdict.rooted_lines}, {verdict.younger} lines are younger than the newest root."
        )
