"""Which files are meant: names and patterns, and options that become filters of version 3."""

from argparse import ArgumentParser, Namespace
from datetime import timedelta
from typing import Any

from hera_librarian.cli.arguments import add_window, size, window
from hera_librarian.cli.failures import CommandFailure, wrong_usage

FIRST_YEAR, LAST_YEAR = 1, 9999  # how older scripts write an open end
ON_THE_WIRE = {"name", "registered_after", "registered_before", "uploader", "source"}


def add_filters(parser: ArgumentParser) -> None:
    """Options by which files are found. All that are given must hold."""
    chosen = parser.add_argument_group("which files")
    chosen.add_argument("-n", "--name", help="of this name")
    chosen.add_argument("--name-glob", metavar="PATTERN", help="names that match in whole; * any characters, ? one")
    chosen.add_argument("--name-contains", metavar="TEXT", help="names with this text in them")
    add_window(chosen, "registered")
    chosen.add_argument("-u", "--uploader", help="uploaded by this name")
    chosen.add_argument("-s", "--source", help="brought here by this person, program or site")
    chosen.add_argument("--obsid", type=int, metavar="N", help="of this observation, GPS seconds")
    chosen.add_argument("--kind", choices=["flat", "directory"], help="flat files or directory products")
    chosen.add_argument("--size-min", type=size, metavar="SIZE", help="of at least this size, as 20MB or 20MiB")
    chosen.add_argument("--size-max", type=size, metavar="SIZE", help="of at most this size")
    chosen.add_argument("--store", metavar="NAME", help="with a copy on this store")
    chosen.add_argument(
        "--search", action="append", default=[], metavar="KEY=VALUE", help="any filter of /api/v3/files/; repeatable"
    )


def filters_of(arguments: Namespace) -> dict[str, Any]:
    """The filters that the options stand for."""
    names = (
        "name",
        "name_glob",
        "name_contains",
        "uploader",
        "source",
        "obsid",
        "kind",
        "size_min",
        "size_max",
        "store",
    )
    filters = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    asked = window(arguments)
    if asked is not None and asked[0].year > FIRST_YEAR:
        filters["registered_after"] = asked[0]
    if asked is not None and asked[1].year < LAST_YEAR:
        # Both ends belong to the window, as on the wire; version 3 leaves its end out.
        filters["registered_before"] = asked[1] + timedelta(microseconds=1)
    for text in arguments.search:
        key, value = _pair(text)
        if key in filters:
            raise wrong_usage(f"{key} is asked for twice.", "Leave one of them out.")
        filters[key] = value
    return filters


def filter_of(word: str) -> dict[str, str]:
    """A name, or a pattern, given as a word of its own."""
    if word.lstrip().startswith(("{", "[")):
        raise _classic_search()
    return {"name_glob": word} if "*" in word or "?" in word else {"name": word}


def _pair(text: str) -> tuple[str, str]:
    if text.lstrip().startswith(("{", "[")):
        raise _classic_search()
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise wrong_usage(f"--search {text} is not KEY=VALUE.", "For instance: --search name_glob='zen.*.uvh5'")
    return key.replace("-", "_"), value


def _classic_search() -> CommandFailure:
    return CommandFailure(
        "Searches in the classic JSON language are not answered.",
        "Use options, such as --name-glob 'zen.*.uvh5' or --create-time-start; see librarian search-files --help.",
        code="removed",
    )
