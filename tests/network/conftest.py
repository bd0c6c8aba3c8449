"""Users of every level, callers of the wire, and what may lie at the address of a peer.

Models are imported inside the fixtures: pytest may read this file before Django is set up.
"""

import pytest


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """On a busy machine counts are held for a while, which must not reach the next test."""
    from django.core.cache import cache

    cache.clear()


@pytest.fixture
def cast(db):
    from tests.make import make_cast

    return make_cast()


@pytest.fixture
def wire(cast):
    from tests.wire.caller import Wire

    return Wire()


@pytest.fixture
def start_standin():
    """`start_standin(...)` runs a StandIn; all stop with the test."""
    from tests.network.standin import StandIn

    running = []

    def start(**options):
        running.append(StandIn(**options))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def standin(start_standin):
    """A server of the protocol that is not ours and knows us as `test_librarian:right`."""
    return start_standin()


@pytest.fixture
def start_raw():
    """`start_raw(behave)` runs a RawStandIn; all stop with the test."""
    from tests.network.standin import RawStandIn

    running = []

    def start(behave):
        running.append(RawStandIn(behave))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def free_port():
    """A port at which nothing listens."""
    from tests.rig.processes import free_port

    return free_port()


@pytest.fixture
def as_user(cast):
    """`as_user("readonly").get("/network/")`: pages as the user of that level sees them."""
    from django.test import Client

    def make(name):
        browser = Client(raise_request_exception=False)
        browser.force_login(cast[name])
        return browser

    return make
