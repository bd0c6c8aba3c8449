"""The connection that all links to a host share: begun by a process of its own, so that no worker's end is its end.

Were it left to the first command to begin it, what leads to the host (a ProxyJump) would live in that command's process
group and be killed with it.
"""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from librarian.common.children import kill_group
from librarian.common.ssh import CONNECT_SECONDS
from stores.backends.ssh.calling import control_path, far_command

BEGIN_SECONDS = CONNECT_SECONDS + 20.0
_ASK_SECONDS = 5.0


class NotBegun(Exception):
    """ssh did not get there; the text is what it said."""


def begin_sharing(configuration: Mapping[str, Any]) -> None:
    """Have a connection that commands to this host share. Raises NotBegun."""
    path = control_path(configuration)
    if not path or _tell(configuration, "check"):
        return
    with _alone(path):
        if not _tell(configuration, "check"):
            _begin(configuration)


def forget_sharing(configuration: Mapping[str, Any]) -> None:
    """Let the next command begin a new connection; those that use the old one may go on."""
    path = control_path(configuration)
    if path and not _tell(configuration, "stop"):
        _unlink(path)  # nobody listens there, or not in time


def end_sharing(configuration: Mapping[str, Any]) -> None:
    """End the connection, and with it whatever uses it."""
    path = control_path(configuration)
    if path and os.path.exists(path) and not _tell(configuration, "exit"):
        _unlink(path)


def _words(configuration: Mapping[str, Any], *more: str) -> list[str]:
    words = far_command(configuration, ["true"])
    return [*words[: words.index("--")], *more, "--", configuration["host"]]


def _begin(configuration: Mapping[str, Any]) -> None:
    with tempfile.TemporaryFile() as said:
        process = _start(_words(configuration, "-N", "-f"), said)
        try:
            status = process.wait(BEGIN_SECONDS)  # it goes to the background once it is let in
        except subprocess.TimeoutExpired:
            kill_group(process.pid)
            process.wait()
            raise NotBegun("connection timed out") from None
        if status != 0:
            kill_group(process.pid)
            said.seek(0)
            raise NotBegun(said.read().decode(errors="replace"))


def _tell(configuration: Mapping[str, Any], word: str) -> bool:
    """Say something to whoever holds the connection; False unless it obeys in time."""
    if not os.path.exists(control_path(configuration)):
        return False
    process = _start(_words(configuration, "-O", word), subprocess.DEVNULL)
    try:
        return process.wait(_ASK_SECONDS) == 0
    except subprocess.TimeoutExpired:
        kill_group(process.pid)
        process.wait()
        _unlink(control_path(configuration))  # it holds the socket and does not answer
        return False


def _start(words: list[str], said: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,
    )


@contextmanager
def _alone(path: str) -> Iterator[None]:
    with open(f"{path}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # which is what we want
