"""`manage.py offload STORE`: empty a store, so that its room can be used or its disk taken away."""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from files.management.commands.copy_to_store import named_stores
from files.models import CopyState, Offload, StoreCopy
from files.services.offloading import pause_offload, progress_of, resume_offload, start_offload, stop_offload
from librarian.common.errors import ArchiveError
from stores.models import Store

EXIT_REFUSED = 1
SHOWN = 20
ACTS: dict[str, Callable[..., None]] = {"pause": pause_offload, "resume": resume_offload, "stop": stop_offload}


class Command(BaseCommand):
    help = (
        "Give every file of a store a verified copy on another store; then its copy may go. Nothing is erased. "
        "With --drain the store takes no new files from now on. Exit code 0: done; 1: refused, nothing was changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("store", help="name of the store that is emptied")
        parser.add_argument("--to", action="append", default=[], metavar="STORE", help="filled in this order")
        parser.add_argument("--drain", action="store_true", help="it is to be taken out of service")
        parser.add_argument("--search", default="", metavar="JSON", help="only files that match (default: all)")
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--status", action="store_true", help="how far it is, and what failed")
        for act, does in (("pause", "copy nothing more for now"), ("resume", "go on"), ("stop", "end it as it is")):
            group.add_argument(f"--{act}", action="store_true", help=does)
        parser.add_argument("--json", action="store_true", help="one JSON object on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        (store,) = named_stores([options["store"]])
        act = next((name for name in ACTS if options[name]), "")
        try:
            if act or options["status"]:
                self._go_on(store, act, options)
            else:
                self._start(store, options)
        except ArchiveError as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_REFUSED) from problem

    def _start(self, store: Store, options: dict[str, Any]) -> None:
        targets = named_stores(options["to"])
        offload = start_offload(
            store=store, targets=targets, drains=options["drain"], search=options["search"], actor=None
        )
        self._show(offload, options["json"])

    def _go_on(self, store: Store, act: str, options: dict[str, Any]) -> None:
        if options["to"] or options["drain"] or options["search"]:
            raise CommandError("--to, --drain and --search are for a new offload.", returncode=EXIT_REFUSED)
        offload = store.offloads.order_by("-pk").first()
        if offload is None:
            raise CommandError(f"Store {store.name} was never to be emptied.", returncode=EXIT_REFUSED)
        if act:
            ACTS[act](offload, actor=None)
        self._show(offload, options["json"])

    def _show(self, offload: Offload, is_json: bool) -> None:
        progress = progress_of(offload)
        failed = StoreCopy.objects.of_group(offload.group).filter(state=CopyState.FAILED).select_related("file")
        reasons = {copy.file.name: copy.reason for copy in failed.order_by("pk")[:SHOWN]}
        if is_json:
            self.stdout.write(json.dumps(_as_data(offload, reasons)))
            return
        self.stdout.write(
            f"Store {offload.store.name}: {offload.state}; {progress.files_safe} of "
            f"{progress.files_total} files have another verified copy, {progress.files_left} are left "
            f"({progress.bytes_left / 1e6:.1f} MB), {progress.files_failed} of them failed."
        )
        if offload.problem:
            self.stdout.write(offload.problem)
        for name, reason in reasons.items():
            self.stdout.write(f"  {name}: {reason}")


def _as_data(offload: Offload, reasons: dict[str, str]) -> dict[str, Any]:
    progress = progress_of(offload)
    return {
        "store": offload.store.name,
        "state": offload.state,
        "drains": offload.drains,
        "search": offload.search,
        "problem": offload.problem,
        "files_total": progress.files_total,
        "files_safe": progress.files_safe,
        "files_left": progress.files_left,
        "bytes_left": progress.bytes_left,
        "files_failed": progress.files_failed,
        "failed": reasons,
    }
