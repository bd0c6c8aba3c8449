"""One real site for the tests of a module, a proxy that can take it away, and watchers of a directory."""

import threading
import time

import pytest


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from tests.rig.servers import Site

    running = Site("karoo", tmp_path_factory.mktemp("watching") / "karoo")
    try:
        running.prepare()
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def proxy(site):
    from tests.hera_librarian.proxy import Proxy

    with Proxy(site.port) as between:
        yield between


class Clock:
    """A clock that also runs ahead when told to, so that nobody waits for minutes."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        return time.monotonic() + self.ahead


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watched(tmp_path):
    (tmp_path / "watched").mkdir()
    return tmp_path / "watched"


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def make_watcher(watched, spool, proxy, clock):
    """`make_watcher(settle_seconds=0)`: a watcher of `watched` that reaches the site through the proxy."""
    from hera_librarian.client import LibrarianClient
    from hera_librarian.watching import Watcher
    from tests.rig.servers import ADMIN, ADMIN_PASSWORD

    def new_client():
        return LibrarianClient("http://127.0.0.1", proxy.port, ADMIN, ADMIN_PASSWORD, retries=0, timeout=(5, 60))

    def make(**options):
        options = {"settle_seconds": 0.0, "interval_seconds": 0.02, "way": "http", "clock": clock} | options
        return Watcher(watched, options.pop("new_client", new_client), spool, **options)

    return make


@pytest.fixture
def running(make_watcher):
    """`running(...)`: a watcher that runs in a thread until the test ends; `.until(condition)` waits for its status."""
    started = []

    class Running:
        def __init__(self, **options):
            self.watcher = make_watcher(**options)
            self.thread = threading.Thread(target=self.watcher.run)
            self.thread.start()

        def until(self, is_so, timeout_seconds=60):
            deadline = time.monotonic() + timeout_seconds
            while True:
                status = self.status()
                if status is not None and is_so(status):
                    return status
                assert time.monotonic() < deadline, status
                assert self.thread.is_alive(), status
                time.sleep(0.02)  # the watcher is another thread with a rhythm of its own

        def status(self):
            from hera_librarian.exceptions import LibrarianError

            try:
                return self.watcher.status()
            except LibrarianError:
                return None  # its journal is not there yet

        def stop(self):
            self.watcher.stop()
            self.thread.join(60)
            assert not self.thread.is_alive()

    def start(**options):
        started.append(Running(**options))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def archived(site):
    """`archived("prefix")`: names of the archive that begin so, each with how many copies and deliveries there are."""

    def read(prefix: str) -> dict[str, list[int]]:
        return site.evaluate(
            "{f.name: [f.instances.present().count(), "
            "Upload.objects.filter(file=f).exclude(outcome='already here').count()] "
            f"for f in File.objects.filter(name__startswith={prefix!r})}}"
        )

    return read
