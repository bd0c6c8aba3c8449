"""Time boxes: work that ends by itself after a number of seconds, whatever it waits for in Python."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_REPEAT_SECONDS = 20.0  # again, for work whose clean-up hangs as well


class TimeBoxExceeded(BaseException):
    """The box is over. Not an Exception, so that no `except Exception` of the work goes on in spite of it."""


@contextmanager
def time_box(seconds: float) -> Iterator[None]:
    """Raise TimeBoxExceeded in the body after `seconds`.

    Works by SIGALRM, hence in the main thread only (RuntimeError elsewhere). A timer that was running before, such as
    the cluster's own, is put back with what is left of it. What blocks inside the kernel cannot be interrupted so; the
    cluster's guard ends such a worker a little later.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a time box needs the main thread, where signals arrive")

    def over(number: int, frame: FrameType | None) -> None:
        raise TimeBoxExceeded(f"not done within {seconds:g} s")

    began = time.monotonic()
    handler_before = signal.signal(signal.SIGALRM, over)
    left_before, _ = signal.setitimer(signal.ITIMER_REAL, seconds, _REPEAT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler_before)
        if left_before:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left_before - (time.monotonic() - began)))
