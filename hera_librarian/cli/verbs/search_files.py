"""Find files, newest first.

librarian search-files CONNECTION 'zen.2459122.*.uvh5'      a name, or a pattern in quotes
librarian search-files CONNECTION --uploader correlator --create-time-start 2026-11-20
"""

import csv
import io
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from hera_librarian.cli.arguments import add_connection, add_json
from hera_librarian.cli.connecting import client_for, require_v3
from hera_librarian.cli.failures import ExitCode, wrong_usage
from hera_librarian.cli.output import bold, document, note, on_terminal, record, say, size_text, table, visible
from hera_librarian.cli.selection import ON_THE_WIRE, add_filters, filter_of, filters_of
from hera_librarian.times import parse_utc

if TYPE_CHECKING:
    from hera_librarian.admin import AdminClient

FORMATS = ("lines", "table", "csv", "names", "json", "jsonl")
COLUMNS = ("name", "registered_at", "obsid", "kind", "size_bytes", "copies", "uploader", "source")
HEADINGS = ("Name", "Created", "Observation", "Type", "Size", "Copies", "Uploader", "Source")
CSV_COLUMNS = (*COLUMNS, "checksum", "digest", "local_count", "remote_count")


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian search-files`."""
    add_connection(parser)
    parser.add_argument("pattern", nargs="?", metavar="NAME", help="a name, or a pattern with * and ?")
    add_filters(parser)
    most = parser.add_mutually_exclusive_group()
    most.add_argument("--max-results", type=int, default=64, metavar="N", help="at most so many (default 64)")
    most.add_argument("--all", action="store_true", help="as many as there are")
    parser.add_argument("--format", choices=FORMATS, default="lines", help="how to write them (default lines)")
    parser.add_argument("--instances", action="store_true", help="with json and jsonl: also every copy of each file")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Write what is found. Nothing is no failure."""
    form = "json" if arguments.json else arguments.format
    filters = filters_of(arguments)
    if arguments.pattern is not None:
        given = filter_of(arguments.pattern)
        if set(given) & set(filters):
            raise wrong_usage("A name is asked for twice.", "Leave one of them out.")
        filters |= given
    with_copies = form == "lines" or (arguments.instances and form in ("json", "jsonl"))
    most = None if arguments.all else max(0, arguments.max_results)
    found = _find(client_for(arguments.connection), filters, most, with_copies=with_copies)
    number = _write(form, found)
    if number == 0 and form in ("lines", "table"):
        say("No results found.")
    return ExitCode.OK


# --- Asking -----------------------------------------------------------------------------------------------------------


def _find(
    client: "AdminClient", filters: dict[str, Any], most: int | None, *, with_copies: bool
) -> Iterator[dict[str, Any]]:
    """Rows of files in the words of version 3, from servers that have no version 3 as well."""
    if client.site() is None:
        if not set(filters) <= ON_THE_WIRE:
            require_v3(client, f"search by {', '.join(sorted(set(filters) - ON_THE_WIRE))}")
        yield from _by_wire(client, filters, most)
        return
    rows = client.search(**filters).dicts()
    for number, row in enumerate(islice(rows, None if most is None else most + 1)):
        if number == most:
            note(f"only the newest {most} are shown; ask for more with --max-results, or for --all")
            return
        yield _with_copies(client, row) if with_copies else row


def _with_copies(client: "AdminClient", row: dict[str, Any]) -> dict[str, Any]:
    from hera_librarian.finding.pages import file_address, read_json

    return read_json(client, file_address(row["name"]))


def _by_wire(client: "AdminClient", filters: dict[str, Any], most: int | None) -> Iterator[dict[str, Any]]:
    start, end = filters.get("registered_after"), filters.get("registered_before")
    window = (
        None if start is None and end is None else (start or parse_utc("0001-01-01"), end or parse_utc("9999-12-31"))
    )
    names = ("name", "uploader", "source")
    found = client.search_files(
        **{name: filters.get(name) for name in names},
        create_time_window=window,
        max_results=2**31 - 1 if most is None else most,
    )
    for file in found:
        row = file.model_dump(mode="json")
        yield {
            "name": file.name,
            "size_bytes": file.size,
            "checksum": file.checksum,
            "uploader": file.uploader,
            "source": file.source,
            "registered_at": row["create_time"] + "Z",
            "instances": [
                {"location": copy["path"], "presence": "present" if copy["available"] else "gone"}
                for copy in row["instances"]
            ],
            "remote_instances": [{"peer": copy["librarian_name"]} for copy in row["remote_instances"]],
        }


# --- Writing ----------------------------------------------------------------------------------------------------------


def _write(form: str, found: Iterator[dict[str, Any]]) -> int:
    """Write rows in one of the forms; their number."""
    if form in ("json", "table"):
        rows = list(found)
        if form == "json":
            document(rows)
        elif rows:
            table(HEADINGS, [_cells(row) for row in rows])
        return len(rows)
    if form == "csv":
        return _write_csv(found)
    write = {"lines": _lines, "names": _name, "jsonl": record}[form]
    number = 0
    for row in found:
        write(row)
        number += 1
    return number


def _lines(row: dict[str, Any]) -> None:
    """A file as existing scripts read it."""
    created = parse_utc(row["registered_at"]).replace(tzinfo=None)
    size = size_text(row["size_bytes"])
    uploader, source = visible(row["uploader"]), visible(row["source"])
    say(bold(f"{visible(row['name'])} ({size}) - {created} - {uploader} - {source}"))
    _list("Instances:", "No instances of this file found.", [_copy(copy) for copy in row["instances"]])
    peers = [visible(copy["peer"]) for copy in row["remote_instances"]]
    _list("Remote instances:", "No remote instances of this file found.", peers)


def _copy(copy: dict[str, Any]) -> str:
    place = visible(copy["location"] or f"{copy.get('store', '')}:{copy.get('path', '')}")
    return f"{place} - {'AVAILABLE' if copy['presence'] == 'present' else 'NOT AVAILABLE'}"


def _list(heading: str, otherwise: str, lines: list[str]) -> None:
    say(heading if lines else otherwise)
    for line in lines:
        say(f"    {line}")


def _name(row: dict[str, Any]) -> None:
    """A name as it is for a program, shown safely on a terminal."""
    say(visible(row["name"]) if on_terminal() else row["name"])


def _cells(row: dict[str, Any]) -> list[object]:
    return [size_text(row["size_bytes"]) if column == "size_bytes" else row.get(column) for column in COLUMNS]


def _write_csv(found: Iterable[dict[str, Any]]) -> int:
    say(",".join(CSV_COLUMNS))
    number = 0
    for row in found:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([row.get(column) for column in CSV_COLUMNS])
        say(line.getvalue())
        number += 1
    return number
