"""Where a secret comes from: a file, the environment, a prompt; the command line only as a last resort.

Every user of a machine can read its command lines, so a secret given there is taken with a warning.
"""

import getpass
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hera_librarian.cli.failures import CommandFailure, wrong_usage
from hera_librarian.cli.output import note

NEW_PASSWORD = "LIBRARIAN_NEW_PASSWORD"  # noqa: S105 (the name of a variable)
PEER_AUTHENTICATOR = "LIBRARIAN_PEER_AUTHENTICATOR"


def add_secret(parser: ArgumentParser, option: str, *, what: str, variable: str) -> None:
    """`--<option>-file` and, as existing scripts have it, `--<option>`."""
    sources = parser.add_mutually_exclusive_group()
    sources.add_argument(
        f"--{option}-file",
        dest="secret_file",
        metavar="FILE",
        help=f"its first line is {what}; - reads standard input (default: ${variable}, else a prompt)",
    )
    sources.add_argument(
        f"--{option}", dest="secret", metavar="TEXT", help=f"{what}; others on this machine can read it here"
    )
    parser.set_defaults(secret_option=option, secret_variable=variable)


def read_secret(arguments: Namespace, prompt: str, *, twice: bool = True) -> str:
    """The secret, from the first source that has it.

    Raises CommandFailure when no source has it and there is no terminal to ask on.
    """
    option, variable = arguments.secret_option, arguments.secret_variable
    if arguments.secret is not None:
        note(f"--{option} can be read by everybody on this machine; use --{option}-file, ${variable} or the prompt")
        return _not_empty(arguments.secret, f"--{option}")
    if arguments.secret_file is not None:
        return _not_empty(_first_line(arguments.secret_file), arguments.secret_file)
    if variable in os.environ:
        return _not_empty(os.environ[variable], f"${variable}")
    return _asked(prompt, option, variable, twice=twice)


def _first_line(source: str) -> str:
    try:
        text = sys.stdin.readline() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        why = getattr(problem, "strerror", None) or "it is not text"
        raise CommandFailure(f"{source} cannot be read: {why}.", "Check the path.", code="secret_file") from problem
    return text.splitlines()[0] if text else ""


def _asked(prompt: str, option: str, variable: str, *, twice: bool) -> str:
    if not sys.stdin.isatty():
        raise wrong_usage(
            "There is no terminal to ask for the secret on.", f"Use --{option}-file FILE or set ${variable}."
        )
    try:
        answer = getpass.getpass(f"{prompt}: ")
        if twice and getpass.getpass("Again: ") != answer:
            raise CommandFailure("The two answers differ; nothing was changed.", "Repeat the command.")
    except EOFError:
        raise CommandFailure("No answer was given; nothing was changed.", "Repeat the command.") from None
    return _not_empty(answer, "the answer")


def _not_empty(secret: str, source: str) -> str:
    if not secret:
        raise wrong_usage(f"The secret from {source} is empty.", "Give one of at least one character.")
    return secret
