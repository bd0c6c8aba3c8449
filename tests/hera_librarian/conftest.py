"""One real site for the tests of a module that need one but leave it as they found it."""

import pytest


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory):
    from tests.rig.servers import Site

    site = Site("karoo", tmp_path_factory.mktemp("client") / "karoo")
    try:
        site.prepare()
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture
def admin(shared_site):
    from hera_librarian import AdminClient
    from tests.rig.servers import ADMIN, ADMIN_PASSWORD

    with AdminClient("http://127.0.0.1", shared_site.port, ADMIN, ADMIN_PASSWORD) as client:
        yield client
