"""`manage.py add_store NAME --path DIR`: add a store from the command line."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from librarian.common.errors import ArchiveError, Conflict
from stores.backends import BACKENDS
from stores.models import Store
from stores.services import add_store, check_new_store, test_store

EXIT_REFUSED = 1
EXIT_EXISTS = 3
EXIT_DOES_NOT_WORK = 4


class Command(BaseCommand):
    help = (
        "Add a store: make its directories, write its marker and try it out. Exit code 0: added and it works; "
        "1: refused, nothing was added; 3: there is a store of this name; 4: added, but something does not work."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="letters, digits and _ . -, at most 64")
        parser.add_argument("--kind", choices=list(BACKENDS), default=Store.Kind.POSIX)
        parser.add_argument(
            "--path", required=True, metavar="DIR", help="directory that holds the files; made if absent"
        )
        parser.add_argument("--staging", metavar="DIR", help="on the same file system (default DIR/.librarian/staging)")
        parser.add_argument(
            "--host", action="append", default=[], metavar="H", help="a host that reaches it; repeat for several"
        )
        parser.add_argument("--fullness-limit", type=float, metavar="F", help="share that may be used, 0.01 to 1")
        parser.add_argument("--not-ingestable", action="store_true", help="takes no new files")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done and change nothing")
        parser.add_argument("--exists-ok", action="store_true", help="leave an existing store as it is, exit 0")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        if Store.objects.filter(name=name).exists():
            if options["exists_ok"]:
                self.stderr.write(f"There is a store {name} already; it was left as it is.")
                return
            raise CommandError(f"There is already a store called {name}.", returncode=EXIT_EXISTS)
        try:
            if options["dry_run"]:
                self._dry_run(options)
                return
            store = add_store(actor=None, **_fields(options))
        except ArchiveError as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_REFUSED) from problem
        self.stdout.write(f"Added store {name} at {store.configuration['root']}.")
        findings = test_store(store)
        for finding in findings:
            self.stdout.write(f"  {finding}")
        if not all(finding.works for finding in findings):
            raise CommandError(f"Store {name} was added, but does not work yet.", returncode=EXIT_DOES_NOT_WORK)

    def _dry_run(self, options: dict[str, Any]) -> None:
        store = check_new_store(**_fields(options))
        root = store.configuration["root"]
        self.stdout.write(f"Would add store {store.name} of kind {store.kind} with {store.configuration}.")
        if not store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
            self.stdout.write(
                f"This host, {settings.LIBRARIAN_HOST_NAME}, does not reach it: nothing would be written."
            )
        elif not Path(root).is_dir():
            self.stdout.write(f"Would make the directory {root}.")
        elif store.backend.carries_marker():
            raise Conflict(f"{root} carries the marker of another store.", remedy="Choose another directory.")
        else:
            self.stdout.write(
                f"Would write the marker {root}/.librarian/store.json; other files there stay as they are."
            )


def _fields(options: dict[str, Any]) -> dict[str, Any]:
    """The columns of the store that the arguments describe."""
    configuration = {"root": str(Path(options["path"]).absolute())}
    if options["staging"]:
        configuration["staging"] = str(Path(options["staging"]).absolute())
    fields = {
        "name": options["name"],
        "kind": options["kind"],
        "configuration": configuration,
        "hosts": options["host"],
        "ingestable": not options["not_ingestable"],
    }
    if options["fullness_limit"] is not None:
        fields["fullness_limit"] = options["fullness_limit"]
    return fields
