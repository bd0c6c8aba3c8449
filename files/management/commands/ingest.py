"""`manage.py ingest PATH…`: take files and trees on this machine into the archive."""

import json
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from accounts.models import User
from files.services.ingest import Report, Wishes, ingest_products, plan_products
from files.services.products import find_products
from files.services.registration import Outcome
from librarian.common.errors import ArchiveError


class Command(BaseCommand):
    help = (
        "Take files and trees into the archive. Repeating it is harmless and goes on where it was cut short. "
        "Exit code: 0 all are in the archive; 1 some could not be taken; 2 nothing could be done."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", metavar="PATH")
        parser.add_argument("--in-place", action="store_true", help="the paths lie inside a store: copy nothing")
        parser.add_argument("--dry-run", action="store_true", help="show what would be taken, and how it is named")
        parser.add_argument("--store", help="name of the store (default: the first that fits)")
        parser.add_argument("--pattern", default="*", help="shell pattern of product names, such as '*.uvh5'")
        parser.add_argument("--product", action="append", metavar="GLOB", help="directories that are one product each")
        parser.add_argument("--null-obsid", action="store_true", help="logs, backups: they belong to no observation")
        parser.add_argument("--obsid", type=int, help="observation of every file given, in GPS seconds")
        parser.add_argument("--deletion", choices=["disallowed", "allowed"], default="disallowed")
        parser.add_argument("--uploader", help="who hands them over (default: the source)")
        parser.add_argument("--source", default="ingest", help="what brought them here (default: ingest)")
        parser.add_argument("--user", help="account on whose behalf this is done")
        parser.add_argument("--jobs", type=int, default=1, metavar="N", help="products read at the same time")
        parser.add_argument("--json", action="store_true", help="one JSON object a product on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["jobs"] < 1 or options["jobs"] > 64:
            raise CommandError("--jobs takes a number from 1 to 64.", returncode=2)
        products = find_products(options["paths"], pattern=options["pattern"], products=options["product"])
        reports = plan_products(products) if options["dry_run"] else ingest_products(products, self._wishes(options))
        counts: Counter[str] = Counter()
        size_bytes = 0
        bar = tqdm(unit=" files", disable=options["json"] or options["verbosity"] == 0, leave=False)
        try:
            for report in reports:
                counts[report.outcome] += 1
                size_bytes += report.size_bytes if report.outcome == Outcome.NEW else 0
                self._tell(report, options, bar)
                bar.update()
        except ArchiveError as error:
            raise CommandError(f"{error.reason} {error.suggested_remedy}", returncode=2) from error
        finally:
            bar.close()
        self._sum_up(counts, size_bytes, options)

    def _wishes(self, options: dict[str, Any]) -> Wishes:
        user = None
        if options["user"]:
            user = User.objects.filter(username=options["user"]).first()
            if user is None:
                raise CommandError(f"There is no account {options['user']}.", returncode=2)
        return Wishes(
            actor=user,
            uploader=options["uploader"] or options["user"] or options["source"],
            source=options["source"],
            store_name=options["store"],
            in_place=options["in_place"],
            null_obsid=options["null_obsid"],
            obsid=options["obsid"],
            deletion_policy=int(options["deletion"] == "allowed"),
            jobs=options["jobs"],
        )

    def _tell(self, report: Report, options: dict[str, Any], bar: tqdm) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict(), ensure_ascii=False))
        elif report.outcome == Outcome.FAILED:
            bar.clear()
            self.stderr.write(f"{report.path}: {report.reason} {report.remedy}")
        elif options["dry_run"] or options["verbosity"] > 1:
            bar.clear()
            self.stdout.write(f"{report.outcome}: {report.path} -> {report.name} ({report.kind}) at {report.place}")

    def _sum_up(self, counts: Counter[str], size_bytes: int, options: dict[str, Any]) -> None:
        said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())) or "no products found"
        if not options["json"]:
            self.stdout.write(f"{said}; {size_bytes / 1e6:.1f} MB new in {settings.LIBRARIAN_NAME}.")
        if not counts:
            raise CommandError("No product was found there.", returncode=2)
        if counts[Outcome.FAILED]:
            only_failed = counts[Outcome.FAILED] == counts.total()
            raise CommandError(f"{counts[Outcome.FAILED]} could not be taken.", returncode=2 if only_failed else 1)
