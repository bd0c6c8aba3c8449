"""Child processes that never outlive the suite, and waiting with a deadline."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

T = TypeVar("T")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class RigError(Exception):
    """Something the suite stands on is missing or did not start; the text says what to do."""


def die_with_parent(signal_number: int) -> Callable[[], None] | None:
    """Return a `preexec_fn` by which Linux sends the child this signal when we die, even by kill -9.

    The kernel counts the death of the *thread* that started the child, hence None anywhere but in the main thread.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal_number)


def exit_on_sigterm() -> None:
    """Let SIGTERM unwind like Ctrl-C does, so that context managers stop what they started."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def free_port() -> int:
    """Return a loopback port nobody listens on, below the range the kernel hands to outgoing connections."""
    first, last = 20_000, 32_000
    start = first + (os.getpid() * 7919 + time.monotonic_ns() // 1000) % (last - first)
    for offset in range(last - first):
        port = first + (start - first + offset) % (last - first)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RigError(f"no free loopback port between {first} and {last}")


def wait_for(check: Callable[[], T], *, timeout_seconds: float, what: str) -> T:
    """Poll `check` until it returns something true, and return that; RigError after the deadline."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise RigError(f"waited {timeout_seconds:g} s in vain for {what}")
        time.sleep(0.05)


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a process that leads its own group, and to all it started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass  # the whole group is gone already, which is what every caller wants


def stop_group(process: subprocess.Popen[bytes], *, first: int = signal.SIGTERM, grace_seconds: float = 10) -> None:
    """Ask the leader of a process group to stop, which tells its own children; after the grace, kill what is left.

    Only the leader is asked: a job cluster whose workers get the signal too waits for them in vain.
    """
    if process.poll() is None:
        process.send_signal(first)
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        pass
    signal_group(process, signal.SIGKILL)
    process.wait(10)


def tail(path: Path, lines: int = 40) -> str:
    """Return the last lines of a log, for the message of a failure."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(no log: {error})"
