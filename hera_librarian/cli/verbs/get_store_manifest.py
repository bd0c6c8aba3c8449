"""List what lies on a store, as a manifest for a disk that travels to another site.

With a destination each file that the other site lacks is on its way there from now on. Repeating it is harmless at
servers of our kind: the same trip is answered with the same manifest.
"""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

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
    wishes = {
        "create_outgoing_transfers": bool(arguments.destination_librarian),
        "destination_librarian": arguments.destination_librarian,
        "disable_store": arguments.disable_store,
        "mark_local_instances_as_unavailable": arguments.mark_instances_as_unavailable,
    }
    try:
        if not arguments.output:
            manifest = client_for(arguments.connection).get_store_manifest(arguments.store, **wishes)
            document(manifest.model_dump(mode="json", exclude_unset=True))
            return ExitCode.OK
        return _write(Path(arguments.output), arguments, wishes)
    except LibrarianHTTPError as error:
        cannot_yet(error, "write manifests")


def _write(path: Path, arguments: Namespace, wishes: dict[str, Any]) -> int:
    """Write the server's own bytes, of which the seal is the digest, whole or not at all."""
    from hera_librarian.carrying import open_manifest

    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            client_for(arguments.connection).save_store_manifest(file, arguments.store, **wishes)
            file.flush()
            os.fsync(file.fileno())
        manifest = open_manifest(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    note(f"{manifest.file_count} files in {path}; seal {manifest.seal}")
    return ExitCode.OK
