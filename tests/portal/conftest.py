"""Browsers without scripts, logged in as one of the cast."""

import pytest


@pytest.fixture
def cast(db):
    from tests.make import make_cast

    return make_cast()


@pytest.fixture
def as_user(cast):
    """`as_user("readonly").get("/")`: pages as the user of that level sees them."""
    from django.test import Client

    def make(name):
        browser = Client(raise_request_exception=False)
        browser.force_login(cast[name])
        return browser

    return make


@pytest.fixture
def reader(as_user):
    return as_user("readonly")


@pytest.fixture
def store(db, tmp_path):
    from tests.make import make_store

    return make_store(tmp_path, name="pot1")
