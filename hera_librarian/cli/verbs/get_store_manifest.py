"""List what lies on a store, as a manifest for a disk that travels to another site."""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hera_librarian.cli.arguments import add_connection, add_json
from hera_librarian.cli.connecting import cannot_yet, client_for
from hera_librarian.cli.failures import ExitCode
from hera_librarian.cli.output import document, note
from hera_librarian.exceptions import LibrarianHTTPError


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian get-store-manifest`."""
    add_connection(parser)
    parser.add_argument("--store", required=True, metavar="NAME", help="name of the store")
    parser.add_argument("--destination-librarian", metavar="NAME", help="begin transfers to this site")
    parser.add_argument("--disable-store", action="store_true", help="switch the store off")
    parser.add_argument("--mark-instances-as-unavailable", action="store_true", help="the copies leave with the disk")
    parser.add_argument("--output", metavar="FILE", help="write the manifest there (default: standard output)")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Write the manifest; it is JSON with and without --json."""
    try:
        manifest = client_for(arguments.connection).get_store_manifest(
            arguments.store,
            create_outgoing_transfers=bool(arguments.destination_librarian),
            destination_librarian=arguments.destination_librarian,
            disable_store=arguments.disable_store,
            mark_local_instances_as_unavailable=arguments.mark_instances_as_unavailable,
        )
    except LibrarianHTTPError as error:
        cannot_yet(error, "write manifests")
    if not arguments.output:
        document(manifest)
        return ExitCode.OK
    _write(Path(arguments.output), manifest.model_dump_json(indent=2) + "\n")
    note(f"{len(manifest.store_files)} files in {arguments.output}")
    return ExitCode.OK


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all: by the manifest a disk is taken in elsewhere."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
