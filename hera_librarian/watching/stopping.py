"""Ending a watcher at any moment: what it does is safe to break off anywhere, so it simply breaks off."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """Somebody wants the watcher to end. No error: nothing on the way may take it for one."""


class Stopping:
    """A wish to end that wakes every wait."""

    def __init__(self) -> None:
        self._wished = threading.Event()

    def wish(self) -> None:
        """End at the next opportunity; may be called from any thread."""
        self._wished.set()

    def check(self) -> None:
        """Raise Stopped if that is wished."""
        if self._wished.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Wait; raises Stopped as soon as that is wished."""
        if self._wished.wait(max(seconds, 0.0)):
            raise Stopped


@contextmanager
def stopping_on_signals(stopping: Stopping) -> Iterator[None]:
    """Take SIGTERM and SIGINT as the wish to end, also in the middle of a wait for the network."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.wish()
        raise Stopped

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
