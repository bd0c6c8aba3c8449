"""The upload page: who may use it, and what it tells its script."""

import json

import pytest

from tests.portal.looking import links_of, queries_of, read, words_of

pytestmark = pytest.mark.django_db


def attributes_of(page, **wanted):
    """Attributes of the one element that has these."""
    [found] = [fields for _, fields in read(page).tags if wanted.items() <= fields.items()]
    return found


def test_those_who_may_add_files_get_the_page_and_others_read_why_not(as_user):
    for level in ("readappend", "readwrite", "admin"):
        page = as_user(level).get("/upload/")
        assert "Drop files or folders here" in words_of(page)
        assert "may not add files" not in words_of(page)
    for level in ("readonly", "callback"):
        page = as_user(level).get("/upload/")
        assert page.status_code == 200
        words = words_of(page)
        assert "Drop files" not in words
        assert f"It has level {level.upper()}; adding files needs READAPPEND." in words
        assert not [fields for tag, fields in read(page).tags if fields.get("type") == "file"]


def test_strangers_are_led_to_the_login_even_where_the_portal_is_public(client, settings):
    settings.LIBRARIAN_PUBLIC_PORTAL = True
    assert client.get("/upload/").url == "/login/?next=/upload/"
    assert "/upload/" not in links_of(client.get("/"))


def test_the_menu_leads_to_it(reader):
    assert "/upload/" in links_of(reader.get("/"))


def test_the_page_tells_its_script_what_it_needs_as_data(as_user, settings):
    settings.LIBRARIAN_DIRECTORY_PRODUCTS = ["*.uv", "<b>&\"'[ab]*"]
    settings.LIBRARIAN_MAX_UPLOAD_SIZE_BYTES = 12345
    page = as_user("readappend").get("/upload/")
    told = attributes_of(page, id="upload")
    assert told["data-endpoint"] == "/api/v3/uploads/"
    assert told["data-file-page"] == "/file/"
    assert json.loads(told["data-products"]) == ["*.uv", "<b>&\"'[ab]*"]
    assert json.loads(told["data-product-items"]) == ["header", "vartable", "visdata"]
    assert told["data-max-bytes"] == "12345"
    sources = [fields["src"] for tag, fields in read(page).tags if tag == "script"]
    assert [source.rpartition("/")[2] for source in sources][-4:] == [
        "tus.min.js",
        "upload-tree.js",
        "upload-tar.js",
        "upload.js",
    ]


def test_without_scripts_it_says_what_to_use_instead(as_user):
    page = as_user("readappend").get("/upload/")
    assert "Uploading on this page needs scripts" in words_of(page)
    assert attributes_of(page, id="upload")["class"].split()[0] == "only-with-script"
    assert "librarian upload" in words_of(page)


def test_it_asks_the_database_nothing(as_user):
    browser = as_user("readappend")
    _, queries = queries_of(lambda: browser.get("/upload/"))
    assert queries == []


def test_a_login_that_has_ended_opens_no_dialog_of_the_browser(client):
    """A page's script is told in JSON; only programs are asked for Basic credentials."""
    asked = client.get("/api/v3/uploads/", headers={"X-Requested-With": "XMLHttpRequest"})
    assert (asked.status_code, asked["WWW-Authenticate"]) == (401, 'Portal realm="Librarian"')
    assert client.get("/api/v3/uploads/")["WWW-Authenticate"].startswith("Basic")
