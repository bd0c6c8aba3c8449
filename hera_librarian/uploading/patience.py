"""How long to go on when a server does not answer, and how long to pause in between."""

import random
import time
from collections.abc import Callable

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
NOTICED_SECONDS = 1.0


class Patience:
    """Pauses that grow and are spread by chance; the trouble is raised when nothing went on for `seconds`.

    `tell` is given a sentence before each pause that a person would notice.
    """

    def __init__(
        self,
        seconds: float = 300.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        self._usual = seconds
        self._tell = tell
        self._clock = clock
        self._sleep = sleep
        self.renew()

    def renew(self, *, at_least: float = 0.0) -> None:
        """Something went on. What comes next may take `at_least` so many seconds by itself."""
        self._seconds = max(self._usual, at_least)
        self._attempts = 0
        self._since = self._clock()

    def wait(self, trouble: Exception, *, retry_after: float | None = None) -> None:
        """Pause before the next attempt, at least as long as the server asked; raises `trouble` when it is too much."""
        pause = next_pause(self._attempts, longest=LONGEST_PAUSE_SECONDS)
        if retry_after is not None:
            pause = max(pause, retry_after)
        left = self._seconds - (self._clock() - self._since)
        if pause > left:
            raise trouble
        self._attempts += 1
        if self._tell is not None and pause >= NOTICED_SECONDS:
            reason = str(getattr(trouble, "reason", trouble)).rstrip(".")
            self._tell(f"{reason}. What has arrived is kept; trying again in {pause:.0f} s, for {left:.0f} s more.")
        self._sleep(pause)


def next_pause(attempts: int, *, first: float = FIRST_PAUSE_SECONDS, longest: float) -> float:
    """Seconds before attempt number `attempts` + 1: doubling up to `longest`, less up to a half by chance."""
    return min(longest, first * 2.0 ** min(attempts, 40)) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads callers
