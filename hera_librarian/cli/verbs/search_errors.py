"""Look into the error inbox of a site: what is open, and with --include-resolved also what was dealt with."""

from argparse import ArgumentParser, Namespace

from hera_librarian.cli.arguments import add_connection, add_json, add_window, count, window
from hera_librarian.cli.connecting import client_for
from hera_librarian.cli.failures import ExitCode
from hera_librarian.cli.output import document, say, table
from hera_librarian.errors import ErrorCategory, ErrorSeverity

HEADINGS = ("ID", "Severity", "Category", "Message", "Raised", "Cleared", "Cleared Time", "Caller")
FIELDS = ("id", "severity", "category", "message", "raised_time", "cleared", "cleared_time", "caller")


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian search-errors`."""
    add_connection(parser)
    parser.add_argument("--id", type=count, help="the trouble of this number")
    parser.add_argument("-c", "--category", type=str.lower, choices=[each.value for each in ErrorCategory])
    parser.add_argument("-s", "--severity", type=str.lower, choices=[each.value for each in ErrorSeverity])
    add_window(parser, "first met")
    parser.add_argument("--include-resolved", action="store_true", help="also those that were cleared")
    parser.add_argument("--max-results", type=count, default=64, metavar="N", help="at most so many (default 64)")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """A table, newest first."""
    found = client_for(arguments.connection).search_errors(
        id=arguments.id,
        category=ErrorCategory(arguments.category) if arguments.category else None,
        severity=ErrorSeverity(arguments.severity) if arguments.severity else None,
        create_time_window=window(arguments),
        include_resolved=arguments.include_resolved,
        max_results=arguments.max_results,
    )
    if arguments.json:
        document([each.model_dump(mode="json") for each in found])
    elif found:
        table(HEADINGS, [[getattr(each, field) for field in FIELDS] for each in found])
    else:
        say("No errors found.")
    return ExitCode.OK
