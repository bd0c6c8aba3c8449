"""Words of the command line: which verbs there are, and one parser for each."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from hera_librarian.cli.failures import wrong_usage
from hera_librarian.cli.verbs.refused import REFUSED

VERBS = {
    "upload": "hand files or directories over",
    "download": "fetch files, verified",
    "search-files": "find files",
    "locate-file": "where a file lies, ready for scp",
    "watch": "hand over whatever appears in a folder (for instruments)",
    "ping": "does the server answer",
    "check-connections": "try every connection of the client configuration, with its credentials",
    "validate-file": "have every copy of a file read again",
    "get-store-list": "list the stores of a site",
    "set-store-state": "switch a store on or off",
    "get-store-manifest": "list what lies on a store, for a disk that travels",
    "ingest-manifest": "take in a disk that travelled, by its manifest",
    "get-librarian-list": "list the sites that a site knows",
    "add-librarian": "make a site known to another",
    "remove-librarian": "make a site forget another",
    "set-librarian-transfer": "switch transfers to a site on or off",
    "create-user": "make an account",
    "update-user": "change level or password of an account",
    "delete-user": "remove an account",
    "issue-token": "make a token for a program",
    "list-tokens": "list tokens",
    "revoke-token": "end a token at once",
    "search-errors": "look into the error inbox",
    "clear-error": "say that a trouble is dealt with",
}

EXIT_CODES = """\
exit codes: 0 done, 1 failed, 2 wrong words on the command line, 3 server not reached, 4 refused (credentials or level),
5 done in part, 6 nothing found, 130 interrupted, 141 the reader of the output went away.
`librarian VERB --help` tells of each verb; docs/cli.md of all of them."""


def overview() -> str:
    """What `librarian --help` prints."""
    width = max(map(len, VERBS))
    verbs = [f"  {verb.ljust(width)}  {what}" for verb, what in VERBS.items()]
    gone = f"no longer there, and say what to use instead: {', '.join(sorted(REFUSED))}."
    usage = "usage: librarian [-h] [-V] VERB ..."
    return "\n".join(
        [usage, "", "The archive of an observatory, from the command line.", "", *verbs, "", gone, EXIT_CODES]
    )


def verb_module(verb: str) -> ModuleType:
    """The module of a verb: its docstring is its help, `add_arguments` its words, `run` its work."""
    return import_module(f"hera_librarian.cli.verbs.{verb.replace('-', '_')}")


def verb_parser(verb: str) -> ArgumentParser:
    """Parser of the words after a verb."""
    module = verb_module(verb)
    parser = _Parser(prog=f"librarian {verb}", description=module.__doc__, formatter_class=RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    return parser


class _Parser(ArgumentParser):
    """Tells of wrong words as every other failure is told of: in two lines, or as JSON."""

    def error(self, message: str) -> NoReturn:
        raise wrong_usage(f"{message[:1].upper()}{message[1:]}.", f"Run `{self.prog} --help` for its words.")


def version_text() -> str:
    """What `librarian --version` prints."""
    import hera_librarian

    return f"librarian {hera_librarian.__version__}"
