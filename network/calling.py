"""One call to another site: within a time, within a size, to the address that was given and to no other.

The address of a peer was typed by a person, so whatever lies there may answer. Certificates are verified; redirects are
not followed, so that our credentials go nowhere else; the clock covers the whole call, so that an answer that drips in
byte by byte holds nobody up; no more bytes and values are read than was said before. What the answers mean
is for the callers to say.
"""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from hera_librarian.addresses import api_root
from hera_librarian.authenticator import authorization_header
from librarian.common.parsers import InvalidJson, read_json
from network.errors import NotALibrarian, PeerUnreachable

MOST_BYTES = 64 * 1024
MOST_PARTS = 300_000  # values of an answer: each takes far more memory than the bytes in which it came
WAIT_SECONDS = 5.0  # for a connection, and unless told otherwise for each next part of an answer


@dataclass(frozen=True, slots=True)
class Account:
    """Our account at a peer: where it answers and how we sign in. Plain data, which may go to another thread."""

    peer_name: str
    url: str
    port: int
    authenticator: str = field(repr=False)

    @property
    def username(self) -> str:
        """Name of the account there; empty when we sign in with a token."""
        return self.authenticator.partition(":")[0] if ":" in self.authenticator else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON value of an answer; `content` is None when it is not JSON, `is_empty` when there is nothing."""

    status: int
    content: Any = field(repr=False)
    is_empty: bool = False


def call(
    account: Account,
    path: str,
    *,
    ends_at: float,
    method: str = "POST",
    message: Any = None,
    most_bytes: int = MOST_BYTES,
    wait_seconds: float = WAIT_SECONDS,
) -> Answer:
    """Send one request to the API of a peer.

    Parameters
    ----------
    account : Account
        Whom, and as whom.
    path : str
        Below `/api/`, such as `v2/ping/`.
    ends_at : float
        When the whole call must be over, in seconds of `time.monotonic`.
    method : str
        GET sends no message.
    message : Any
        Plain data; None sends `{}`.
    most_bytes : int
        Of the answer; a longer one is not believed.
    wait_seconds : float
        For each next part of the answer, the first one too; a connection is waited for WAIT_SECONDS at most.

    Raises
    ------
    PeerUnreachable, NotALibrarian
    """
    root = urlsplit(api_root(account.url, account.port))
    connection = _connection(root.scheme, root.hostname or "", account.port, _left(account, ends_at))
    headers = {
        "Authorization": authorization_header(account.authenticator),
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Connection": "close",
    }
    body = None if method == "GET" else json.dumps(message if message is not None else {}).encode()
    try:
        connection.connect()
        connection.sock.settimeout(min(wait_seconds, _left(account, ends_at)))
        with _cut_off(connection.sock, ends_at):
            connection.request(method, f"{root.path}/{path}", body, headers)
            response = connection.getresponse()
            raw = response.read(most_bytes + 1)
    except (OSError, UnicodeError) as problem:
        raise PeerUnreachable(f"{_named(account)} cannot be reached: {_why(problem, ends_at)}.") from problem
    except HTTPException as problem:
        _left(account, ends_at)  # an answer that we cut off looks broken too
        raise NotALibrarian(f"What answers as {_named(account)} does not speak HTTP.") from problem
    finally:
        connection.close()
    _left(account, ends_at)
    return Answer(response.status, _content(account, raw, most_bytes), is_empty=not raw.strip())


def _connection(scheme: str, host: str, port: int, seconds: float) -> HTTPConnection:
    timeout = min(WAIT_SECONDS, seconds)
    if scheme == "https":
        return HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
    return HTTPConnection(host, port, timeout=timeout)


@contextmanager
def _cut_off(connected: socket.socket, ends_at: float) -> Iterator[None]:
    """End every wait on a socket at a time, however often the other side sends something before."""
    alarm = threading.Timer(max(0.0, ends_at - time.monotonic()), _shut, [connected])
    alarm.daemon = True
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()


def _shut(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it was over by itself


def _content(account: Account, raw: bytes, most_bytes: int) -> Any:
    if len(raw) > most_bytes:
        raise NotALibrarian(f"{_named(account)} answers with more than {most_bytes} bytes to a short question.")
    if raw.count(b",") > MOST_PARTS:
        raise NotALibrarian(f"{_named(account)} answers with more than {MOST_PARTS} values.")
    try:
        return read_json(raw)
    except InvalidJson:
        return None


def _left(account: Account, ends_at: float) -> float:
    """Seconds that are left. Raises PeerUnreachable when there are none."""
    left = ends_at - time.monotonic()
    if left <= 0:
        raise PeerUnreachable(f"{_named(account)} cannot be reached: it did not answer in time.")
    return left


def _why(problem: Exception, ends_at: float) -> str:
    """What went wrong in the words of this machine: nothing that the other side sent."""
    if isinstance(problem, TimeoutError) or time.monotonic() >= ends_at:
        return "it did not answer in time"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {problem.verify_message}".rstrip(".")
    if isinstance(problem, ssl.SSLError):
        return "it does not speak TLS as https needs it"
    if isinstance(problem, UnicodeError):
        return "its host is no name that could be looked up"
    return (getattr(problem, "strerror", None) or "it closed the connection").rstrip(".")


def _named(account: Account) -> str:
    return f"Librarian {account.peer_name} ({account.url}, port {account.port})"
