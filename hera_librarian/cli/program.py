"""The one place where the command begins and ends: words in, exit code out, never a traceback."""

import logging
import os
import sys
from collections.abc import Sequence

from hera_librarian.cli.failures import CommandFailure, ExitCode, explain, tell, wrong_usage
from hera_librarian.cli.output import complain, say
from hera_librarian.cli.parser import VERBS, overview, verb_module, verb_parser, version_text
from hera_librarian.cli.verbs.refused import REFUSED, refuse

ANSWERS = {"-h": overview, "--help": overview, "-V": version_text, "--version": version_text}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these words (those of the process by default) and return its exit code."""
    _prepare()
    words = list(sys.argv[1:] if argv is None else argv)
    json_form: str | None = None
    try:
        verb, *rest = _with_verb(words)
        if verb in ANSWERS:
            say(ANSWERS[verb]())
            return _flushed(ExitCode.OK)
        parser = verb_parser(verb)
        json_form = parser.get_default("json_form") if "--json" in rest else None  # wrong words are told in it, too
        arguments = parser.parse_intermixed_args(rest)
        json_form = parser.get_default("json_form") if getattr(arguments, "json", False) else None
        return _flushed(verb_module(verb).run(arguments))
    except SystemExit as ending:  # argparse has printed its help
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


def _with_verb(words: list[str]) -> list[str]:
    """The words, the first of which is a verb or asks for help. Raises CommandFailure."""
    if not words:
        raise wrong_usage("There is no verb.", "Run `librarian --help` for a list.")
    if words[0] in REFUSED:
        refuse(words[0])
    if words[0] not in VERBS and words[0] not in ANSWERS:
        raise wrong_usage(f"There is no verb {words[0]}.", "Run `librarian --help` for a list.")
    return words


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
