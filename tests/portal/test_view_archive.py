"""Download of a selection from the page of results, without scripts."""

import io
import json
import tarfile

import pytest
from django.test import Client

from tests.make import make_file
from tests.portal.looking import links_of, queries_of, read, words_of

pytestmark = pytest.mark.django_db


def names_in(answer):
    assert answer.status_code == 200, answer.content
    body = b"".join(answer.streaming_content)
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        names = archive.getnames()
        told = json.load(archive.extractfile("manifest.json"))
    assert names[-2:] == ["manifest.json", "SHA256SUMS"]
    assert told["left_out_count"] == 0
    return names[:-2]


def test_checked_rows_come_as_one_tar(reader, store):
    for number in range(4):
        make_file(f"zen.{number} ü&'\"", store=store)
    page = reader.get("/files/", {"name_contains": "zen"})
    boxes = [fields for tag, fields in read(page).tags if fields.get("type") == "checkbox" and fields.get("name")]
    assert {box["name"] for box in boxes} == {"name"}
    assert {box["form"] for box in boxes} == {"picks"}
    [form] = [fields for tag, fields in read(page).tags if tag == "form" and fields.get("id") == "picks"]
    assert (form["method"], form["action"]) == ("post", "/files/archive")
    chosen = [box["value"] for box in boxes if "zen.1" in box["value"] or "zen.3" in box["value"]]
    answer = reader.post(form["action"], {"name": chosen})
    assert sorted(names_in(answer)) == ["zen.1 ü&'\"", "zen.3 ü&'\""]
    assert answer["Content-Disposition"].startswith("attachment; filename=")


def test_everything_found_comes_as_one_tar_in_whatever_order_it_is_shown(reader, store):
    for number in range(60):
        make_file(f"zen.{number:02}", store=store)
    make_file("other", store=store)
    page = reader.get("/files/", {"name_contains": "zen", "ordering": "name"})
    [address] = [link for link in links_of(page) if link.startswith("/files/archive")]
    assert len(names_in(reader.get(address))) == 60
    assert "Download all: 60 files" in words_of(page)


def test_what_cannot_be_sent_is_a_page_that_says_why(reader, store, settings):
    settings.LIBRARIAN_MAX_ARCHIVE_FILES = 2
    for number in range(3):
        make_file(f"zen.{number}", store=store)
    for answer, status, says in (
        (reader.post("/files/archive", {}), 400, "No file is checked."),
        (reader.get("/files/archive", {"size_min": "abc"}), 400, "is not a whole number"),
        (reader.get("/files/archive", {"name_contains": "nothing"}), 404, "No file is like that."),
        (reader.get("/files/archive"), 413, "more than 2 files"),
        (reader.post("/files/archive", {"name": "nosuch"}), 404, "There is no file nosuch"),
    ):
        assert answer.status_code == status
        assert says in words_of(answer)


def test_strangers_get_no_bytes_and_no_boxes_even_where_the_portal_is_public(client, store, settings):
    make_file("zen.1", store=store)
    settings.LIBRARIAN_PUBLIC_PORTAL = True
    assert client.get("/files/archive").url.startswith("/login/")
    assert client.post("/files/archive", {"name": "zen.1"}).url.startswith("/login/")
    page = client.get("/files/")
    assert not [link for link in links_of(page) if "archive" in link]
    assert not [fields for _, fields in read(page).tags if fields.get("type") == "checkbox"]


def test_a_selection_needs_the_csrf_token(cast, store):
    make_file("zen.1", store=store)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast["readonly"])
    assert browser.post("/files/archive", {"name": "zen.1"}).status_code == 403


def test_it_costs_few_queries(reader, store):
    for number in range(30):
        make_file(f"zen.{number}", store=store)
    names, queries = queries_of(lambda: names_in(reader.get("/files/archive")))
    assert len(names) == 30
    assert len(queries) <= 4, queries  # stores of the form; keys, files, copies
