"""`manage.py add_store NAME`: add a store of any kind from the command line."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from librarian.common.errors import ArchiveError, Conflict, InvalidRequest
from stores.backends import BACKENDS
from stores.kinds import SETTINGS, where
from stores.models import Store
from stores.services import add_store, check_new_store, test_store

EXIT_REFUSED = 1
EXIT_EXISTS = 3
EXIT_DOES_NOT_WORK = 4

# Option -> key of the configuration, metavar, help. Of several kinds are `--path` and `--staging` alone.
OF_KINDS: dict[str, tuple[str, str, str]] = {
    "destination": ("host", "[USER@]HOST", "ssh: the storage node, as ssh knows it"),
    "python": ("python", "P", "ssh: name or path of Python over there (default python3)"),
    "ssh_config": ("ssh_config", "FILE", "ssh: configuration file of ssh on this machine"),
    "node_ssh_config": ("node_ssh_config", "FILE", "ssh: the one by which the storage node reaches other sites"),
    "bucket": ("bucket", "B", "s3: name of the bucket"),
    "prefix": ("prefix", "P", "s3: what the names of its objects begin with"),
    "endpoint_url": ("endpoint_url", "URL", "s3: address of the service (default: AWS)"),
    "region": ("region", "R", "s3: region of the service"),
    "profile": ("profile", "NAME", "s3: profile of the AWS configuration files, where the keys are"),
    "spool": ("spool", "DIR", "s3: directory on this machine where deliveries wait"),
}


class Command(BaseCommand):
    help = (
        "Add a store: make its directories, write its marker and try it out. Exit code 0: added and it works; "
        "1: refused, nothing was added; 3: there is a store of this name; 4: added, but something does not work."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="letters, digits and _ . -, at most 64")
        parser.add_argument("--kind", choices=list(BACKENDS), default=Store.Kind.POSIX)
        parser.add_argument("--path", metavar="DIR", help="posix, ssh: directory that holds the files; made if absent")
        parser.add_argument(
            "--staging", metavar="DIR", help="posix, ssh: on the same file system (default DIR/.librarian/staging)"
        )
        for option, (_, metavar, words) in OF_KINDS.items():
            parser.add_argument(f"--{option.replace('_', '-')}", dest=option, metavar=metavar, help=words)
        parser.add_argument(
            "--host", action="append", default=[], metavar="H", help="a host that reaches it; repeat for several"
        )
        parser.add_argument("--travelling", action="store_true", help="a disk that is carried to other sites")
        parser.add_argument("--ssh-host", default="", metavar="H", help="name by which other sites reach it for rsync")
        parser.add_argument("--globus-endpoint", default="", metavar="ID", help="id of its Globus collection")
        parser.add_argument(
            "--provider", action="append", default=[], metavar="P", help="way of transfer offered to peers; repeat"
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
        self.stdout.write(f"Added store {name} at {where(store)}.")
        findings = test_store(store)
        for finding in findings:
            self.stdout.write(f"  {finding}")
        if not all(finding.works for finding in findings):
            raise CommandError(f"Store {name} was added, but does not work yet.", returncode=EXIT_DOES_NOT_WORK)

    def _dry_run(self, options: dict[str, Any]) -> None:
        store = check_new_store(**_fields(options))
        place = where(store)
        self.stdout.write(f"Would add store {store.name} of kind {store.kind} with {store.configuration}.")
        if not store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
            self.stdout.write(
                f"This host, {settings.LIBRARIAN_HOST_NAME}, does not reach it: nothing would be written."
            )
        elif store.kind == Store.Kind.POSIX and not Path(place).is_dir():
            self.stdout.write(f"Would make the directory {place}.")
        elif store.backend.carries_marker():
            raise Conflict(f"{place} carries the marker of another store.", remedy="Choose another place for it.")
        else:
            self.stdout.write(
                f"Would write the marker .librarian/store.json at {place}; other files there stay as they are."
            )


def _fields(options: dict[str, Any]) -> dict[str, Any]:
    """The columns of the store that the arguments describe. Raises InvalidRequest."""
    fields = {
        "name": options["name"],
        "kind": options["kind"],
        "configuration": _configuration(options),
        "hosts": options["host"],
        "ingestable": not (options["not_ingestable"] or options["travelling"]),
        "travelling": options["travelling"],
        "ssh_host": options["ssh_host"],
        "globus_endpoint": options["globus_endpoint"],
        "providers": options["provider"],
    }
    if options["fullness_limit"] is not None:
        fields["fullness_limit"] = options["fullness_limit"]
    return fields


def _configuration(options: dict[str, Any]) -> dict[str, str]:
    """What the kind needs; an option of another kind is refused, since it would count for nothing."""
    kind = options["kind"]
    known = {setting.key for setting in SETTINGS[kind]}
    given = {"path": "root", "staging": "staging", **{option: key for option, (key, _, _) in OF_KINDS.items()}}
    found = {}
    for option, key in given.items():
        value = options[option]
        if not value:
            continue
        if key not in known:
            raise InvalidRequest(
                f"--{option.replace('_', '-')} is no option of a store of kind {kind}.",
                remedy="Leave it out, or give the --kind that it belongs to.",
            )
        found[key] = str(Path(value).absolute()) if kind == Store.Kind.POSIX else value
    if kind != Store.Kind.S3 and "root" not in found:
        raise InvalidRequest("The store needs a directory for its files.", remedy="Name it with --path DIR.")
    if kind == Store.Kind.SSH and "host" not in found:
        raise InvalidRequest(
            "The store needs the storage node that holds its files.", remedy="Name it with --destination [USER@]HOST."
        )
    return found
