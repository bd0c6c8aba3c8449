"""Users of every level, a real store, and deliveries through the wire protocol.

Models are imported inside the fixtures: pytest may read this file before Django is set up.
"""

import pytest


@pytest.fixture
def cast(db):
    from tests.make import make_cast

    return make_cast()


@pytest.fixture
def store(db, tmp_path):
    from tests.make import make_store

    return make_store(tmp_path, name="local_store")


@pytest.fixture
def wire(cast):
    from tests.wire.caller import Wire

    return Wire()


@pytest.fixture
def begin(wire, store):
    """`begin(name, content)` stages a product without writing its bytes."""
    from tests.wire.caller import HELLO, Delivery

    def make(name="hello.txt", content=HELLO, *, user="readappend", **changes):
        return Delivery(wire, name, content, user).stage(**changes)

    return make


@pytest.fixture
def deliver(begin):
    """`deliver(name, content)` puts a product into the archive and returns its delivery."""
    from tests.wire.caller import HELLO

    def make(name="hello.txt", content=HELLO, *, user="readappend", **changes):
        delivery = begin(name, content, user=user).write()
        response = delivery.commit(**changes)
        assert response.status_code == 200, response.content
        return delivery

    return make


@pytest.fixture
def nothing_left(store):
    """A function that asserts that no live upload and nothing in staging is left on any store."""
    from files.models import Upload
    from stores.models import Store

    def check():
        assert not Upload.objects.live().exists()
        for each in Store.objects.all():
            assert list(each.backend.list_staging()) == []

    return check
