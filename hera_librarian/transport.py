"""Requests to one server: credentials, kept-alive connections, time limits, and repeating what is safe to repeat.

What the answers mean is said elsewhere: failures in `failures`, messages of the wire in `models`. One Transport serves
many threads; each has a session, and so connections, of its own.
"""

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Container, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from pydantic import BaseModel, ValidationError
from requests.adapters import HTTPAdapter
from requests.models import PreparedRequest
from urllib3.exceptions import NameResolutionError, NewConnectionError

from hera_librarian.addresses import api_root
from hera_librarian.authenticator import authorization_header
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError, LibrarianTimeoutError
from hera_librarian.failures import failure, retry_after_seconds

Answer = TypeVar("Answer", bound=BaseModel)
Timeout = tuple[float, float | None]

SUCCESS = range(200, 300)
PASSING_STATUSES = (429, 502, 503, 504)
REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 3
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 60.0
# Servers close idle connections after a few seconds. A request that may not be repeated starts on a fresh one then,
# since nothing tells a connection that died while idle from one that died with the request under way.
IDLE_SECONDS = 1.0

# Calls of the wire that may be sent again when their answer was lost: they only read, or set what may be set twice.
SAFE_ON_THE_WIRE = frozenset(
    {
        "ping/",
        "ping/logged",
        "ping/admin",
        "search/file",
        "search/error",
        "search/instance_local",
        "search/instance_remote",
        "users/get",
        "admin/stores/list",
        "admin/stores/state_change",
        "admin/librarians/list",
        "admin/librarians/transfer_status/set",
        "admin/librarians/transfer_status/change",
        "admin/add_file",
        "checkin/status",
    }
)


class Transport:
    """Sends requests to the API of one server.

    Parameters
    ----------
    host : str
        With its scheme, perhaps with a path, without a port: `https://librarian.example.org/karoo`.
    user, password, token : str, optional
        Credentials: both of the first two, or a token, or nothing.
    timeout : pair of float, or float
        Seconds for connecting and for each wait for the server's next bytes.
    retries : int
        How often what is safe is repeated; the waits in between double, beginning with a quarter of a second.
    """

    def __init__(
        self,
        host: str,
        port: int,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        *,
        timeout: Timeout | float = (10, 300),
        retries: int = 5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.root = api_root(host, port)
        self.timeout: Timeout = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        self.retries = retries
        self._sleep = sleep
        self._own = threading.local()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        self.set_credentials(user, password, token)

    def __repr__(self) -> str:
        return f"<Transport {self.root}>"

    def set_credentials(self, user: str | None = None, password: str | None = None, token: str | None = None) -> None:
        """Use these from the next request on. Raises LibrarianError if they could not travel in a header."""
        self._credentials = _Credentials(user, password, token)
        self._own = threading.local()

    def close(self) -> None:
        """Close all connections. The transport can be used again and opens new ones then."""
        for session in list(self._sessions):
            session.close()

    # --- Requests -----------------------------------------------------------------------------------------------------

    def url(self, path: str) -> str:
        """Full address of a path below the API's root, or of an absolute address on this very server.

        A server behind a proxy may think of itself as another port or scheme, so of an absolute address only the path
        counts, once its host is ours. Raises LibrarianError for another host: our credentials are not for it.
        """
        if path.startswith(("http://", "https://")):
            parts = urlsplit(path)
            _, found, rest = path.partition("/api/")
            if not found or parts.hostname != urlsplit(self.root).hostname:
                raise LibrarianError(f"{path} is not on the server {self.root}.", code="other_server")
            path = rest
        if not path.isprintable() or any(part in (".", "..") for part in path.partition("?")[0].split("/")):
            raise LibrarianError(f"{path!r} is not a path of the API.", code="invalid_address")
        return f"{self.root}/{path.lstrip('/')}"

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | list[tuple[str, Any]] | None = None,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        safe: bool | None = None,
        timeout: Timeout | float | None = None,
        retries: int | None = None,
        expect: Container[int] = SUCCESS,
    ) -> requests.Response:
        """Send a request and return its answer.

        Parameters
        ----------
        path : str
            Relative to `/api/`, percent-encoded where needed, or an absolute address on the same server.
        stream : bool
            The caller reads the body, and closes the answer.
        safe : bool, optional
            Whether the request may be sent again when its answer is lost; by default that of the method.
        expect : container of int
            The statuses that are not failures.

        Raises
        ------
        LibrarianHTTPError
            The server answered with another status; the error says its reason.
        LibrarianTimeoutError
            It could not be reached, or did not answer in time.
        LibrarianError
            The request could not be made.
        """
        method = method.upper()
        safe = method in ("GET", "HEAD", "OPTIONS") if safe is None else safe
        safe = safe and isinstance(data, bytes | str | dict | None)  # a stream that was read cannot be sent again
        attempts = 1 + (self.retries if retries is None else retries)
        options = {"params": params, "json": json, "data": data, "headers": dict(headers or {}), "stream": stream}
        options["timeout"] = self.timeout if timeout is None else timeout
        url = self.url(path)
        for attempt in range(attempts):
            last = attempt + 1 == attempts
            try:
                response = self._send(method, url, safe, options)
            except _NotReached as problem:
                if last or not (safe or problem.nothing_was_sent) or problem.is_permanent:
                    raise problem.error from problem.__cause__
                self._sleep(_wait_seconds(attempt))
                continue
            if response.status_code in expect:
                return response
            pause = _wait_seconds(attempt, retry_after_seconds(response))
            if last or not safe or response.status_code not in PASSING_STATUSES or pause > LONGEST_WAIT_SECONDS:
                raise failure(response, path)
            response.close()
            self._sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def wire(
        self,
        endpoint: str,
        message: BaseModel | None = None,
        response_model: type[Answer] | None = None,
        *,
        safe: bool | None = None,
        timeout: Timeout | float | None = None,
        retries: int | None = None,
    ) -> Answer | None:
        """Make one call of the wire protocol; the answering message, None if no `response_model` is given.

        Raises what `request` raises, and LibrarianError when the answer is not the message expected.
        """
        endpoint = endpoint.removeprefix("/")
        try:
            response = self.request(
                "POST",
                f"v2/{endpoint}",
                data=b"" if message is None else message.model_dump_json().encode(),
                headers={"Content-Type": "application/json"},
                safe=endpoint in SAFE_ON_THE_WIRE if safe is None else safe,
                timeout=timeout,
                retries=retries,
            )
        except LibrarianHTTPError as problem:
            problem.url = endpoint  # as clients of the protocol name it
            raise
        if response_model is None:
            return None
        return self._parse(endpoint, response, response_model)

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _parse(self, endpoint: str, response: requests.Response, model: type[Answer]) -> Answer:
        try:
            return model.model_validate_json(response.content)
        except ValidationError as problem:
            error = problem.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(str(part) for part in error["loc"])
            said = f"{place}: {error['msg']}" if place else error["msg"]
            raise LibrarianError(
                f"{self.root}/v2/{endpoint} gave an answer that is not of the protocol ({said}).",
                remedy="Check that the address is that of a Librarian.",
                code="strange_answer",
            ) from None

    def _send(self, method: str, url: str, safe: bool, options: dict[str, Any]) -> requests.Response:
        """Send once, following redirects within the server. Raises _NotReached, or LibrarianError."""
        session = self._session(fresh=not safe)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                response = session.request(method, url, allow_redirects=False, **options)
                if response.status_code not in REDIRECTS or "Location" not in response.headers:
                    return response
                url = self._redirected(method, url, response)
                options = {**options, "params": None}  # the new address has them already
        except requests.exceptions.RequestException as problem:
            raise _understand(problem, self.root, url) from problem
        except UnicodeError as problem:
            raise LibrarianError("The request could not be put into words.", code="invalid_request") from problem
        finally:
            self._own.used_at = time.monotonic()
        raise LibrarianError(f"{self.root} redirects in a circle.", code="redirected")

    def _redirected(self, method: str, url: str, response: requests.Response) -> str:
        """Where a redirect leads, if that is on the same server and means the same request."""
        target = urljoin(url, response.headers["Location"])
        response.close()
        if _origin(target) != _origin(self.root):
            raise LibrarianError(
                f"{self.root} redirects to another server, {_origin(target)}.",
                remedy="If that is right, put its address into the configuration; credentials are not handed on.",
                code="redirected",
            )
        if response.status_code not in (307, 308) and method not in ("GET", "HEAD"):
            raise LibrarianError(
                f"{self.root} redirects a {method} to {target}, where it would arrive as something else.",
                remedy="Put the address that it redirects to into the configuration.",
                code="redirected",
            )
        return target

    def _session(self, *, fresh: bool) -> requests.Session:
        """This thread's session; after a fork a new one, since two processes cannot share connections."""
        own = self._own
        if getattr(own, "process", None) != os.getpid():
            own.session, own.process = self._new_session(), os.getpid()
        elif fresh and time.monotonic() - own.used_at > IDLE_SECONDS:
            own.session.close()
        return own.session

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.auth = self._credentials  # set even without credentials: else requests looks into ~/.netrc
        session.headers["User-Agent"] = f"hera_librarian {session.headers['User-Agent']}"
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_connections=2, pool_maxsize=4, max_retries=0))
        self._sessions.add(session)
        return session


class _Credentials(requests.auth.AuthBase):
    """Puts the Authorization header into requests; shows nothing of it."""

    def __init__(self, user: str | None, password: str | None, token: str | None) -> None:
        self._header: str | None = None
        if token and (user or password):
            raise LibrarianError("Give a token, or user and password, not both.", code="invalid_credentials")
        if user and ":" in user:
            raise LibrarianError("A user name has no colon.", code="invalid_credentials")
        try:
            if token:
                if ":" in token:
                    raise ValueError("a token has no colon")
                self._header = authorization_header(token)
            elif user or password:
                self._header = authorization_header(f"{user or ''}:{password or ''}")
        except (ValueError, UnicodeError):
            raise LibrarianError(
                "The credentials are neither user and password nor a token of visible ASCII characters.",
                remedy="Check them for line ends and blanks, for instance from copying.",
                code="invalid_credentials",
            ) from None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self._header is not None:
            request.headers["Authorization"] = self._header
        return request


class _NotReached(Exception):
    """A request without an answer: what to tell the caller, and whether trying again can help."""

    def __init__(self, error: LibrarianTimeoutError, *, nothing_was_sent: bool, is_permanent: bool = False) -> None:
        super().__init__()
        self.error = error
        self.nothing_was_sent = nothing_was_sent
        self.is_permanent = is_permanent


def _understand(problem: requests.exceptions.RequestException, root: str, url: str) -> Exception:
    """What an exception of requests means. Its own text is not repeated: it holds addresses of objects, not facts."""
    kinds = requests.exceptions
    cause = getattr(problem.args[0], "reason", None) if problem.args else None
    if isinstance(problem, kinds.SSLError):
        said = f"{root} does not prove who it is: its certificate is not trusted here, or it speaks no TLS."
        remedy = "Check http or https in the address; a private authority is named by REQUESTS_CA_BUNDLE."
        error = LibrarianTimeoutError(url, said, remedy=remedy, code="not_trusted")
        return _NotReached(error, nothing_was_sent=True, is_permanent=True)
    if isinstance(cause, NameResolutionError):
        error = LibrarianTimeoutError(url, f"The name of the host of {root} is not known.", code="unknown_host")
        return _NotReached(error, nothing_was_sent=True, is_permanent=True)
    if isinstance(problem, kinds.ProxyError):
        remedy = "Check http_proxy and https_proxy; no_proxy names the hosts that are reached without."
        error = LibrarianTimeoutError(
            url, f"The proxy on the way to {root} failed.", remedy=remedy, code="proxy_failed"
        )
        return _NotReached(error, nothing_was_sent=False)
    if isinstance(problem, kinds.ConnectTimeout) or isinstance(cause, NewConnectionError):
        error = LibrarianTimeoutError(url, f"{root} could not be reached.")
        return _NotReached(error, nothing_was_sent=True)
    if isinstance(problem, kinds.Timeout):
        error = LibrarianTimeoutError(url, f"{root} did not answer in time.", code="timed_out")
        return _NotReached(error, nothing_was_sent=False)
    if isinstance(problem, kinds.ConnectionError | kinds.ChunkedEncodingError | kinds.ContentDecodingError):
        error = LibrarianTimeoutError(url, f"The connection to {root} broke.", code="connection_broke")
        return _NotReached(error, nothing_was_sent=False)
    return LibrarianError(
        f"The request could not be made ({type(problem).__name__}).",
        remedy="Check the address, and names and values for control characters.",
        code="invalid_request",
    )


def _wait_seconds(attempt: int, asked: float | None = None) -> float:
    """Seconds before the next attempt: what the server asks for, else doubling, spread so that clients do not meet."""
    if asked is not None:
        return max(asked, 0.05)
    return min(FIRST_WAIT_SECONDS * 2**attempt, LONGEST_WAIT_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311 no secret


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"
