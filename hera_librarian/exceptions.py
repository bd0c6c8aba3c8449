"""What the client raises.

`LibrarianTimeoutError` derives from `LibrarianError`, so that a script which catches the latter survives a server that
is away. `LibrarianHTTPError` stands alone, as in the clients that scripts in the field were written for. All of them
say `code`, `reason` and `suggested_remedy`, and none of them ever repeats a password or token.
"""

from collections.abc import Iterable
from typing import Any


class LibrarianError(Exception):
    """A request could not be fulfilled; the message says why.

    Attributes
    ----------
    reason, suggested_remedy : str
        What is wrong, and what helps.
    code : str
        The same as one stable word, for programs.
    """

    def __init__(self, reason: str = "", *, remedy: str = "", code: str = "client_error") -> None:
        super().__init__(reason)
        self.reason = reason
        self.suggested_remedy = remedy
        self.code = code


class LibrarianTimeoutError(LibrarianError):
    """The server at `url` did not answer in time or could not be reached."""

    def __init__(self, url: str, message: str | None = None, *, remedy: str = "", code: str = "not_reached") -> None:
        remedy = remedy or "Check the address and whether the server runs and this machine can reach it; try again."
        super().__init__(message or f"No answer from {url}.", remedy=remedy, code=code)
        self.url = url


class NoSuchConnectionError(LibrarianError):
    """No connection of that name is configured."""

    def __init__(self, conn_name: str, known: Iterable[str] = ()) -> None:
        names = ", ".join(sorted(known))
        super().__init__(
            f"Connection name {conn_name} not found in client settings.",
            remedy=f"Configured are: {names}."
            if names
            else "Add it to ~/.hl_client.cfg; no connections are configured.",
            code="no_such_connection",
        )
        self.conn_name = conn_name


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
    code : str
        The server's code for the error; `http_<status>` if it has none.
    full_response : dict
        The whole body.
    retry_after_seconds : float or None
        When the server asks to be left alone until then.
    """

    def __init__(
        self,
        url: str,
        status_code: int | None,
        reason: str,
        suggested_remedy: str,
        full_response: dict[str, Any] | None = None,
        *,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{url} answered {status_code}: {reason} {suggested_remedy}".strip())
        self.url = url
        self.status_code = status_code
        self.reason = reason
        self.suggested_remedy = suggested_remedy
        self.full_response = full_response or {}
        self.retry_after_seconds = retry_after_seconds

    @property
    def code(self) -> str:
        """The server's code for the error; `http_<status>` where it gives none."""
        return str(self.full_response.get("code") or f"http_{self.status_code or 'none'}")


class LibrarianClientRemovedFunctionality(Exception):
    """A command of an older client that no longer exists; the message says what to use instead."""

    def __init__(self, what: str = "", instead: str = "") -> None:
        super().__init__(f"{what} {instead}".strip())
        self.reason = what
        self.suggested_remedy = instead
        self.code = "removed"
