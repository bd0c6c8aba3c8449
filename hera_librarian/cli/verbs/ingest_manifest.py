"""Take in a disk that travelled, by the manifest that was written when it left.

Run it where the disk is mounted. The bytes go over a shared disk where this machine sees the staging area of the site,
else over HTTP where the site offers that. It may be interrupted and repeated: what was handed over is recognised.
"""

from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hera_librarian.cli.arguments import add_connection, add_json, rate
from hera_librarian.cli.connecting import cannot_yet, client_for
from hera_librarian.cli.failures import CommandFailure, ExitCode, explain
from hera_librarian.cli.output import note, record, say
from hera_librarian.cli.progress import Bar
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hera_librarian.admin import AdminClient
    from hera_librarian.carrying import EntryResult, Manifest

MANIFEST = "librarian-manifest.json"


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian ingest-manifest`."""
    add_connection(parser)
    parser.add_argument("--manifest", metavar="FILE", help=f"the manifest (default: {MANIFEST} on the disk)")
    parser.add_argument("--store-root", required=True, metavar="DIR", help="where the disk's files lie here")
    parser.add_argument("--seal", metavar="SEAL", help="take nothing in unless the manifest has this SHA-256")
    parser.add_argument(
        "--source-connection",
        metavar="CONNECTION",
        help="an ADMIN's connection to the site that packed the disk: there, transfers of files that are here already "
        "are closed by hand",
    )
    parser.add_argument("--way", choices=["auto", "disk", "http"], default="auto", help="how the bytes go (auto)")
    parser.add_argument("--bandwidth", type=rate, metavar="RATE", help="at most so many bytes a second, as 20MB")
    parser.add_argument("--anew", action="store_true", help="forget what earlier runs have noted of this disk")
    add_json(parser, stream=True)


def run(arguments: Namespace) -> int:
    """Hand over each file of the manifest; one bad file does not stop the others."""
    root = Path(arguments.store_root)
    manifest = _read(Path(arguments.manifest) if arguments.manifest else root / MANIFEST, arguments.seal)
    client = client_for(arguments.connection)
    source = _source(arguments.source_connection, manifest) if arguments.source_connection else None
    outcomes: Counter[str] = Counter()
    with Bar(manifest.size_bytes, wanted=not arguments.json) as bar:
        try:
            for result in _results(arguments, client, manifest, root, bar):
                outcomes[result.outcome] += 1
                _tell(result, bar, as_json=arguments.json)
                if source is not None:
                    _close(source, result, bar)
        except LibrarianHTTPError as error:
            if error.status_code not in (401, 403, 404, 405):
                raise
            cannot_yet(error, "take in manifests")
    return _sum_up(manifest, outcomes, as_json=arguments.json)


def _source(connection: str, manifest: "Manifest") -> "AdminClient":
    """The site that packed the disk. Another one's transfers have the same numbers, and none of it is closed."""
    client = client_for(connection)
    site = client.site()
    if site is not None and site.name and site.name != manifest.librarian_name:
        raise CommandFailure(
            f"{connection} leads to {site.name}, but the disk was packed by {manifest.librarian_name}.",
            "Name a connection to the site that packed it, or leave --source-connection out.",
            code="other_site",
        )
    return client


def _results(
    arguments: Namespace, client: "AdminClient", manifest: "Manifest", root: Path, bar: Bar
) -> "Iterator[EntryResult]":
    from hera_librarian.carrying import NEW, Carrier, Hand, Journal
    from hera_librarian.uploading import Pace

    pace = Pace(arguments.bandwidth) if arguments.bandwidth else None
    with Journal(manifest.seal, client.hostname, anew=arguments.anew) as journal:
        hand = Hand(client, manifest, root, journal, way=arguments.way, progress=bar.advance, pace=pace)
        for result in Carrier(hand).run():
            if result.outcome != NEW:
                bar.advance(result.size_bytes)
            yield result


def _tell(result: "EntryResult", bar: Bar, *, as_json: bool) -> None:
    if as_json:
        record(result.as_dict())
    elif result.reason:
        bar.complain(result.name, result.reason, result.remedy)


def _close(source: "AdminClient", result: "EntryResult", bar: Bar) -> None:
    """Close the sender's transfer of a file that this site holds already: nobody else will tell it."""
    if not result.store_ids or result.transfer_id < 0:
        return
    try:
        source.complete_outgoing_transfer(result.transfer_id, result.store_ids[0])
    except (LibrarianError, LibrarianHTTPError) as problem:
        failure = explain(problem)
        bar.complain(f"transfer {result.transfer_id} of {result.name}", failure.reason, failure.remedy)


def _sum_up(manifest: "Manifest", outcomes: Counter[str], *, as_json: bool) -> int:
    from hera_librarian.carrying import ALREADY_HERE, COMING, NEW

    total, new, known, coming = manifest.file_count, outcomes[NEW], outcomes[ALREADY_HERE], outcomes[COMING]
    if not as_json:
        say(f"Successfully ingested {new}/{total} files, {known}/{total} already existed.")
        if coming:
            note(f"{coming} are being brought by somebody else at this moment; repeat the command later")
    if new + known == total:
        return ExitCode.OK
    return ExitCode.PARTLY if new + known + coming else ExitCode.FAILED


def _read(path: Path, seal: str | None) -> "Manifest":
    from hera_librarian.carrying import open_manifest

    manifest = open_manifest(path)
    if seal is not None and seal.strip().lower() != manifest.seal:
        raise CommandFailure(
            f"{path} has the seal {manifest.seal}, not the one that was given.",
            "Ask the sender which of the two is right; nothing was taken in.",
            code="other_seal",
        )
    return manifest
