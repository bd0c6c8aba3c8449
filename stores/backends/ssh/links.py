"""One link to a far host: an ssh process, and frames over its pipes. Nothing on it waits for ever.

Whoever uses a link uses it alone. Which link that is, is the pool's to say (`pool`); what is said, `exchange`'s.
"""

import fcntl
import logging
import os
import select
import subprocess
import time
from collections import deque
from typing import IO

from librarian.common.children import kill_group
from stores.backends.ssh import frames

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 60.0  # without a sign of life, after which a line counts as broken
ALIVE_SECONDS = 5.0  # between two signs of life of a far end that is busy
BUSY_SECONDS = 3600.0  # a far end that only says that it lives is stuck in its disk
_END_SECONDS = 2.0
_PIPE_BYTES = 2**20
_COMPLAINTS_BYTES = 4000
_GATHER_BYTES = 64 * 1024
_SMALL_BYTES = 16 * 1024


class LinkBroken(Exception):
    """The line is no longer there, or does not answer.

    Attributes
    ----------
    complaints : str
        What ssh, or the far end's shell, wrote.
    status : int or None
        With which ssh ended.
    """

    def __init__(
        self, reason: str, *, complaints: str = "", status: int | None = None, is_silent: bool = False
    ) -> None:
        super().__init__(reason)
        self.complaints, self.status, self.is_silent = complaints, status, is_silent


class Link:
    """Frames to and from a far host.

    Parameters
    ----------
    process : subprocess.Popen
        Leader of a group of its own, with pipes.
    complaints : file
        What its standard error goes to: a file, for the connection's master may keep it open long after the link.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", complaints: IO[bytes]) -> None:
        self._process, self._complaints = process, complaints
        self._to, self._from = process.stdin.fileno(), process.stdout.fileno()
        for fd in (self._to, self._from):
            os.set_blocking(fd, False)
            _widen(fd)
        self._gathered = bytearray()
        self._inbox: deque[tuple[bytes, bytearray]] = deque()
        self._moved_at = time.monotonic()
        self.used_at = time.monotonic()
        self.is_closed = False
        self.was_silent = False
        self.has_rested = False  # since it was opened, so that it may have broken unseen

    # --- Sending ---

    def send(self, kind: bytes, payload: bytes | memoryview = b"") -> None:
        """Send a frame; small ones wait for each other until `flush` or `receive`."""
        header = frames.HEADER.pack(kind, len(payload))
        if len(payload) <= _SMALL_BYTES:
            self._gathered += header
            self._gathered += payload
            if len(self._gathered) >= _GATHER_BYTES:
                self.flush()
            return
        gathered, self._gathered = self._gathered, bytearray()
        self.write([memoryview(gathered), memoryview(header), memoryview(payload)])

    def flush(self) -> None:
        """Send what waits."""
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self.write([memoryview(gathered)])

    def write(self, parts: list[memoryview]) -> None:
        """Write plain bytes, taking in what comes meanwhile."""
        self._moved_at = time.monotonic()
        while parts:
            try:
                count = os.writev(self._to, parts)
            except BlockingIOError:
                if self._wait(select.POLLOUT) & select.POLLIN:
                    self._absorb()
                continue
            except OSError as error:
                raise self.broken("it broke") from error
            self._moved_at = time.monotonic()
            while parts and count >= len(parts[0]):
                count -= len(parts.pop(0))
            if count:
                parts[0] = parts[0][count:]

    # --- Receiving ---

    def receive(self, *, within_seconds: float | None = None) -> tuple[bytes, bytearray]:
        """The next frame that says anything."""
        self.flush()
        self._moved_at = time.monotonic()  # until now nobody waited
        until = None if within_seconds is None else time.monotonic() + within_seconds
        while not self._inbox:
            self._absorb(until)
        return self._inbox.popleft()

    def receive_waiting(self) -> tuple[bytes, bytearray] | None:
        """The next frame if one is there already."""
        self._moved_at = time.monotonic()
        while not self._inbox and self._has_input():
            self._absorb()
        return self._inbox.popleft() if self._inbox else None

    def _absorb(self, until: float | None = None) -> None:
        kind, length = frames.HEADER.unpack(self.read_exactly(frames.HEADER.size, until=until))
        if kind == frames.ALIVE:
            if time.monotonic() - self._moved_at > BUSY_SECONDS:
                raise self.broken("the far end has been busy for too long", is_silent=True)
            return
        if length > frames.MOST_BYTES:
            raise self.broken("the far end talks nonsense", is_silent=True)
        payload = self.read_exactly(length, until=until)
        self._moved_at = time.monotonic()
        if kind == frames.LOG:
            told = frames.unpacked(payload)
            logger.log(told["level"], "from the far host: %s", told["text"])
            return
        self._inbox.append((kind, payload))

    def read_exactly(self, length: int, *, until: float | None = None) -> bytearray:
        """So many plain bytes; `until` (of the monotonic clock) they must be here."""
        data = bytearray(length)
        view = memoryview(data)
        while view:
            try:
                count = os.readv(self._from, [view])
            except BlockingIOError:
                self._wait(select.POLLIN, until)
                continue
            except OSError as error:
                raise self.broken("it broke") from error
            if not count:
                raise self.broken("it was closed at the other end")
            view = view[count:]
        return data

    def _wait(self, wanted: int, until: float | None = None) -> int:
        """Wait until we can go on; returns what is ready. What can be read is always of interest."""
        seconds = SILENCE_SECONDS if until is None else max(0.0, until - time.monotonic())
        waiting = select.poll()
        waiting.register(self._from, select.POLLIN)
        if wanted & select.POLLOUT:
            waiting.register(self._to, select.POLLOUT)
        ready = waiting.poll(seconds * 1000)
        if not ready:
            raise self.broken(f"nothing moved on it for {seconds:.0f} s", is_silent=True)
        return next((select.POLLIN for fd, _ in ready if fd == self._from), 0)

    def _has_input(self) -> bool:
        waiting = select.poll()
        waiting.register(self._from, select.POLLIN)
        return bool(waiting.poll(0))

    # --- Its end ---

    @property
    def is_sound(self) -> bool:
        """True unless it is known to have ended; a line at rest has nothing to say."""
        return not self.is_closed and self._process.poll() is None and not self._has_input() and not self._inbox

    def broken(self, reason: str, *, is_silent: bool = False) -> LinkBroken:
        """Close it, and the error that says why."""
        if not is_silent:
            self._await_end()
        self.was_silent = is_silent
        status = self._process.poll()
        complaints = "" if self.is_closed else self._read_complaints()
        self.close()
        return LinkBroken(reason, complaints=complaints, status=status, is_silent=is_silent)

    def _await_end(self) -> None:
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            pass  # it is killed then

    def _read_complaints(self) -> str:
        size = self._complaints.seek(0, os.SEEK_END)
        self._complaints.seek(max(0, size - _COMPLAINTS_BYTES))
        return self._complaints.read().decode(errors="replace")

    def close(self) -> None:
        """End the ssh process; the connection that links share stays."""
        if self.is_closed:
            return
        self.is_closed = True
        self.let_go()
        kill_group(self._process.pid)
        self._process.wait()

    def let_go(self) -> None:
        """Close our ends only: a fork must not end what its parent uses."""
        self.is_closed = True
        for file in (self._process.stdin, self._process.stdout, self._complaints):
            try:
                file.close()  # type: ignore[union-attr]
            except OSError:
                pass  # a pipe that broke


def _widen(fd: int) -> None:
    """A pipe that holds a whole block spares the other end's turns (Linux; only ever a help)."""
    try:
        fcntl.fcntl(fd, getattr(fcntl, "F_SETPIPE_SZ", 1031), _PIPE_BYTES)
    except OSError:
        pass
