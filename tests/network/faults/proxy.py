"""The line to a site, call by call: an HTTP proxy that loses, repeats, holds back and reorders what it was told to.

    with Line(site.port) as line:
        line.spoil(3, "answer_lost")     # the third call from now

The peer's port is the line's. A line sees whole calls (tests/hera_librarian/proxy.py sees bytes).
"""

import http.client
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What may befall a call.
CALL_LOST = "call_lost"  # it never gets there, and the caller's connection is cut
ANSWER_LOST = "answer_lost"  # it got there; the caller's connection is cut instead of an answer
DOUBLED = "doubled"  # it gets there twice, and the caller has the answer to the second
LATE = "late"  # the caller's connection is cut; the call gets there when `deliver` is called
FAULTS = (CALL_LOST, ANSWER_LOST, DOUBLED, LATE)
_NOT_PASSED_ON = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Call:
    """One request as it came; `.name` is its method and its path below the API's root."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path.partition('/api/')[2]}"


@dataclass
class Answer:
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


class Line:
    """Listens on a free port for the site at `port`; `calls` are those that came, in order."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.calls: list[Call] = []
        self._plan: dict[int, str] = {}
        self._by_name: list[tuple[str, str]] = []
        self._held: list[Call] = []
        self._is_down = False
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def spoil(self, number: int, what: str) -> None:
        """Let a fault befall a call: 1 is the next one."""
        with self._lock:
            self._plan[len(self.calls) + number] = what

    def spoil_named(self, name: str, what: str) -> None:
        """Let a fault befall the next call whose name begins so, e.g. `POST v2/clone/complete`."""
        with self._lock:
            self._by_name.append((name, what))

    def clear(self) -> bool:
        """Forget faults that have not happened; True if there were any."""
        with self._lock:
            left = any(number > len(self.calls) for number in self._plan) or bool(self._by_name)
            self._plan.clear()
            self._by_name.clear()
            return left

    def deliver(self, *, backwards: bool = False) -> int:
        """Deliver calls that were held back, the oldest first or the newest; nobody hears their answers."""
        with self._lock:
            held, self._held = self._held, []
        for call in reversed(held) if backwards else held:
            try:
                self._pass_on(call)
            except (OSError, http.client.HTTPException):
                pass  # the site is away, or dies of it
        return len(held)

    def take_down(self, *, on: bool = True) -> None:
        """Cut every call, until it is taken up again."""
        self._is_down = on

    def _fate(self, call: Call) -> str:
        with self._lock:
            self.calls.append(call)
            for planned in self._by_name:
                if call.name.startswith(planned[0]):
                    self._by_name.remove(planned)
                    return planned[1]
            return CALL_LOST if self._is_down else self._plan.pop(len(self.calls), "")

    def _perform(self, call: Call) -> Answer | None:
        """What the caller gets; None: its connection is cut."""
        what = self._fate(call)
        if what == LATE:
            with self._lock:
                self._held.append(call)
        if what in (LATE, CALL_LOST):
            return None
        try:
            answer = self._pass_on(call)
            if what == DOUBLED:
                answer = self._pass_on(call)
        except (OSError, http.client.HTTPException):
            return None
        return None if what == ANSWER_LOST else answer

    def _pass_on(self, call: Call) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=120)
        try:
            connection.request(call.method, call.path, call.body, call.headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.reason, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        line = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "keep-alive")}
                answer = line._perform(Call(self.command, self.path, headers, body))
                self.close_connection = True
                if answer is None:
                    return
                self.send_response_only(answer.status, answer.reason)
                for name, value in answer.headers:
                    if name.lower() not in _NOT_PASSED_ON:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.send_header("Connection", "close")
                self.end_headers()
                try:
                    self.wfile.write(answer.body)
                except OSError:
                    pass  # the caller has gone

            do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = do_OPTIONS = _pass

            def log_message(self, *arguments: Any) -> None:
                """Says nothing."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: callers that are killed are what it is for."""
