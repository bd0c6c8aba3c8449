"""What may lie at the address of a peer: a server of the protocol that is not ours, or something else altogether."""

import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hera_librarian.authenticator import authorization_header

GREETING = {"name": "Site B", "description": "a server of the protocol"}
WRONG = (401, {"detail": "Incorrect username or password"})
Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]


def json_or_none(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


class StandIn:
    """A server on loopback that answers each path as told.

    Parameters
    ----------
    authenticator : str
        What `ping/logged` accepts; as the protocol wants it, `ping/` accepts anything.
    answers : dict
        Path below `/api/` -> (status, JSON value or bytes[, headers]), on top of the usual ones.
    """

    def __init__(self, authenticator: str = "test_librarian:right", *, tls: Path | None = None) -> None:
        self.authenticator = authenticator
        self.answers: dict[str, Reply | Callable[[], Reply]] = {"v2/ping/": (200, GREETING)}
        self.asked: list[tuple[str, str]] = []  # path, Authorization
        self.messages: list[Any] = []  # bodies in the same order; None for what is no JSON
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def reply(self, path: str, authorization: str) -> Reply:
        told = self.answers.get(path)
        if told is not None:
            return told() if callable(told) else told
        if path == "v2/ping/logged":
            return (200, GREETING) if authorization == authorization_header(self.authenticator) else WRONG
        return 404, {"detail": "Not Found"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("/api/")[2]
                stand_in.messages.append(json_or_none(raw))
                stand_in.asked.append((path, self.headers.get("Authorization", "")))
                status, content, *headers = stand_in.reply(path, self.headers.get("Authorization", ""))
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass  # the caller has heard enough

            do_GET = do_POST

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


class RawStandIn:
    """Something on loopback that accepts one connection at a time and does what `behave(connection, stopped)` does."""

    def __init__(self, behave: Callable[[socket.socket, threading.Event], None]) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._serve, args=(behave,), daemon=True)
        self.thread.start()

    def _serve(self, behave: Callable[[socket.socket, threading.Event], None]) -> None:
        while not self.stopped.is_set():
            try:
                connected, _ = self.listening.accept()
            except OSError:
                return
            with connected:
                try:
                    connected.recv(65536)
                    behave(connected, self.stopped)
                except OSError:
                    pass

    def stop(self) -> None:
        self.stopped.set()
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join(5)
