"""The watcher's connection to its site, and when to try again after it failed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError
from hera_librarian.uploading.patience import next_pause
from hera_librarian.watching.journal import now_text

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient

FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 300.0


class Site:
    """The connection, and when to try again after it failed."""

    def __init__(self, new_client: Callable[[], "LibrarianClient"], clock: Callable[[], float]) -> None:
        self._new_client = new_client
        self._clock = clock
        self._client: LibrarianClient | None = None
        self._attempts = 0
        self._not_before = 0.0

    def client(self) -> "LibrarianClient":
        if self._client is None:
            self._client = self._new_client()
        return self._client

    def is_due(self) -> bool:
        return self._attempts == 0 or self._clock() >= self._not_before

    def works(self) -> None:
        self._attempts = 0

    def fails(self, problem: LibrarianError | LibrarianHTTPError) -> float:
        """Note a failure; returns the seconds until the next attempt, which uses a new client.

        Credentials that do not hold are tried rarely: sites lock out who tries them often.
        """
        if self._client is not None:
            self._client.close()
            self._client = None
        first = FIRST_PAUSE_SECONDS
        asked = None
        if isinstance(problem, LibrarianHTTPError):
            first, asked = LONGEST_PAUSE_SECONDS / 4, problem.retry_after_seconds
        pause = max(next_pause(self._attempts, first=first, longest=LONGEST_PAUSE_SECONDS), asked or 0.0)
        self._attempts += 1
        self._not_before = self._clock() + pause
        return pause


def trouble_of(problem: LibrarianError | LibrarianHTTPError, again_in_seconds: float | None = None) -> dict[str, Any]:
    """What keeps everything from being delivered, as plain data."""
    found = {"code": problem.code, "reason": problem.reason, "suggested_remedy": problem.suggested_remedy}
    return found | {"at": now_text(), "again_in_seconds": again_in_seconds and round(again_in_seconds, 1)}
