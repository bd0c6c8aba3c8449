"""Requests: connections are kept, what is safe is repeated and nothing else, credentials go to one server only."""

import base64
import multiprocessing
import threading
import time

import pytest

from hera_librarian import transport as transport_module
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError, LibrarianTimeoutError
from hera_librarian.models.ping import PingRequest, PingResponse
from hera_librarian.transport import Transport
from tests.hera_librarian.foreign import CUT, Answer, Foreign, answer
from tests.rig.processes import free_port

pytestmark = pytest.mark.database_independent

PING = {"name": "Site A", "description": "test rig"}
BUSY = answer({"code": "busy", "reason": "Busy.", "suggested_remedy": "Wait."}, 503, Retry_After="7")
SECRET = "s3cr3t-of-mine"


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def serve():
    """`serve({...})` starts a foreign server for this test."""
    started = []

    def start(answers):
        server = Foreign(answers).__enter__()
        started.append(server)
        return server

    yield start
    for server in started:
        server.__exit__()


@pytest.fixture
def slept():
    return []


@pytest.fixture
def transport_to(slept):
    def make(server, user="me", password=SECRET, **options):
        return Transport(server.host, server.port, user, password, sleep=slept.append, **options)

    return make


# --- Connections ------------------------------------------------------------------------------------------------------


def test_a_thread_keeps_its_connection_and_another_thread_has_its_own(serve, transport_to):
    server = serve({"GET /api/v3/": answer(PING)})
    transport = transport_to(server)

    def ask():
        for _ in range(3):
            transport.request("GET", "v3/")

    ask()
    other = threading.Thread(target=ask)
    other.start()
    other.join()
    connections = [asked.connection for asked in server.asked]
    assert len(set(connections[:3])) == len(set(connections[3:])) == 1
    assert connections[0] != connections[3]


def test_what_may_not_be_repeated_starts_on_a_fresh_connection_after_a_pause(serve, transport_to, monkeypatch):
    server = serve({"POST /api/v2/upload/stage": answer({})})
    transport = transport_to(server)
    transport.request("POST", "v2/upload/stage", data=b"")
    transport.request("POST", "v2/upload/stage", data=b"")
    monkeypatch.setattr(transport_module, "IDLE_SECONDS", -1.0)
    transport.request("POST", "v2/upload/stage", data=b"")
    first, second, third = (asked.connection for asked in server.asked)
    assert first == second != third


def test_closed_transports_open_again(serve, transport_to):
    server = serve({"GET /api/v3/": answer(PING)})
    transport = transport_to(server)
    transport.request("GET", "v3/")
    transport.close()
    transport.request("GET", "v3/")
    assert server.asked[0].connection != server.asked[1].connection


def test_a_forked_process_opens_its_own_connection(serve, transport_to):
    server = serve({"GET /api/v3/": answer(PING)})
    transport = transport_to(server)
    transport.request("GET", "v3/")
    child = multiprocessing.get_context("fork").Process(target=transport.request, args=("GET", "v3/"))
    child.start()
    child.join(30)
    transport.request("GET", "v3/")
    mine, childs, mine_again = (asked.connection for asked in server.asked)
    assert childs != mine == mine_again


def test_cookies_are_not_kept(serve, transport_to):
    server = serve({"GET /api/v3/": answer(PING, Set_Cookie="sessionid=abc; Path=/")})
    transport = transport_to(server)
    transport.request("GET", "v3/")
    transport.request("GET", "v3/")
    assert "Cookie" not in server.asked[1].headers


# --- Repeating --------------------------------------------------------------------------------------------------------


def test_reading_is_repeated_as_late_as_the_server_asks(serve, transport_to, slept):
    server = serve({"GET /api/v3/": [BUSY, BUSY, answer(PING)]})
    assert transport_to(server).request("GET", "v3/").json() == PING
    assert slept == [7.0, 7.0]


def test_waits_double_when_the_server_does_not_say(serve, transport_to, slept):
    server = serve({"GET /api/v3/": answer("gone", 502)})
    with pytest.raises(LibrarianHTTPError) as failed:
        transport_to(server, retries=4).request("GET", "v3/")
    assert failed.value.status_code == 502
    assert len(server.asked) == 5
    assert len(slept) == 4
    assert all(0.75 <= wait / expected <= 1.25 for wait, expected in zip(slept, (0.25, 0.5, 1, 2), strict=True))


def test_a_pause_of_many_minutes_is_left_to_the_caller(serve, transport_to, slept):
    locked = answer({"code": "locked_out", "reason": "Locked.", "suggested_remedy": "Wait."}, 429, Retry_After="900")
    server = serve({"GET /api/v3/": locked})
    with pytest.raises(LibrarianHTTPError) as failed:
        transport_to(server).request("GET", "v3/")
    assert (failed.value.code, failed.value.retry_after_seconds, slept) == ("locked_out", 900.0, [])


def test_the_date_form_of_retry_after_counts_by_the_servers_clock(serve, transport_to, slept):
    late = answer("", 503, Retry_After="Sat, 21 Nov 2026 10:00:09 GMT")
    late.headers["Date"] = "Sat, 21 Nov 2026 10:00:00 GMT"
    server = serve({"GET /api/v3/": [late, answer(PING)]})
    transport_to(server).request("GET", "v3/")
    assert slept == [9.0]


@pytest.mark.parametrize("lost", [CUT, Answer(200, b'{"name": "Site A", "description": "x"}', cut_after=9)])
def test_a_lost_answer_is_asked_for_again_only_when_that_is_safe(serve, transport_to, lost):
    server = serve({"POST /api/v2/ping/": [lost, answer(PING)], "POST /api/v2/users/create": [lost, answer({}, 201)]})
    transport = transport_to(server)
    assert transport.wire("ping/", PingRequest(), PingResponse).name == "Site A"
    with pytest.raises(LibrarianTimeoutError, match="broke"):
        transport.wire("users/create", PingRequest())
    assert [asked.path for asked in server.asked].count("/api/v2/users/create") == 1


@pytest.mark.parametrize("endpoint", ["upload/stage", "upload/commit", "users/create", "clone/stage", "error/clear"])
def test_what_changes_something_is_not_repeated(serve, transport_to, endpoint):
    server = serve({f"POST /api/v2/{endpoint}": BUSY})
    with pytest.raises(LibrarianHTTPError):
        transport_to(server).wire(endpoint, PingRequest())
    assert len(server.asked) == 1


def test_a_body_that_can_be_read_once_is_sent_once(serve, transport_to):
    server = serve({"PATCH /api/v3/x": BUSY})
    with pytest.raises(LibrarianHTTPError):
        transport_to(server).request("PATCH", "v3/x", data=iter([b"a", b"b"]), safe=True)
    assert len(server.asked) == 1


def test_a_server_that_is_away_is_asked_again_whatever_the_request(slept):
    transport = Transport("http://127.0.0.1", free_port(), "me", SECRET, sleep=slept.append)
    with pytest.raises(LibrarianTimeoutError) as away:
        transport.request("POST", "v2/upload/stage", data=b"")  # nothing was sent, so nothing can happen twice
    assert len(slept) == 5
    assert away.value.url == transport.url("v2/upload/stage")
    assert isinstance(away.value, LibrarianError)


def test_a_server_that_keeps_silent_is_given_up(serve, transport_to):
    wake = threading.Event()
    server = serve({"GET /api/v3/": lambda asked: wake.wait(20) and answer(PING)})
    began = time.monotonic()
    try:
        with pytest.raises(LibrarianTimeoutError) as silent:
            transport_to(server, retries=1).request("GET", "v3/", timeout=(5, 0.1))
    finally:
        wake.set()
    assert silent.value.code == "timed_out"
    assert len(server.asked) == 2
    assert time.monotonic() - began < 10


# --- Where credentials go ---------------------------------------------------------------------------------------------


def authorization(asked):
    scheme, _, value = asked.headers["Authorization"].partition(" ")
    return scheme, base64.b64decode(value).decode() if scheme == "Basic" else value


def test_credentials_travel_as_basic_or_as_bearer(serve):
    server = serve({"GET /api/v3/": answer(PING)})
    Transport(server.host, server.port, "me", "pa:ss wörd").request("GET", "v3/")
    Transport(server.host, server.port, token="lbn_abc").request("GET", "v3/")
    assert [authorization(asked) for asked in server.asked] == [("Basic", "me:pa:ss wörd"), ("Bearer", "lbn_abc")]


def test_a_netrc_changes_nothing(serve, transport_to, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve({"GET /api/v3/": answer(PING)})
    transport_to(server).request("GET", "v3/")
    transport_to(server, None, None).request("GET", "v3/")
    assert authorization(server.asked[0]) == ("Basic", f"me:{SECRET}")
    assert "Authorization" not in server.asked[1].headers


def test_redirects_to_another_server_are_not_followed(serve, transport_to):
    other = serve({"GET /api/v3/": answer(PING)})
    server = serve({"GET /api/v3/": answer(None, 302, Location=f"{other.url}/api/v3/")})
    with pytest.raises(LibrarianError, match="another server") as refused:
        transport_to(server).request("GET", "v3/")
    assert other.asked == []
    assert other.url in str(refused.value)


def test_redirects_within_the_server_are_followed_with_their_body(serve, transport_to):
    server = serve(
        {
            "POST /api/v2/ping": answer(None, 307, Location="/api/v2/ping/"),
            "POST /api/v2/ping/": answer(PING),
            "GET /api/v3/files/a/members/": answer(None, 302, Location="../members?limit=1"),
            "GET /api/v3/files/a/members?limit=1": answer({"results": []}),
            "POST /api/v2/moved": answer(None, 301, Location="/api/v2/ping/"),
            "GET /api/v3/round": answer(None, 302, Location="/api/v3/round"),
        }
    )
    transport = transport_to(server)
    assert transport.wire("ping", PingRequest(), PingResponse).name == "Site A"
    assert server.asked[1].body == b"{}"
    assert authorization(server.asked[1]) == ("Basic", f"me:{SECRET}")
    assert transport.request("GET", "v3/files/a/members/").json() == {"results": []}
    with pytest.raises(LibrarianError, match="redirects a POST"):
        transport.wire("moved", PingRequest())
    with pytest.raises(LibrarianError, match="circle"):
        transport.request("GET", "v3/round")


def test_addresses_of_the_server_are_taken_back_and_others_refused(serve, transport_to):
    server = serve({"GET /api/v3/uploads/x": answer({})})
    transport = transport_to(server)
    # A server behind a proxy may believe that it has another port or no TLS.
    for mine in (
        f"{server.url}/api/v3/uploads/x",
        "http://127.0.0.1/api/v3/uploads/x",
        "v3/uploads/x",
        "/v3/uploads/x",
    ):
        assert transport.url(mine) == f"{server.url}/api/v3/uploads/x"
    for bad in ("http://elsewhere.example/api/v3/x", "v3/../v2/ping/", "v3/a\r\nb", "http://127.0.0.1/else"):
        with pytest.raises(LibrarianError):
            transport.url(bad)


def test_proxies_of_the_environment_are_used(serve, transport_to, monkeypatch):
    proxy = serve({})
    proxy.answers["GET http://librarian.invalid:80/api/v3/"] = answer(PING)
    proxy.answers["GET http://librarian.invalid/api/v3/"] = answer(PING)
    monkeypatch.setenv("http_proxy", proxy.url)
    assert Transport("http://librarian.invalid", 80, "me", SECRET).request("GET", "v3/").json() == PING
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(LibrarianTimeoutError, match="proxy"):
        Transport("http://librarian.invalid", 80, "me", SECRET, retries=0).request("GET", "v3/")


def test_a_host_whose_name_is_unknown_is_said_at_once(slept):
    with pytest.raises(LibrarianTimeoutError, match="name of the host") as unknown:
        Transport("http://librarian.invalid", 80, "me", SECRET, sleep=slept.append).request("GET", "v3/")
    assert (unknown.value.code, slept) == ("unknown_host", [])


def test_a_server_that_cannot_prove_who_it_is_is_not_told_the_secret(serve, slept):
    server = serve({})
    with pytest.raises(LibrarianTimeoutError) as untrusted:  # it speaks no TLS at all
        Transport("https://127.0.0.1", server.port, "me", SECRET, sleep=slept.append).request("GET", "v3/")
    assert (untrusted.value.code, slept, server.asked) == ("not_trusted", [], [])


@pytest.mark.parametrize(
    "credentials",
    [
        {"token": "abc\r\nX-Evil: 1"},
        {"token": "a:b"},
        {"token": "a b"},
        {"user": "a:b", "password": "c"},
        {"user": "me", "password": "x", "token": "y"},
    ],
)
def test_credentials_that_would_break_a_header_are_refused_without_being_shown(credentials):
    with pytest.raises(LibrarianError) as refused:
        Transport("http://localhost", 80, **credentials)
    assert "Evil" not in f"{refused.value} {refused.value.suggested_remedy}"


def test_headers_cannot_be_smuggled_in(serve, transport_to):
    server = serve({"GET /api/v3/": answer(PING)})
    transport = transport_to(server)
    for headers in ({"X-Name": "a\r\nX-Evil: 1"}, {"X-Name\r\nX-Evil": "a"}, {"X-Name": "\u2603"}):
        with pytest.raises(LibrarianError, match="could not be"):
            transport.request("GET", "v3/", headers=headers)
    assert server.asked == []


def test_no_text_shows_the_secret(serve, transport_to, slept):
    server = serve({"POST /api/v2/ping/": answer({"detail": "no"}, 401), "GET /api/v3/": CUT})
    transport = transport_to(server)
    errors = []
    for method, path in (("POST", "v2/ping/"), ("GET", "v3/")):
        with pytest.raises((LibrarianError, LibrarianHTTPError)) as failed:
            transport.request(method, path)
        errors.append(failed.value)
    shown = repr(transport) + str(vars(transport)) + "".join(f"{error!r} {error} {vars(error)}" for error in errors)
    assert SECRET not in shown
    assert base64.b64encode(f"me:{SECRET}".encode()).decode() not in shown


# --- Addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "port", "root"),
    [
        ("http://localhost", 5000, "http://localhost:5000/api"),
        ("https://x.org/lib/", 443, "https://x.org:443/lib/api"),
        ("http://localhost:5000", 5000, "http://localhost:5000/api"),
        ("http://[::1]", 80, "http://[::1]:80/api"),
    ],
)
def test_root_of_the_api(host, port, root):
    assert Transport(host, port).root == root


def test_a_host_with_another_port_is_refused_as_scripts_expect_it():
    with pytest.raises(LibrarianHTTPError) as refused:
        Transport("http://h:80", 81)
    assert refused.value.status_code is None


@pytest.mark.parametrize(
    "host", ["localhost", "ftp://x", "http://", "http://u:hunter2@h", "http://h?x=1", "http://a b", "http://h:99999"]
)
def test_what_is_no_address_is_refused(host):
    with pytest.raises(LibrarianError) as refused:
        Transport(host, 80)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("port", [0, 65536, -1, "x", None])
def test_what_is_no_port_is_refused(port):
    with pytest.raises(LibrarianError):
        Transport("http://localhost", port)
