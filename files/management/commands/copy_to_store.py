"""`manage.py copy_to_store`: have files copied to another store of this site."""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import QuerySet, Sum

from files.models import File
from files.names import normalise_name
from files.search import compile_search
from files.services.copying import want_copies
from files.services.copying.wishes import not_yet_wanted
from librarian.common.audit import process_owner, record_act
from librarian.common.errors import ArchiveError
from stores.models import Store

EXIT_REFUSED = 1


class Command(BaseCommand):
    help = (
        "Have files copied to the first of the named stores that takes each; the job copy_files makes the copies. "
        "Without --yes it shows what it would do. Exit code 0: done; 1: refused, nothing is wanted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="files")
        parser.add_argument("--to", action="append", required=True, metavar="STORE", help="filled in this order")
        parser.add_argument("--search", metavar="JSON", help="in the JSON search language, instead of names")
        parser.add_argument("--priority", type=int, default=0, metavar="N", help="higher numbers first (default 0)")
        parser.add_argument("--yes", action="store_true", help="do it")
        parser.add_argument("--json", action="store_true", help="one JSON object on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            stores = named_stores(options["to"])
            files = _files(options["names"], options["search"])
            self._carry_out(files, stores, options)
        except ArchiveError as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_REFUSED) from problem

    def _carry_out(self, files: QuerySet[File], stores: list[Store], options: dict[str, Any]) -> None:
        who = process_owner()[:64]
        targets, group = [store.pk for store in stores], f"person:{who}"
        wanted = not_yet_wanted(files, targets=targets, group=group, asked=True)
        counted = wanted.order_by().aggregate(size=Sum("size_bytes"))
        number, size_bytes = wanted.count(), counted["size"] or 0
        if options["yes"]:
            with transaction.atomic():
                number = want_copies(
                    file_ids=_keys(wanted), targets=targets, group=group, asked_by=who, priority=options["priority"]
                )
                facts = {"copies": number, "search": options["search"] or "", "names": options["names"][:20]}
                subject = f"stores {', '.join(store.name for store in stores)}"
                record_act(actor=None, action="want_copies", subject=subject, facts=facts)
        self._tell(number, size_bytes, stores, options)

    def _tell(self, number: int, size_bytes: int, stores: list[Store], options: dict[str, Any]) -> None:
        names = [store.name for store in stores]
        if options["json"]:
            said = {"files": number, "size_bytes": size_bytes, "stores": names, "wanted": options["yes"]}
            self.stdout.write(json.dumps(said))
            return
        what = f"{number} files of {size_bytes / 1e6:.1f} MB"
        if options["yes"]:
            self.stdout.write(f"{what} are copied to {', then '.join(names)}. The Copies page shows how far they are.")
        else:
            self.stdout.write(f"{what} would be copied to {', then '.join(names)}. Nothing was done; add --yes.")


def named_stores(names: list[str]) -> list[Store]:
    """Stores in the order of their names. CommandError for a name that none has."""
    known = {store.name: store for store in Store.objects.filter(name__in=names)}
    if missing := [name for name in names if name not in known]:
        raise CommandError(
            f"There is no store called {missing[0]}. The Stores page lists every one.", returncode=EXIT_REFUSED
        )
    return [known[name] for name in dict.fromkeys(names)]


def _files(names: list[str], search: str | None) -> QuerySet[File]:
    """The files that are meant. CommandError when that is not said, said twice, or a name has no file."""
    if bool(names) == (search is not None):
        raise CommandError("Give names, or --search.", returncode=EXIT_REFUSED)
    if search is not None:
        return File.objects.filter(compile_search(search))
    wanted = list(dict.fromkeys(normalise_name(name).name for name in names))
    files = File.objects.filter(name__in=wanted)
    known = set(files.values_list("name", flat=True))
    if missing := [name for name in wanted if name not in known]:
        raise CommandError(f"There is no file {missing[0]} in this catalogue.", returncode=EXIT_REFUSED)
    return files


def _keys(files: QuerySet[File]) -> Iterator[int]:
    """Ids of files, oldest first, a page at a time: what is wanted meanwhile does not change the rest."""
    last = 0
    while page := list(files.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:1_000]):
        yield from page
        last = page[-1]
