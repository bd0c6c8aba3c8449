"""Telling how far downloads are, and stopping them."""

import threading
from collections.abc import Callable

Progress = Callable[[int], None]


class Stopped(Exception):
    """The caller wants no more downloads; what has arrived is kept."""


class Reporter:
    """Hands the numbers of several threads to one `Progress`, one call at a time, and tells the threads to stop."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def count(self, size_bytes: int) -> None:
        """Say that so many bytes more are done. Raises Stopped."""
        if self._stop.is_set():
            raise Stopped
        if self._progress is not None and size_bytes:
            with self._lock:
                self._progress(size_bytes)

    def pause(self, seconds: float) -> None:
        """Wait, but not for longer than the caller does. Raises Stopped."""
        if self._stop.wait(seconds):
            raise Stopped

    def stop(self) -> None:
        """End all downloads at their next block."""
        self._stop.set()


class Tally:
    """One file's share of the progress. In the end it is the size of the file, or nothing if the download failed.

    What is there already counts when it has been read again; what turns out to be of no use is taken back.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.total_bytes = 0

    def count(self, size_bytes: int) -> None:
        """Say that so many bytes more are done. Raises Stopped."""
        self._reporter.count(size_bytes)
        self.total_bytes += size_bytes

    def take_back(self, down_to: int = 0) -> None:
        """Say that all but the first so many bytes were of no use."""
        self.count(down_to - self.total_bytes)

    def pause(self, seconds: float) -> None:
        """Wait; see Reporter."""
        self._reporter.pause(seconds)
