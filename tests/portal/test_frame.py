"""What holds for every page: who may see it, the clock, the error pages, the policy, the shipped files."""

import hashlib
import re
from pathlib import Path

import pytest
from django.conf import settings as site_settings
from django.test import Client
from django.urls import get_resolver

from librarian.common.inbox import report_error
from tests.make import make_file, make_user
from tests.portal.looking import links_of, read, words_of

pytestmark = pytest.mark.django_db
PAGES = ["/", "/files/", "/file/zen.1", "/upload/", "/stores/", "/stores/pot1/", "/errors/", "/errors/1/", "/jobs/",
         "/jobs/heartbeat/", "/account/", "/account/password"]  # fmt: skip
STATIC = Path(site_settings.BASE_DIR) / "static"


@pytest.fixture
def filled(store):
    make_file("zen.1", store=store)
    report_error(severity="error", category="transfer", code="some", message="x")


def pages_with_the_right_error(pages):
    from librarian.common.models import ErrorRecord

    return [page.replace("/errors/1/", f"/errors/{ErrorRecord.objects.get().pk}/") for page in pages]


def test_pages_need_a_login_at_readonly(filled, client, as_user):
    for page in pages_with_the_right_error(PAGES):
        assert client.get(page).url.startswith("/login/?next="), page
        assert as_user("none").get(page).status_code == 403, page
        for level in ("readonly", "callback", "readappend", "readwrite", "admin"):
            assert as_user(level).get(page).status_code == 200, (page, level)


def test_a_public_portal_shows_strangers_what_readers_see_and_nothing_of_accounts(filled, client, settings):
    settings.LIBRARIAN_PUBLIC_PORTAL = True
    for page in pages_with_the_right_error(PAGES):
        expected = 302 if page.startswith(("/account", "/upload")) else 200
        assert client.get(page).status_code == expected, page
    page = client.get("/")
    assert "/account/" not in links_of(page)
    assert "/login/" in links_of(page)


def test_links_lead_somewhere(filled, as_user):
    browser = as_user("admin")
    seen, waiting = set(), ["/"]
    while waiting and len(seen) < 150:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        page = browser.get(address)
        assert page.status_code in (200, 302), address
        if page.status_code == 200 and not page.streaming and page.headers["Content-Type"].startswith("text/html"):
            for link in links_of(page):
                if link.startswith("?"):
                    link = address.partition("?")[0] + link
                if link.startswith("/") and not link.startswith("/admin/"):
                    waiting.append(link.partition("#")[0])
    assert len(seen) > 15


def test_every_page_shows_the_time_and_keeps_the_policy(filled, reader):
    for page in pages_with_the_right_error(PAGES):
        answer = reader.get(page)
        words = words_of(answer)
        assert re.search(r"UTC 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d JD 24\d{5}\.\d{5} SAST \d\d:\d\d LST \d\dh \d\dm", words)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for tag, attributes in read(answer).tags:
            assert "style" not in attributes, (page, tag)
            assert not [name for name in attributes if name.startswith("on")], (page, tag)
            assert tag != "style"
            assert tag != "script" or attributes.get("src", "").startswith("/static/")
            for name in ("src", "href", "action"):
                assert not re.match(r"(https?:)?//", attributes.get(name) or "", re.IGNORECASE), (page, attributes)


def test_every_field_has_a_label_and_every_page_one_heading(filled, reader):
    for page in pages_with_the_right_error([*PAGES, "/login/"]):
        browser = Client() if page == "/login/" else reader
        tags = read(browser.get(page)).tags
        assert len([tag for tag, _ in tags if tag == "h1"]) == 1, page
        labelled = {attributes.get("for") for tag, attributes in tags if tag == "label"}
        for tag, attributes in tags:
            if tag in ("input", "select") and attributes.get("type") != "hidden" and "hidden" not in attributes:
                assert attributes.get("id") in labelled, (page, attributes)


def test_errors_are_pages_of_the_same_frame(reader, monkeypatch):
    page = reader.get("/nosuch")
    assert page.status_code == 404
    assert "There is nothing here" in words_of(page)
    assert "UTC" in words_of(page)

    def broken(*args, **kwargs):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("files.views.search.with_states", broken)
    page = reader.get("/files/")
    assert page.status_code == 500
    assert "Something broke inside this server" in words_of(page)
    assert "secret detail" not in page.content.decode()


def test_a_form_of_another_site_is_refused_with_a_page(db):
    make_user("ada")
    browser = Client(enforce_csrf_checks=True)
    page = browser.post("/login/", {"username": "ada", "password": "x"})
    assert page.status_code == 403
    assert "This form is too old" in words_of(page)


def test_every_portal_route_is_named():
    unnamed = [str(route.pattern) for route in get_resolver().url_patterns if hasattr(route, "name") and not route.name]
    assert not unnamed


@pytest.mark.database_independent
def test_scripts_of_others_are_the_ones_that_the_list_says():
    listed = dict(
        re.findall(r"^\| `([^`]+\.js)` .*`([0-9a-f]{64})` \|$", (STATIC / "vendor/README.md").read_text(), re.M)
    )
    assert listed
    assert set(listed) == {path.name for path in (STATIC / "vendor").glob("*.js")}
    for name, digest in listed.items():
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest


@pytest.mark.database_independent
def test_style_sheets_ask_nobody_else_and_dark_has_every_colour():
    for sheet in (STATIC / "css").rglob("*.css"):
        assert not re.search(r"https?:|url\(['\"]?//", sheet.read_text()), sheet
    text = (STATIC / "css/tokens.css").read_text()
    wish, choice = text.split("@media (prefers-color-scheme: dark)")[1].split(':root[data-theme="dark"]')
    assert re.findall(r"--[\w-]+: [^;]+;", wish) == re.findall(r"--[\w-]+: [^;]+;", choice)
