"""A TCP proxy in front of a server: counts what goes through, slows it down, and cuts lines in the middle of bytes."""

import socket
import threading
import time


class Proxy:
    """Listens on a free port and passes bytes on.

    Attributes
    ----------
    sent : int
        Bytes that clients sent so far, over all lines, requests' headers included.
    lines : int
        How many lines there were.
    """

    def __init__(self, port: int, *, bytes_per_second: float | None = None) -> None:
        self.target = ("127.0.0.1", port)
        self.bytes_per_second = bytes_per_second
        self.sent = 0
        self.lines = 0
        self._cut_at: list[int] = []
        self._on_cut = None
        self._spoil_at: int | None = None
        self._refuses = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.reached = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()
        self.cut()

    def cut_after(self, *counts: int, then=None) -> None:
        """Cut all lines each time that so many bytes more have come from clients; `then` is called after each cut."""
        total, marks = self.sent, []
        for count in counts:
            total += count
            marks.append(total)
        with self._lock:
            self._cut_at, self._on_cut = marks, then

    def spoil_at(self, count: int) -> None:
        """Change one byte, that many bytes from now, on its way from a client."""
        self._spoil_at = self.sent + count

    def cut(self) -> None:
        """Break every line that is open, as a pulled cable would: with a reset."""
        with self._lock:
            lines, self._open = list(self._open), set()
        for line in lines:
            try:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            line.close()

    def refuse(self, on: bool = True) -> None:
        """Close every new line at once, as a port where nobody listens; open ones too."""
        self._refuses = on
        if on:
            self.cut()

    def wait_until_sent(self, count: int, *, timeout_seconds: float = 60) -> None:
        """Wait until clients have sent so many bytes in all."""
        with self.reached:
            assert self.reached.wait_for(lambda: self.sent >= count, timeout_seconds), f"only {self.sent} bytes"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                client.close()
                continue
            try:
                server = socket.create_connection(self.target, timeout=10)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            self.lines += 1
            with self._lock:
                self._open |= {client, server}
            threading.Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        block = 64 * 1024 if self.bytes_per_second is None else max(1024, int(self.bytes_per_second / 50))
        try:
            while data := source.recv(block):
                if counted and self.bytes_per_second is not None:
                    time.sleep(len(data) / self.bytes_per_second)  # the line is this slow
                if counted and self._spoil_at is not None and self.sent + len(data) > self._spoil_at:
                    data, self._spoil_at = data[:-1] + bytes([data[-1] ^ 1]), None
                if counted and self._count(len(data)):
                    return
                target.sendall(data)
        except OSError:
            pass
        finally:
            for line in (source, target):
                try:
                    line.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _count(self, count: int) -> bool:
        """True when this was the block in which the lines are cut."""
        with self.reached:
            self.sent += count
            self.reached.notify_all()
        with self._lock:
            due = bool(self._cut_at) and self.sent >= self._cut_at[0]
            if due:
                self._cut_at.pop(0)
        if due:
            self.cut()
            if self._on_cut is not None:
                self._on_cut()
        return due
