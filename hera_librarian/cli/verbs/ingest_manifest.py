"""Take in a disk that travelled, by the manifest that was written when it left.

Run it on a machine that sees both the disk and the staging area of the site. It may be repeated.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from hera_librarian.cli.arguments import add_connection, add_json
from hera_librarian.cli.connecting import cannot_yet, client_for
from hera_librarian.cli.failures import CommandFailure, ExitCode, explain
from hera_librarian.cli.output import record, say
from hera_librarian.cli.progress import Bar
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError, LibrarianTimeoutError

if TYPE_CHECKING:
    from hera_librarian.admin import AdminClient
    from hera_librarian.models.admin import AdminStoreManifestResponse, ManifestEntry


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian ingest-manifest`."""
    add_connection(parser)
    parser.add_argument("--manifest", required=True, metavar="FILE", help="the manifest")
    parser.add_argument("--store-root", required=True, metavar="DIR", help="where the disk's files lie here")
    add_json(parser, stream=True)


def run(arguments: Namespace) -> int:
    """Hand over each file of the manifest; one bad file does not stop the others."""
    manifest = _read(Path(arguments.manifest))
    client = client_for(arguments.connection)
    new = known = 0
    with Bar(sum(entry.size for entry in manifest.store_files), wanted=not arguments.json) as bar:
        for entry in manifest.store_files:
            failure = _hand_over(client, manifest.librarian_name, entry, Path(arguments.store_root))
            already = failure is not None and "already exists on librarian" in failure.reason
            known += already
            new += failure is None
            bar.advance(entry.size)
            outcome = "new" if failure is None else "already here" if already else "failed"
            if arguments.json:
                said = failure.as_dict() if outcome == "failed" and failure else {}
                record({"name": entry.name, "outcome": outcome, **said})
            elif outcome == "failed" and failure:
                bar.complain(entry.name, failure.reason, failure.remedy)
    total = len(manifest.store_files)
    if not arguments.json:
        say(f"Successfully ingested {new}/{total} files, {known}/{total} already existed.")
    if new + known == total:
        return ExitCode.OK
    return ExitCode.PARTLY if new + known else ExitCode.FAILED


def _hand_over(client: "AdminClient", librarian_name: str, entry: "ManifestEntry", root: Path) -> CommandFailure | None:
    """Why one file could not be handed over; None if it was.

    `source` is the site that wrote the manifest, not the file's own: by it the receiver knows whom to call back.
    Trouble that concerns every file is raised.
    """
    try:
        client.ingest_manifest_entry(
            name=entry.name,
            create_time=entry.create_time,
            size=entry.size,
            checksum=entry.checksum,
            uploader=entry.uploader,
            source=librarian_name,
            deletion_policy=entry.deletion_policy,
            source_transfer_id=entry.outgoing_transfer_id,
            local_path=_place(root, entry),
        )
    except LibrarianTimeoutError:
        raise
    except LibrarianHTTPError as error:
        if error.status_code in (401, 403, 404, 405):
            cannot_yet(error, "take in manifests")
        return explain(error)
    except (LibrarianError, OSError) as error:
        return explain(error)
    return None


def _place(root: Path, entry: "ManifestEntry") -> Path:
    """Where a file lies on the disk as it is mounted here: by its name, else by the end of the path that it had.

    Only places inside of the disk count, whatever the manifest says.
    """
    parts = Path(entry.instance_path).parts
    ways = [Path(entry.name), *(Path(*parts[start:]) for start in range(1, len(parts)))]
    for way in ways:
        if not way.is_absolute() and ".." not in way.parts and (root / way).exists():
            return root / way
    return root / Path(entry.name).name


def _read(path: Path) -> "AdminStoreManifestResponse":
    from pydantic import ValidationError

    from hera_librarian.models.admin import AdminStoreManifestResponse

    try:
        return AdminStoreManifestResponse.model_validate_json(path.read_bytes())
    except ValidationError as problem:
        place = ".".join(str(part) for part in problem.errors(include_url=False)[0]["loc"]) or "the whole"
        raise CommandFailure(
            f"{path} is not a manifest: {place} is wrong or missing.",
            "Write it anew with get-store-manifest.",
            code="invalid_manifest",
        ) from None
