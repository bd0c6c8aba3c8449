"""A connection that can be cut: forwards to a site, counts what the site sends, and breaks off where a test says."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Cutter:
    """`with cutting(site.port) as line: line.cut_after(10_000)`; clients connect to `line.port`.

    `cut_after(n)` breaks every connection once the site has sent n more bytes altogether; new ones are taken again.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._left: list[int] = []
        self._open: set[socket.socket] = set()
        self.port = self._listener.getsockname()[1]
        self.bytes_sent = 0
        self.cuts = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def cut_after(self, *sizes: int) -> None:
        """Cut after so many bytes; several numbers: again after so many more."""
        with self._lock:
            self._left = list(sizes)

    def close(self) -> None:
        self._listener.close()
        self._break_all()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            threading.Thread(target=self._forward, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, True), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        try:
            while block := source.recv(16384):
                cut = False
                if is_answer:
                    with self._lock:
                        if self._left:
                            cut = len(block) >= self._left[0]
                            block = block[: self._left[0]]
                            self._left[0] -= len(block)
                        self.bytes_sent += len(block)
                target.sendall(block)
                if cut:
                    with self._lock:
                        self._left.pop(0)
                        self.cuts += 1
                    self._break_all()
                    return
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side was broken off

    def _break_all(self) -> None:
        with self._lock:
            broken, self._open = self._open, set()
        for each in broken:
            try:
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            except OSError:
                pass  # closed by the other thread already
            each.close()


@contextmanager
def cutting(port: int) -> Iterator[Cutter]:
    """A Cutter before the site on this port."""
    line = Cutter(port)
    try:
        yield line
    finally:
        line.close()
