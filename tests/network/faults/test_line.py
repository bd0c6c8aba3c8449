"""The spoilt line itself: what each fault lets through, and what the caller sees of it."""

import http.client

import pytest

from tests.network.faults.proxy import ANSWER_LOST, CALL_LOST, DOUBLED, LATE, Line
from tests.network.standin import StandIn

pytestmark = pytest.mark.database_independent


@pytest.fixture
def site():
    running = StandIn()
    yield running
    running.stop()


@pytest.fixture
def line(site):
    with Line(site.port) as running:
        yield running


def ping(line):
    """Status of one call; None when the connection was cut."""
    connection = http.client.HTTPConnection("127.0.0.1", line.port, timeout=10)
    try:
        connection.request("POST", "/api/v2/ping/", b"{}", {"Content-Type": "application/json"})
        return connection.getresponse().status
    except (http.client.RemoteDisconnected, ConnectionResetError):
        return None
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("what", "seen", "arrived"), [("", 200, 1), (CALL_LOST, None, 0), (ANSWER_LOST, None, 1), (DOUBLED, 200, 2)]
)
def test_a_fault_befalls_one_call(site, line, what, seen, arrived):
    line.spoil(2, what)
    assert [ping(line), ping(line), ping(line)] == [200, seen, 200]
    assert len(site.asked) == 2 + arrived
    assert not line.clear()


def test_a_late_call_arrives_when_it_is_delivered(site, line):
    line.spoil_named("POST v2/ping/", LATE)
    assert ping(line) is None
    assert site.asked == []
    assert line.deliver() == 1
    assert site.paths == ["v2/ping/"]
    assert line.deliver() == 0


def test_a_line_that_is_down_cuts_every_call(site, line):
    line.take_down()
    assert [ping(line), ping(line)] == [None, None]
    line.take_down(on=False)
    assert ping(line) == 200
    assert len(site.asked) == 1
    line.spoil(5, CALL_LOST)
    assert line.clear()
