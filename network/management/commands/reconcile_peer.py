"""`manage.py reconcile_peer NAME`: compare everything that we and a peer know of each other's transfers, now."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from librarian.common.errors import ArchiveError
from network.models import Peer
from network.services.peering.calls import call_peer
from network.services.sending.reconciling import NotReconciled, Report, look_over, reconcile

EXIT_REFUSED = 1


class Command(BaseCommand):
    help = (
        "Tell a peer what it does not know of our transfers, ask it about all that it has, and compare what it said "
        "to hold with what it holds now. Exit code 0: done; 1: there is no such peer, or it does not answer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="name of the Librarian")
        parser.add_argument("--dry-run", action="store_true", help="ask, say what would be done, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        peer = Peer.objects.filter(name=options["name"]).first()
        if peer is None:
            raise CommandError(f"There is no Librarian called {options['name']} here.", returncode=EXIT_REFUSED)
        try:
            call_peer(peer, "v2/ping/", {}, is_urgent=True)
            report = look_over(peer) if options["dry_run"] else reconcile(peer)
        except NotReconciled as problem:
            self._show(problem.report, options["dry_run"])
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_REFUSED) from problem
        except ArchiveError as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_REFUSED) from problem
        self._show(report, options["dry_run"])

    def _show(self, report: Report, is_dry_run: bool) -> None:
        for line in report.lines:
            self.stdout.write(f"  {line}")
        if report.more:
            self.stdout.write(f"  and {report.more} more")
        for what, count in report.counts.items():
            self.stdout.write(f"{what}: {count}")
        if is_dry_run:
            self.stdout.write("Nothing was changed.")
