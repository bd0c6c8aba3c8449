"""Programs that a job starts: each leads a process group of its own, and the group ends when the job does.

Leaving the body for whatever reason (done, failed, time box over) kills the whole group. When the worker itself is
killed, the kernel kills the program it started (PR_SET_PDEATHSIG, prctl(2); Linux).
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: nothing is allocated after the fork


@contextmanager
def running_child(arguments: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """Start a program and yield its process; at the end of the body its whole group is killed if it still runs.

    Parameters
    ----------
    arguments : sequence of str
        Program and arguments; never a shell line.
    options
        Further arguments of `subprocess.Popen`.
    """
    child = start_child(arguments, **options)
    try:
        yield child
    finally:
        kill_group(child.pid)
        child.wait()


def start_child(
    arguments: Sequence[str], *, when_we_die: int = signal.SIGKILL, **options: Any
) -> "subprocess.Popen[Any]":
    """Start a program as the leader of a new group that gets the signal `when_we_die` when the present thread ends."""
    return subprocess.Popen(
        list(arguments), start_new_session=True, preexec_fn=_die_with_parent(when_we_die), **options
    )


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to every process of a group; harmless when it is gone."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass  # all of it has ended, which is what the caller wants
    except PermissionError:
        pass  # macOS answers so for a group of zombies


def _die_with_parent(number: int) -> Callable[[], None] | None:
    libc = _libc
    if libc is None:
        return None
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)  # the parent ended between fork and prctl: nobody would ever tell us

    return ask
