"""The far end of a link: frames over the standard streams. A line that breaks ends the process at once, as a crash
would: what a later attempt has written must not be tidied away by this one."""

import io
import os
import select
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from stores.backends.ssh import frames


class CalledOff(Exception):
    """The near end wants no more of this call."""


class Talk:
    """Frames from and to the near end.

    `is_busy` is set while a call is worked on: a thread then says now and then that we live.
    """

    def __init__(self, *, alive_seconds: float, idle_seconds: float) -> None:
        self._source, self._target = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(2, 1)  # what anything prints must not get between the frames
        os.close(null)
        self._lock = threading.Lock()
        self._idle_seconds = idle_seconds
        self.is_busy = False
        self._is_over = True  # of the present call, as the near end said
        threading.Thread(target=self._say_alive, args=(alive_seconds,), daemon=True).start()

    # --- From the near end ---

    def next_call(self) -> dict[str, Any]:
        """Wait for the next call; ends the process when none comes for long, or the line is gone."""
        if not select.select([self._source], [], [], self._idle_seconds)[0]:
            _leave()
        kind, length = self._header()
        if kind != frames.CALL:
            _leave()
        self._is_over = False
        return frames.unpacked(self.payload(length))

    def take(self) -> tuple[bytes, int]:
        """Kind and length of the next frame of this call, whose payload is still to be read. Raises CalledOff."""
        if self._is_over:
            raise CalledOff
        kind, length = self._header()
        if kind == frames.OVER:
            self._is_over = True
            raise CalledOff
        return kind, length

    def take_facts(self, *kinds: bytes) -> tuple[bytes, Any]:
        """The next frame of this call, one of `kinds`, with its facts."""
        kind, length = self.take()
        if kind not in kinds:
            _leave()
        return kind, frames.unpacked(self.payload(length))

    def payload(self, length: int) -> bytearray:
        """So many bytes."""
        data = bytearray(length)
        self._fill(memoryview(data))
        return data

    def read_some(self, view: memoryview) -> int:
        """Fill part of a buffer from a payload."""
        count = os.readv(self._source, [view])
        if not count:
            _leave()
        return count

    def refuse_if_called_off(self) -> None:
        """Raise CalledOff if the near end has said anything: while we only tell, that is all it can say."""
        if not self._is_over and select.select([self._source], [], [], 0)[0]:
            self.take()

    def skip_to_over(self) -> None:
        """Read what is left of this call."""
        while not self._is_over:
            kind, length = self._header()
            self._is_over = kind == frames.OVER
            while length:
                length -= self.read_some(memoryview(bytearray(min(length, 2**20))))

    def _header(self) -> tuple[bytes, int]:
        data = bytearray(frames.HEADER.size)
        self._fill(memoryview(data))
        return frames.HEADER.unpack(data)

    def _fill(self, view: memoryview) -> None:
        while view:
            view = view[self.read_some(view) :]

    # --- To the near end ---

    def tell(self, kind: bytes, *payload: bytes | memoryview) -> None:
        """Send one frame."""
        with self._lock:
            self._send(kind, payload)

    def tell_facts(self, kind: bytes, facts: Any) -> None:
        self.tell(kind, frames.packed(facts))

    def ask(self, facts: Any) -> Any:
        """Put a question to the near end. Raises CalledOff."""
        self.tell_facts(frames.QUESTION, facts)
        return self.take_facts(frames.REPLY)[1]

    def _send(self, kind: bytes, payload: Sequence[bytes | memoryview]) -> None:
        parts = [memoryview(frames.HEADER.pack(kind, sum(map(len, payload)))), *map(memoryview, payload)]
        try:
            while parts:
                count = os.writev(self._target, parts)
                while parts and count >= len(parts[0]):
                    count -= len(parts.pop(0))
                if count:
                    parts[0] = parts[0][count:]
        except OSError:
            _leave()

    def _say_alive(self, every_seconds: float) -> None:
        never = threading.Event()
        while not never.wait(every_seconds):
            if self.is_busy and self._lock.acquire(blocking=False):
                try:
                    self._send(frames.ALIVE, ())
                finally:
                    self._lock.release()


class Incoming(io.BufferedIOBase):
    """One stream from the near end, up to its END, whose facts are then in `seal`."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._left = 0
        self.seal: dict[str, Any] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while not self._left:
            if self.seal is not None:
                return 0
            kind, length = self._talk.take()
            if kind == frames.END:
                self.seal = frames.unpacked(self._talk.payload(length)) or {}
            elif kind == frames.DATA:
                self._left = length
            else:
                _leave()
        count = self._talk.read_some(view[: self._left])
        self._left -= count
        return count

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes; fewer before the end."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(2**20), b""))
        data = bytearray(size)
        count = self.readinto(data)
        return bytes(memoryview(data)[:count])


def _leave() -> NoReturn:
    os._exit(0)
