"""Fetch files: by name, by pattern, or whatever a search finds.

librarian download CONNECTION NAME... --to DIRECTORY
librarian download CONNECTION 'zen.2459122.*.uvh5' --size-max 2GB --to night
librarian download CONNECTION --obsid 1289234567

What arrives is compared with the catalogue's digest before it gets its name; SHA256SUMS lists all of it. Repeating the
command goes on where it was cut, and fetches nothing twice.
"""

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from hera_librarian.cli.arguments import add_connection, add_json, count
from hera_librarian.cli.connecting import client_for, require_v3
from hera_librarian.cli.failures import ExitCode, nothing_found, wrong_usage
from hera_librarian.cli.output import note, record, say, size_text, visible
from hera_librarian.cli.progress import Bar
from hera_librarian.cli.selection import add_filters, filter_of, filters_of
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError

if TYPE_CHECKING:
    from hera_librarian.admin import AdminClient
    from hera_librarian.finding import DownloadResult, FileResult

NOT_REACHED = {"not_reached", "timed_out", "connection_broke", "unknown_host", "not_trusted"}


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian download`."""
    add_connection(parser)
    parser.add_argument("names", nargs="*", metavar="NAME", help="names, or patterns with * and ? in quotes")
    add_filters(parser)
    parser.add_argument("--to", default=".", metavar="DIRECTORY", help="where to (default: here); made if not there")
    parser.add_argument("--parallel", type=count, default=4, metavar="N", help="files at a time (default 4)")
    parser.add_argument("--overwrite", action="store_true", help="replace what lies there with other bytes")
    parser.add_argument("--keep-directories", action="store_true", help="keep the directories of names that have some")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, and lines for failures only")
    add_json(parser, stream=True)


def run(arguments: Namespace) -> int:
    """Fetch everything, telling of each file as it is done."""
    from hera_librarian.finding import download_files

    filters = filters_of(arguments)
    if not arguments.names and not filters:
        raise wrong_usage("Nothing says which files are meant.", "Give names, patterns, or options such as --obsid.")
    client = client_for(arguments.connection)
    client.ping(require_login=True)  # wrong credentials are said once, not for every file
    require_v3(client, "download; see locate-file for where copies lie")
    results = []
    with Bar(wanted=not (arguments.quiet or arguments.json)) as bar:
        for result in download_files(
            client,
            _chosen(client, arguments.names, filters, bar),
            arguments.to,
            parallel=min(arguments.parallel, 64),
            progress=bar.advance,
            overwrite=arguments.overwrite,
            keep_directories=arguments.keep_directories,
        ):
            results.append((result.outcome, result.code, result.size_bytes))
            _tell(result, arguments, bar)
    if not results:
        raise nothing_found("No file matches.", "See what there is with search-files.")
    return _sum_up(arguments, results)


def _chosen(
    client: "AdminClient", words: list[str], filters: dict[str, object], bar: Bar
) -> Iterator["FileResult | str"]:
    """Files that are meant. A name alone is asked for as such, so that one that does not exist is told of."""
    for word in words or [None]:
        if word is None:
            found = client.search(**filters)
        else:
            meant = filter_of(word)
            if not filters and "name" in meant:
                yield _sized(client, word, bar)
                continue
            if set(meant) & set(filters):
                raise wrong_usage("A name is asked for twice.", "Leave one of them out.")
            found = client.search(**filters, **meant)
        number = 0
        for file in found:
            number += 1
            bar.expect_more(file.size_bytes)
            yield file
        if number == 0 and word is not None:
            note(f"nothing matches {word}")


def _sized(client: "AdminClient", name: str, bar: Bar) -> "FileResult | str":
    """The file of a name, looked up now so that the bar knows its size; the name where nobody watches or it fails."""
    from hera_librarian.finding import file_named

    if not bar.is_shown:
        return name
    try:
        file = file_named(client, name)
    except (LibrarianError, LibrarianHTTPError):
        return name  # its answer comes with the others
    bar.expect_more(file.size_bytes)
    return file


def _tell(result: "DownloadResult", arguments: Namespace, bar: Bar) -> None:
    if arguments.json:
        record(asdict(result) | {"ok": result.ok})
    if not result.ok:
        bar.complain(str(result.name), result.reason, result.remedy)
    elif not (arguments.json or arguments.quiet):
        place = f"{visible(result.name)} -> {visible(result.path)}"
        bar.say(f"{result.outcome}: {place} ({size_text(result.size_bytes)})")


def _sum_up(arguments: Namespace, results: list[tuple[str, str, int]]) -> ExitCode:
    outcomes = Counter(outcome for outcome, _, _ in results)
    if len(results) > 1 and not (arguments.quiet or arguments.json):
        said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
        size_bytes = sum(size for outcome, _, size in results if outcome != "failed")
        say(f"{said}; {size_text(size_bytes)} in {visible(arguments.to)}")
    if not outcomes["failed"]:
        return ExitCode.OK
    if outcomes["failed"] < len(results):
        return ExitCode.PARTLY
    codes = {code for _, code, _ in results}
    if codes <= NOT_REACHED:
        return ExitCode.NOT_REACHED
    return ExitCode.NOTHING_FOUND if codes == {"not_found"} else ExitCode.FAILED
