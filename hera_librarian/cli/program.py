"""The one place where the command begins and ends: words in, exit code out, never a traceback."""

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from hera_librarian.cli.failures import CommandFailure, ExitCode, explain, tell, wrong_usage
from hera_librarian.cli.output import complain, say
from hera_librarian.cli.parser import VERBS, overview, verb_module, verb_parser, version_text
from hera_librarian.cli.verbs.refused import REFUSED, refuse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these words (those of the process by default) and return its exit code."""
    _prepare()
    words = list(sys.argv[1:] if argv is None else argv)
    json_form: str | None = None
    try:
        verb, arguments = _parse(words)
        if verb is None or arguments is None:
            return _flushed(ExitCode.OK)
        json_form = arguments.json_form if getattr(arguments, "json", False) else None
        return _flushed(verb_module(verb).run(arguments))
    except SystemExit as ending:  # argparse has said what it had to say
        return ending.code if isinstance(ending.code, int) else ExitCode.OK
    except BrokenPipeError:
        _abandon_output()
        return ExitCode.PIPE_CLOSED
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as error:
        return _failed(explain(error), json_form)


def _prepare() -> None:
    """Names need not fit the terminal's encoding, and what libraries log is not for the user."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logging.getLogger().addHandler(logging.NullHandler())


def _parse(words: list[str]) -> tuple[str | None, Namespace | None]:
    """Verb and its words; nothing of them when all that was asked for is printed already."""
    if not words:
        raise wrong_usage("There is no verb.", "Run `librarian --help` for a list.")
    verb, *rest = words
    if verb in ("-h", "--help"):
        say(overview())
        return None, None
    if verb in ("-V", "--version"):
        say(version_text())
        return None, None
    if verb in REFUSED:
        refuse(verb)
    if verb not in VERBS:
        raise wrong_usage(f"There is no verb {verb}.", "Run `librarian --help` for a list.")
    return verb, verb_parser(verb).parse_intermixed_args(rest)


def _flushed(code: int) -> int:
    """The same code, once everything written has left: a full disk or a closed pipe shows only then."""
    if sys.stdout is not None:
        sys.stdout.flush()
    return int(code)


def _failed(failure: CommandFailure, json_form: str | None) -> int:
    try:
        tell(failure, as_json=json_form)
        return _flushed(failure.exit_code)
    except OSError:  # standard output is what failed; the reason stands on standard error
        _abandon_output()
        return int(failure.exit_code)


def _interrupted() -> int:
    try:
        complain("\nerror: interrupted")
        return _flushed(ExitCode.INTERRUPTED)
    except OSError:
        _abandon_output()
        return ExitCode.INTERRUPTED


def _abandon_output() -> None:
    """Let the interpreter's last flush go nowhere, since it would complain."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
