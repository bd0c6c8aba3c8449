"""The portal's door."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from accounts.models import User
from accounts.services import set_active
from tests.make import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.accounts.urls"), pytest.mark.usefixtures("cast")]


@pytest.fixture
def as_user(cast):
    def make(name):
        browser = Client()
        browser.force_login(cast[name])
        return browser

    return make


def test_a_page_sends_strangers_to_the_login_and_back(client):
    answer = client.get("/page/?name=zen.%2A&next=//evil.org")
    assert answer.status_code == 302
    target = urlsplit(answer.url)
    assert target.path == "/login/"
    assert parse_qs(target.query)["next"] == ["/page/?name=zen.%2A&next=//evil.org"]
    back = client.post(answer.url, {"username": "readonly", "password": PASSWORD})
    assert back.url == "/page/?name=zen.%2A&next=//evil.org"


def test_the_login_never_sends_to_another_site(client):
    answer = client.post("/login/?next=//evil.org/", {"username": "readonly", "password": PASSWORD})
    assert answer.url == "/"


def test_after_logging_in_from_a_refused_change_nothing_is_replayed(client):
    answer = client.post("/page/")
    assert parse_qs(urlsplit(answer.url).query)["next"] == ["/"]


def test_a_fragment_sends_the_whole_page_to_the_login(client):
    answer = client.get("/page/", headers={"HX-Request": "true"})
    assert answer.headers["HX-Redirect"] == "/login/?next=/page/"


@pytest.mark.parametrize("path", ["/login/", "/open/", "/health/live", "/admin/login/"])
def test_what_everybody_may_see(client, path):
    assert client.get(path).status_code == 200


def test_the_machine_api_and_the_staff_admin_ask_in_their_own_way(client):
    assert client.get("/api/v3/whoami").status_code == 401
    assert client.get("/admin/").url.startswith("/admin/login/")


def test_a_reader_gets_in_and_the_use_is_noted(as_user):
    assert as_user("readonly").get("/page/").content == b"a page"
    assert User.objects.get(username="readonly").last_used_at is not None


def test_an_account_without_a_level_is_told_so(as_user):
    answer = as_user("none").get("/page/")
    assert answer.status_code == 403
    page = answer.content.decode()
    assert "READONLY" in page
    assert "NONE" in page


def test_a_closed_account_is_a_stranger_again(as_user, cast):
    browser = as_user("readonly")
    set_active(actor=None, user=cast["readonly"], active=False)
    assert browser.get("/page/").url.startswith("/login/")


def test_pages_that_need_more_say_so(as_user):
    assert as_user("readonly").get("/writers/").status_code == 403
    assert as_user("readwrite").get("/writers/").status_code == 200


def test_a_public_portal_shows_its_pages_but_changes_nothing(client, settings, as_user):
    settings.LIBRARIAN_PUBLIC_PORTAL = True
    assert client.get("/page/").status_code == 200
    assert client.head("/page/").status_code == 200
    assert client.post("/page/").status_code == 302
    assert client.get("/writers/").status_code == 302
    assert as_user("none").post("/page/").status_code == 403


def test_a_login_below_a_path_prefix_keeps_it(client, settings):
    answer = client.get("/page/", SCRIPT_NAME="/librarian")
    assert parse_qs(urlsplit(answer.url).query)["next"] == ["/librarian/page/"]
    assert client.get("/api/v3/whoami", SCRIPT_NAME="/librarian").status_code == 401
