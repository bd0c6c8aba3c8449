"""A server that is not ours: replays prepared answers over real HTTP and remembers what it was asked.

    with Foreign({"POST /api/v2/ping/": answer({"name": "Site A", "description": "test rig"})}) as server:
        client = server.client()

An answer may also be a function of the request, or a list of answers of which each is given once and the last one for
ever.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USER, PASSWORD = "observer", "pa:ss wörd"


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # close the connection after so many bytes of the body


@dataclass
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: tuple

    @property
    def message(self):
        return json.loads(self.body)


def answer(content=None, status=200, **headers):
    """An answer in JSON; text is sent as it is, None as an empty body without a type."""
    if content is None:
        return Answer(status, b"", headers)
    if isinstance(content, str):
        return Answer(status, content.encode(), {"Content-Type": "text/plain; charset=utf-8", **headers})
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})


CUT = Answer(0)  # the connection is closed without a word
NOT_FOUND = answer({"detail": "Not Found"}, 404)


class Foreign:
    def __init__(self, answers: dict[str, Answer | list | Callable]) -> None:
        self.answers = dict(answers)
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        server = self

        class Handler(_Handler):
            foreign = server

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self.port = self._http.server_address[1]
        self.host = "http://127.0.0.1"
        self.url = f"{self.host}:{self.port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def client(self, kind=None, **options):
        """A client of it that waits for nothing between attempts."""
        from hera_librarian.admin import AdminClient

        client = (kind or AdminClient)(self.host, self.port, USER, PASSWORD, **options)
        client.transport._sleep = lambda seconds: None
        return client

    def calls(self, endpoint: str) -> list[Asked]:
        """What an endpoint of the wire was asked."""
        return [asked for asked in self.asked if asked.path == f"/api/v2/{endpoint}"]

    def choose(self, asked: Asked) -> Answer:
        with self._lock:
            self.asked.append(asked)
            found = self.answers.get(f"{asked.method} {asked.path}", NOT_FOUND)
            if isinstance(found, list):
                found = found.pop(0) if len(found) > 1 else found[0]
        return found if isinstance(found, Answer) else found(asked)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """Says nothing: a client that goes away is part of some tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    foreign: Foreign

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, dict(self.headers), body, self.client_address)
        chosen = self.foreign.choose(asked)
        if chosen is CUT:
            self.close_connection = True
            return
        self.send_response_only(chosen.status)
        for name, value in chosen.headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(chosen.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(chosen.body if chosen.cut_after is None else chosen.body[: chosen.cut_after])
        self.close_connection = self.close_connection or chosen.cut_after is not None

    do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, *arguments) -> None:
        """Says nothing."""
