"""How a failure ends the command: its exit code, its two lines on standard error, its object when JSON is wanted.

The one place where exceptions are put into words. Nothing above it prints a traceback.
"""

import errno
import traceback
from enum import IntEnum
from http import HTTPStatus
from typing import Any

from hera_librarian.cli.output import complain, document, record, visible
from hera_librarian.exceptions import (
    LibrarianClientRemovedFunctionality,
    LibrarianError,
    LibrarianHTTPError,
    LibrarianTimeoutError,
)

_REMEDIES = {
    errno.ENOSPC: "Make room on that disk, then repeat the command.",
    errno.EDQUOT: "Your quota on that disk is used up. Make room, then repeat the command.",
    errno.EACCES: "Check who may read and write there.",
    errno.EPERM: "Check who may read and write there.",
    errno.ENOENT: "Check the path.",
    errno.EROFS: "Choose a disk that can be written to.",
    errno.EEXIST: "Choose another path, or move away what is there.",
    errno.ENOTDIR: "Choose a path that leads through directories only.",
}
_FOR_PROGRAMS = "Send HTTP Basic"


class ExitCode(IntEnum):
    """What the shell is told; docs/cli.md lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_REACHED = 3
    REFUSED = 4
    PARTLY = 5
    NOTHING_FOUND = 6
    INTERRUPTED = 130
    PIPE_CLOSED = 141


class CommandFailure(Exception):
    """The command cannot go on; says why, what to do, and with which code to leave."""

    def __init__(
        self, reason: str, remedy: str = "", *, code: str = "failed", exit_code: ExitCode = ExitCode.FAILED
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.code = code
        self.exit_code = exit_code

    def as_dict(self) -> dict[str, Any]:
        """What `--json` shows of it."""
        return {
            "code": self.code,
            "reason": self.reason,
            "suggested_remedy": self.remedy,
            "exit_code": int(self.exit_code),
        }


def wrong_usage(reason: str, remedy: str = "") -> CommandFailure:
    """Words on the command line that contradict each other or make no sense."""
    return CommandFailure(reason, remedy, code="wrong_usage", exit_code=ExitCode.USAGE)


def nothing_found(reason: str, remedy: str = "") -> CommandFailure:
    """What was asked for is not there."""
    return CommandFailure(reason, remedy, code="not_found", exit_code=ExitCode.NOTHING_FOUND)


def tell(failure: CommandFailure, *, as_json: str | None = None) -> None:
    """Write a failure. With `as_json` (`document` or `stream`) standard output gets it too, as `{"error": …}`."""
    for number, line in enumerate(failure.reason.splitlines() or ["failed"]):
        complain(f"error: {visible(line)}" if number == 0 else f"  {visible(line)}")
    for line in failure.remedy.splitlines():
        complain(f"  {visible(line)}")
    if as_json is not None:
        write = document if as_json == "document" else record
        write({"error": failure.as_dict()})


# --- From exceptions --------------------------------------------------------------------------------------------------


def explain(error: BaseException) -> CommandFailure:
    """What an exception means to the person at the keyboard."""
    if isinstance(error, CommandFailure):
        return error
    if isinstance(error, LibrarianError | LibrarianHTTPError | LibrarianClientRemovedFunctionality):
        reason = error.reason or str(error) or "The request could not be fulfilled."
        return CommandFailure(reason, _remedy(error), code=error.code, exit_code=_exit_code(error))
    if type(error).__module__.partition(".")[0] in ("requests", "urllib3"):
        return CommandFailure(
            f"The connection to the server broke ({type(error).__name__}).",
            "Repeat the command; what was sent or fetched already is not lost.",
            code="connection_broke",
            exit_code=ExitCode.NOT_REACHED,
        )
    if isinstance(error, OSError):
        return _from_system(error)
    if isinstance(error, MemoryError):
        return CommandFailure("This machine has no memory left.", "Ask for less at once.", code="no_memory")
    return _unforeseen(error)


def _remedy(error: LibrarianError | LibrarianHTTPError | LibrarianClientRemovedFunctionality) -> str:
    """The remedy; where the server tells a program which header to send, what a person can do instead."""
    if getattr(error, "status_code", None) == HTTPStatus.UNAUTHORIZED and error.suggested_remedy.startswith(
        _FOR_PROGRAMS
    ):
        return "Check user and password, or the token, of the connection in the client configuration."
    return error.suggested_remedy


def _exit_code(error: Exception) -> ExitCode:
    status = getattr(error, "status_code", None)
    if isinstance(error, LibrarianTimeoutError) or status in (502, 504):  # a proxy that has nothing behind it
        return ExitCode.NOT_REACHED
    return ExitCode.REFUSED if status in (401, 403) else ExitCode.FAILED


def _from_system(error: OSError) -> CommandFailure:
    said = error.strerror or str(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename is not None else ""
    code = errno.errorcode.get(error.errno or 0, "os_error").lower()
    return CommandFailure(f"{where}{said}.", _REMEDIES.get(error.errno or 0, ""), code=code)


def _unforeseen(error: BaseException) -> CommandFailure:
    frames = traceback.extract_tb(error.__traceback__)
    place = f": {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return CommandFailure(
        f"This should not happen: {type(error).__name__}: {error}",
        f"Please report it, with the command and this place{place}.",
        code="unforeseen",
    )
