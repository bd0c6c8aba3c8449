"""What the client raises.

`LibrarianTimeoutError` derives from `LibrarianError`, so that a script which catches the latter survives a server that
is away. `LibrarianHTTPError` stands alone, as in the clients that scripts in the field were written for.
"""

from typing import Any


class LibrarianError(Exception):
    """A request could not be fulfilled; the message says why."""


class LibrarianTimeoutError(LibrarianError):
    """The server at `url` did not answer in time or could not be reached."""

    def __init__(self, url: str, message: str | None = None) -> None:
        super().__init__(message or f"No answer from {url}.")
        self.url = url


class LibrarianHTTPError(Exception):
    """The server answered with a failure.

    Attributes
    ----------
    url : str
        The endpoint, without the root of the API.
    status_code : int or None
        HTTP status; None if no request could be made.
    reason, suggested_remedy : str
        The server's own words.
    full_response : dict
        The whole body.
    """

    def __init__(
        self,
        url: str,
        status_code: int | None,
        reason: str,
        suggested_remedy: str,
        full_response: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{url} answered {status_code}: {reason} {suggested_remedy}".strip())
        self.url = url
        self.status_code = status_code
        self.reason = reason
        self.suggested_remedy = suggested_remedy
        self.full_response = full_response or {}


class LibrarianClientRemovedFunctionality(Exception):
    """A command of an older client that no longer exists."""
