"""A limit of bandwidth, shared by everything that is given the same object."""

import threading
import time
from collections.abc import Callable

SMALLEST_BLOCK = 16 * 1024
LARGEST_BLOCK = 2**20


class Pace:
    """Lets bytes go at `bytes_per_second` on average; what was not used is not saved up for later.

    `clock` and `sleep` count in seconds; the clock must never step back.
    """

    def __init__(
        self,
        bytes_per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if bytes_per_second <= 0:
            raise ValueError("a bandwidth limit is a positive number of bytes per second")
        self.bytes_per_second = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = clock()

    @property
    def block_bytes(self) -> int:
        """How much to send at once, so that the line is not idle for long in between."""
        return int(min(LARGEST_BLOCK, max(SMALLEST_BLOCK, self.bytes_per_second / 8)))

    def wait(self, count: int) -> None:
        """Wait until `count` bytes more may go."""
        with self._lock:
            now = self._clock()
            starts = max(self._free_at, now)
            self._free_at = starts + count / self.bytes_per_second
        if starts > now:
            self._sleep(starts - now)
