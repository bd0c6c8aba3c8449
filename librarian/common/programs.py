"""Asking a program of this machine something short: its answer as text, within a time."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from librarian.common.children import running_child

_LONGEST_WORDS = 500
_MOST_COMPLAINTS = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answered:
    """How a program ended; `code` is None when it did not in time, and was killed."""

    code: int | None
    output: str = ""
    complaints: str = ""

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def last_words(self) -> str:
        """The last lines of its complaints, for a sentence."""
        lines = [line.strip() for line in self.complaints.splitlines() if line.strip()]
        return " ".join(lines[-3:])[:_LONGEST_WORDS].rstrip(".") or "it said nothing"


def ask_program(arguments: Sequence[str], *, given: bytes = b"", seconds: float = 20.0) -> Answered:
    """Run a program to its end, in the C locale; its whole group is killed after `seconds`.

    Raises FileNotFoundError where there is no such program.
    """
    # Its complaints go to a file: the master of a shared ssh connection may keep a pipe open long after the program.
    with tempfile.TemporaryFile() as complaints:
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": complaints}
        with running_child(arguments, env={**os.environ, "LC_ALL": "C"}, **streams) as child:
            try:
                output, _ = child.communicate(given, timeout=seconds)
            except subprocess.TimeoutExpired:
                return Answered(None)
        complaints.seek(0)
        said = complaints.read(_MOST_COMPLAINTS)
    return Answered(child.returncode, output.decode("utf-8", "replace"), said.decode("utf-8", "replace"))
