"""Have every known copy of a file read again, at this site and at those it knows.

Exit code 0 if all copies are what was declared, 5 if some differ, 1 if all do, 6 if there is no such file or no copy.
"""

from argparse import ArgumentParser, Namespace

from hera_librarian.cli.arguments import add_connection, add_json
from hera_librarian.cli.connecting import cannot_yet, client_for
from hera_librarian.cli.failures import ExitCode, nothing_found
from hera_librarian.cli.output import document, say, table
from hera_librarian.exceptions import LibrarianHTTPError

HEADINGS = ("Checksum Match", "Current Checksum", "Librarian", "Original Checksum")
FIELDS = ("computed_same_checksum", "current_checksum", "librarian", "original_checksum")


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian validate-file`."""
    add_connection(parser)
    parser.add_argument("name", metavar="NAME", help="name of the file")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """A table, one row a copy. It takes as long as reading all copies takes."""
    try:
        copies = client_for(arguments.connection).validate_file(arguments.name)
    except LibrarianHTTPError as error:
        if error.status_code == 400 and "does not exist" in error.reason:
            raise nothing_found(error.reason, "Check the name with search-files.") from error
        cannot_yet(error, "validate files")
    if not copies:
        raise nothing_found(f"No copy of {arguments.name} could be read.", "See where copies are with locate-file.")
    if arguments.json:
        document([copy.model_dump(mode="json") for copy in copies])
    else:
        say(f"Found {len(copies)} instances of files in the librarian network.")
        table(HEADINGS, [[getattr(copy, field) for field in FIELDS] for copy in copies])
    good = sum(copy.computed_same_checksum for copy in copies)
    if good == len(copies):
        return ExitCode.OK
    return ExitCode.PARTLY if good else ExitCode.FAILED
