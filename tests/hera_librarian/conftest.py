"""One real site for the tests of a module that need one but leave it as they found it.

The client cannot tell which database a site has, and all it asks of a site is tested on both elsewhere: so everything
here runs once.
"""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.database_independent)


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
