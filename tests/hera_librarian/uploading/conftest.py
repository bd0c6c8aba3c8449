"""One real site for the tests of a module, a client to it, and a proxy in between."""

import hashlib
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from tests.rig.servers import Site

    running = Site("karoo", tmp_path_factory.mktemp("uploads") / "karoo")
    try:
        running.prepare()
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def client_of():
    """`client_of(site)` or `client_of(proxy)`: the administrator's client to whatever has a port."""
    from hera_librarian.client import LibrarianClient
    from tests.rig.servers import ADMIN, ADMIN_PASSWORD

    clients = []

    def make(server, **options):
        user = {"user": ADMIN, "password": ADMIN_PASSWORD} | options
        clients.append(LibrarianClient("http://127.0.0.1", server.port, **user, retries=2))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(client_of, site):
    return client_of(site)


@pytest.fixture
def proxy(site):
    from tests.hera_librarian.proxy import Proxy

    with Proxy(site.port) as between:
        yield between


@pytest.fixture
def memory(tmp_path):
    from hera_librarian.uploading import Memory

    return Memory(tmp_path / "memory")


@pytest.fixture
def make_bytes(tmp_path, request):
    """`make_bytes("a.uvh5", 5_000_000)`: a file of such a size and a name that no other test uses."""

    def make(name: str, size: int) -> Path:
        path = tmp_path / f"{hashlib.sha1(request.node.nodeid.encode()).hexdigest()[:8]}-{name}"
        path.write_bytes(os.urandom(size))
        return path

    return make


@pytest.fixture
def held(site):
    """`held(name)`: what the archive holds under a name, read from its store; None if it holds nothing."""

    def read(name: str) -> bytes | dict[str, bytes] | None:
        found = site.evaluate(
            f"[i.store.backend.locate(i.path) for i in Instance.objects.present().filter(file__name={name!r})]"
        )
        if not found:
            return None
        (place,) = map(Path, found)
        if place.is_dir():
            return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        return place.read_bytes()

    return read
