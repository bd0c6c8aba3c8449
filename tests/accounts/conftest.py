"""A cast of users, one of each level, and callers that sign in as one of them.

Models are imported inside the fixtures: pytest reads the conftest of a folder it is given before Django is set up.
"""

from datetime import timedelta

import pytest

from hera_librarian.authenticator import authorization_header


@pytest.fixture(autouse=True)
def _nothing_remembered():
    from accounts.credentials import PROVEN

    PROVEN.clear()


@pytest.fixture
def cast(db):
    from tests.make import make_cast

    return make_cast()


@pytest.fixture
def call():
    """`call("/api/v3/whoami", user="admin")`: an answer of the machine API."""
    from rest_framework.test import APIClient

    from tests.make import PASSWORD

    def make(path, body=None, *, user=None, password=PASSWORD, token=None, method=None, address="10.0.0.1", **extra):
        if user is not None:
            extra["HTTP_AUTHORIZATION"] = authorization_header(f"{user}:{password}")
        if token is not None:
            extra["HTTP_AUTHORIZATION"] = authorization_header(token)
        client = APIClient(REMOTE_ADDR=address)
        method = method or ("get" if body is None else "post")
        options = {} if body is None else {"data": body, "format": "json"}
        return getattr(client, method)(path, **options, **extra)

    return make


@pytest.fixture
def token_of():
    """`token_of(user, level)`: the text of a fresh token."""
    from accounts.services import issue_token

    number = iter(range(1000))

    def make(user, level, **options):
        options = {"actor": None, "name": f"token {next(number)}", "expires_at": None, **options}
        return issue_token(user=user, level=level, **options)[1]

    return make


@pytest.fixture
def hashes(monkeypatch):
    """The password hashes computed from now on, one entry each."""
    from django.contrib.auth.hashers import MD5PasswordHasher

    computed = []
    encode = MD5PasswordHasher.encode

    def counted(self, password, salt):
        computed.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    return computed


@pytest.fixture
def quick_lock(settings):
    """Lock after three wrong passwords, for a quarter of an hour."""
    settings.AXES_FAILURE_LIMIT = 3
    settings.AXES_COOLOFF_TIME = timedelta(minutes=15)
