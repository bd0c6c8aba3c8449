"""What stands in the way of one product, told apart by who has to do something about it.

Trouble with the connection as a whole is not here: it keeps the exceptions that every call of the client raises.
"""

from typing import Any

from requests import Response

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError, LibrarianTimeoutError
from hera_librarian.failures import failure

NO_ACCESS = (401, 403)
SITE_IS_AWAY = (429, 502, 503, 504)


class UploadError(LibrarianError):
    """One product cannot be delivered. `answer` is what the server said, if it did."""

    def __init__(self, code: str, reason: str, remedy: str, *, answer: dict[str, Any] | None = None) -> None:
        super().__init__(reason, remedy=remedy, code=code)
        self.answer = answer or {}


class LocalProblem(UploadError):
    """The product on this disk is not what can be sent."""


class LocalChanged(LocalProblem):
    """Somebody wrote to the product while it was read."""

    def __init__(self, path: str) -> None:
        super().__init__(
            "changed_while_read",
            f"{path} changed while it was read.",
            "Upload it again once its writer is done.",
        )


class Refused(UploadError):
    """The server does not take this product, and says why."""


def missing(path: str) -> LocalProblem:
    """There is nothing at a path."""
    return LocalProblem("missing_bytes", f"{path} does not exist.", "Name a file or directory that exists.")


def unreadable(path: str, problem: OSError) -> LocalProblem:
    """What an error of the local disk means for the product."""
    return LocalProblem(
        "source_unreadable",
        f"{path} cannot be read: {problem.strerror or problem}.",
        "Check that it exists and that its permissions let you read it.",
    )


def refused(answer: Response, endpoint: str) -> LibrarianError | LibrarianHTTPError:
    """The exception for a failure that the server answered with.

    Who may not upload at all gets LibrarianHTTPError, and a site that is away or busy LibrarianTimeoutError: both
    concern every product. Everything else is about this one.
    """
    said = failure(answer, endpoint)
    if answer.status_code in NO_ACCESS:
        return said
    if answer.status_code in SITE_IS_AWAY:
        return LibrarianTimeoutError(str(answer.url), said.reason, remedy=said.suggested_remedy, code=said.code)
    return Refused(said.code, said.reason, said.suggested_remedy, answer=said.full_response)
