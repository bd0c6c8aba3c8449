"""Every endpoint of the machine API with every level, against one table. A new endpoint needs a line here."""

import re
from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLResolver

from accounts.levels import Level
from accounts.models import User
from librarian import api_urls

pytestmark = pytest.mark.django_db

# Method and route below `/api/` -> least level. NONE: any credentials, right or wrong, but some.
TABLE: dict[str, Level] = {
    # The wire's levels are those of the protocol.
    "POST v2/ping/": Level.NONE,
    "POST v2/ping/logged": Level.READONLY,
    "POST v2/ping/admin": Level.ADMIN,
    "POST v2/upload/stage": Level.READAPPEND,
    "POST v2/upload/commit": Level.READAPPEND,
    "POST v2/admin/add_file": Level.ADMIN,
    "POST v2/search/file": Level.READONLY,
    "POST v2/search/instance_local": Level.ADMIN,
    "POST v2/search/error": Level.ADMIN,
    "POST v2/error/clear": Level.ADMIN,
    "POST v2/users/create": Level.ADMIN,
    "POST v2/users/update": Level.ADMIN,
    "POST v2/users/delete": Level.ADMIN,
    "POST v2/users/get": Level.ADMIN,
    "POST v2/users/password_update": Level.READONLY,
    "POST v2/admin/stores/list": Level.ADMIN,
    "POST v2/admin/stores/state_change": Level.ADMIN,
    "POST v2/admin/stores/manifest": Level.ADMIN,
    "POST v2/admin/instance/delete_local": Level.ADMIN,
    "POST v2/clone/stage": Level.READAPPEND,
    "POST v2/clone/batch_stage": Level.READAPPEND,
    "POST v2/clone/ongoing": Level.READAPPEND,
    "POST v2/clone/staged": Level.CALLBACK,
    "POST v2/clone/fail": Level.READAPPEND,
    "POST v2/clone/holdings": Level.READONLY,
    "POST v2/clone/complete": Level.CALLBACK,
    "POST v2/clone/batch_complete": Level.CALLBACK,
    "POST v2/checkin/update": Level.CALLBACK,
    "POST v2/checkin/status": Level.CALLBACK,
    "POST v2/search/instance_remote": Level.ADMIN,
    "POST v2/admin/instance/delete_remote": Level.ADMIN,
    "POST v2/admin/librarians/list": Level.ADMIN,
    "POST v2/admin/librarians/add": Level.ADMIN,
    "POST v2/admin/librarians/remove": Level.ADMIN,
    "POST v2/admin/librarians/transfer_status/change": Level.ADMIN,
    "POST v2/admin/librarians/transfer_status/set": Level.ADMIN,
    "GET v3/": Level.READONLY,
    "GET v3/uploads/": Level.READAPPEND,
    "POST v3/uploads/": Level.READAPPEND,
    "GET v3/uploads/<pk>/": Level.READAPPEND,
    "PATCH v3/uploads/<pk>/": Level.READAPPEND,
    "DELETE v3/uploads/<pk>/": Level.READAPPEND,
    "POST v3/uploads/<pk>/commit": Level.READAPPEND,
    "GET v3/files/": Level.READONLY,
    "GET v3/files/archive": Level.READONLY,
    "POST v3/files/archive": Level.READONLY,
    "GET v3/files/<name>/content": Level.READONLY,
    "GET v3/files/<name>/members": Level.READONLY,
    "GET v3/files/<name>/events": Level.READONLY,
    "GET v3/files/<name>/": Level.READONLY,
    "GET v3/files/<name>": Level.READONLY,
    "GET v3/instances/": Level.READONLY,
    "GET v3/events/": Level.READONLY,
    "GET v3/stores/": Level.READONLY,
    "GET v3/stores/<name>/": Level.READONLY,
    "GET v3/store-copies/": Level.READONLY,
    "POST v3/store-copies/": Level.ADMIN,
    "GET v3/store-copies/<pk>/": Level.READONLY,
    "POST v3/store-copies/<pk>/retry/": Level.ADMIN,
    "POST v3/store-copies/<pk>/cancel/": Level.ADMIN,
    "GET v3/offloads/": Level.READONLY,
    "POST v3/offloads/": Level.ADMIN,
    "GET v3/offloads/<pk>/": Level.READONLY,
    "POST v3/offloads/<pk>/pause/": Level.ADMIN,
    "POST v3/offloads/<pk>/resume/": Level.ADMIN,
    "POST v3/offloads/<pk>/stop/": Level.ADMIN,
    "GET v3/shipments/": Level.READONLY,
    "POST v3/shipments/": Level.ADMIN,
    "GET v3/shipments/<pk>/": Level.READONLY,
    "GET v3/shipments/<pk>/contents/": Level.READONLY,
    "POST v3/shipments/<pk>/hand-over/": Level.ADMIN,
    "POST v3/shipments/<pk>/received/": Level.ADMIN,
    "POST v3/shipments/<pk>/note/": Level.ADMIN,
    "POST v3/shipments/<pk>/lost/": Level.ADMIN,
    "GET v3/peers/": Level.READONLY,
    "GET v3/peers/<name>/": Level.READONLY,
    "GET v3/transfers/": Level.READONLY,
    "GET v3/transfers/outgoing/": Level.READONLY,
    "POST v3/transfers/outgoing/": Level.ADMIN,
    "GET v3/transfers/outgoing/<pk>/": Level.READONLY,
    "POST v3/transfers/outgoing/<pk>/retry/": Level.ADMIN,
    "POST v3/transfers/outgoing/<pk>/cancel/": Level.ADMIN,
    "GET v3/transfers/incoming/": Level.READONLY,
    "GET v3/transfers/incoming/<pk>/": Level.READONLY,
    "POST v3/transfers/incoming/<pk>/cancel/": Level.ADMIN,
    "GET v3/remote-instances/": Level.READONLY,
    "GET v3/standing-orders/": Level.READONLY,
    "POST v3/standing-orders/": Level.ADMIN,
    "GET v3/standing-orders/<pk>/": Level.READONLY,
    "PATCH v3/standing-orders/<pk>/": Level.ADMIN,
    "DELETE v3/standing-orders/<pk>/": Level.ADMIN,
    "GET v3/users/": Level.ADMIN,
    "POST v3/users/": Level.ADMIN,
    "GET v3/users/me/": Level.READONLY,
    "GET v3/users/<pk>/": Level.ADMIN,
    "PATCH v3/users/<pk>/": Level.ADMIN,
    "GET v3/tokens/": Level.READONLY,
    "POST v3/tokens/": Level.READONLY,
    "DELETE v3/tokens/<pk>/": Level.READONLY,
    "GET v3/tokens/<pk>/": Level.READONLY,
    "GET v3/errors/": Level.READWRITE,
    "GET v3/errors/summary/": Level.READONLY,
    "GET v3/errors/<pk>/": Level.READWRITE,
    "POST v3/errors/<pk>/clear/": Level.READWRITE,
    "GET v3/jobs/": Level.READONLY,
    "GET v3/jobs/runs/": Level.READWRITE,
    "POST v3/jobs/<name>/run/": Level.ADMIN,
    "GET v3/audit/": Level.ADMIN,
    "POST v3/pairing/": Level.NONE,
    "POST v3/pairing/check/": Level.CALLBACK,
    "GET v3/schema/": Level.READONLY,
    "GET v3/docs/": Level.READONLY,
}

# Routes that ask nobody who they are: they answer 404, or where the right ending is.
OPEN = {r"v2/^.*\Z"}

# Opened by the code of an invitation, which comes as a bearer token: no account, token or session opens it.
BY_INVITATION = {"POST v3/pairing/"}

# For people: strangers are sent to the login, and refusals are no JSON.
PAGES = {"GET v3/docs/"}

SAMPLES = {"pk": "999999", "name": "nothing"}


def endpoints(patterns: list, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every route below `patterns` with its view."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from endpoints(pattern.url_patterns, route)
        else:
            yield route, pattern.callback


def methods_of(callback) -> list[str]:
    """Methods that a view of the REST framework answers, but those that only describe others."""
    if hasattr(callback, "actions"):
        found = callback.actions
    else:
        found = [name for name in callback.cls.http_method_names if hasattr(callback.cls, name)]
    return sorted({name.upper() for name in found} - {"HEAD", "OPTIONS"})


def found() -> set[str]:
    """The lines that the table must have."""
    routes = {route: callback for route, callback in endpoints(api_urls.urlpatterns) if route not in OPEN}
    return {f"{method} {readable(route)}" for route, callback in routes.items() for method in methods_of(callback)}


def readable(route: str) -> str:
    """A route without what only the URL resolver needs: `^users/(?P<pk>[0-9]{1,18})/$` is `users/<pk>/`."""
    route = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", route)
    return re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", route).replace("^", "").removesuffix("$").removesuffix(r"\Z")


def address_of(route: str) -> str:
    return "/api/" + re.sub(r"<(\w+)>", lambda match: SAMPLES[match[1]], route)


def ask(call, line, **caller):
    method, route = line.split(" ")
    body = None if method in ("GET", "DELETE") else {}
    return call(address_of(route), body, method=method.lower(), **caller)


def assert_opens(answer, line, caller):
    assert answer.status_code not in (401, 403, 429), f"{line} refuses {caller}: {answer.content[:200]}"
    assert answer.status_code < 500, f"{line} fails for {caller}: {answer.content[:200]}"


def assert_closed(answer, line, caller, *, known):
    if line in PAGES and not known:
        assert answer.status_code == 302
        assert answer.url.startswith("/login/")
        return
    expected = 403 if known and " v3/" in line else 401  # the wire has no 403
    assert answer.status_code == expected, f"{line} answers {caller} with {answer.status_code}"
    assert line in PAGES or "suggested_remedy" in answer.content.decode()
    if expected == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_every_endpoint_has_a_line_and_every_line_an_endpoint():
    assert found() == set(TABLE)


@pytest.mark.parametrize("line", TABLE)
def test_strangers_get_nowhere(db, call, line):
    assert_closed(ask(call, line), line, "a stranger", known=False)
    wrong = ask(call, line, user="nobody", password="wrong")
    if TABLE[line] == Level.NONE:
        assert_opens(wrong, line, "any credentials")
    else:
        assert_closed(wrong, line, "wrong credentials", known=False)


@pytest.mark.parametrize("line", TABLE)
def test_each_level_gets_as_far_as_the_table_says(cast, call, token_of, line):
    for level in Level:
        tokens = {} if level == Level.NONE else {f"a token with {level.name}": token_of(cast["admin"], level)}
        callers = {level.name: {"user": level.name.lower()}} | {who: {"token": text} for who, text in tokens.items()}
        for caller, credentials in callers.items():
            answer = ask(call, line, **credentials)
            if level >= TABLE[line]:
                assert_opens(answer, line, caller)
            else:
                assert_closed(answer, line, caller, known=True)


@pytest.mark.parametrize("line", TABLE)
def test_a_closed_account_gets_nowhere(cast, call, line):
    User.objects.filter(username="readwrite").update(is_active=False)
    if TABLE[line] > Level.NONE:
        assert_closed(ask(call, line, user="readwrite"), line, "a closed account", known=False)


@pytest.mark.parametrize("line", [line for line in TABLE if " v2/" in line])
def test_the_portals_session_never_opens_the_wire(cast, line):
    browser = Client()
    browser.force_login(cast["admin"])
    answer = browser.post(address_of(line.split(" ")[1]), "{}", content_type="application/json")
    assert_closed(answer, line, "a session", known=False)


@pytest.mark.parametrize("line", [line for line in TABLE if " v3/" in line and line not in BY_INVITATION])
def test_the_portals_session_opens_version_3_but_changes_nothing_without_csrf(cast, line):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast["admin"])
    method, route = line.split(" ")
    answer = browser.generic(method, address_of(route), "{}", content_type="application/json")
    if method == "GET":
        assert_opens(answer, line, "a session")
    else:
        assert answer.status_code == 403
        assert "CSRF" in answer.json()["reason"]


def test_open_routes_are_no_endpoints(call, db):
    answer = call("/api/v2/no/such/thing", {})
    assert answer.status_code == 404
    assert {route for route, callback in endpoints(api_urls.urlpatterns) if not hasattr(callback, "cls")} == OPEN
