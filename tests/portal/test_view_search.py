"""The search page as people use it, without scripts."""

import csv
import io
import json
import tracemalloc
from datetime import timedelta
from urllib.parse import quote, unquote

import pytest
from django.utils import timezone

from files.models import File
from tests.make import make_file, make_instance, make_remote_instance, make_store
from tests.portal.looking import links_of, queries_of, read, words_of

pytestmark = pytest.mark.django_db

HOSTILE = "<img src=x onerror=alert(1)>&'\".log"


def test_a_search_shows_what_it_finds_and_only_that(reader, store):
    make_file("zen.2461364.1.sum.uvh5", store=store)
    make_file("zen.2461364.1.diff.uvh5", store=store)
    page = reader.get("/files/", {"name_contains": "sum"})
    assert page.status_code == 200
    assert "1 file" in words_of(page)
    assert "/file/zen.2461364.1.sum.uvh5" in links_of(page)
    assert "/file/zen.2461364.1.diff.uvh5" not in links_of(page)


def test_every_row_says_where_the_copies_are(reader, store, tmp_path):
    make_file("one", store=store)
    many = make_file("many", store=store)
    make_instance(many, make_store(tmp_path, name="pot2"))
    make_remote_instance(make_file("both", store=store))
    make_remote_instance(make_file("elsewhere"))
    make_file("nowhere")
    words = words_of(reader.get("/files/"))
    for label in ("one copy", "copies here", "here and elsewhere", "only elsewhere", "no copy"):
        assert label in words


def test_hostile_names_are_words_and_never_markup(reader, store):
    make_file(HOSTILE, store=store)
    for path in ("/", "/files/", f"/file/{quote(HOSTILE)}", "/stores/pot1/"):
        page = reader.get(path)
        assert page.status_code == 200, path
        assert HOSTILE in words_of(page)
        assert not [tag for tag, attributes in read(page).tags if "onerror" in attributes]
    assert f"/file/{HOSTILE}" in [unquote(link) for link in links_of(reader.get("/files/"))]


def test_what_is_typed_comes_back_as_words(reader):
    page = reader.get("/files/", {"name_contains": HOSTILE})
    inputs = [attributes for tag, attributes in read(page).tags if tag == "input"]
    assert [field["value"] for field in inputs if field.get("name") == "name_contains"] == [HOSTILE]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"size_min": "abc"}, "is not a whole number"),
        ({"registered_after": "yesterday"}, "is not a time"),
        ({"store": "nosuch"}, "is not the name of a store"),
        ({"name_glob": "zen[1]"}, "sets in brackets are not supported"),
        ({"nonsense": "1"}, "is no parameter of this address"),
        ({"ordering": "password"}, "can be sorted by"),
        ({"cursor": "garbage"}, "not a cursor of this list"),
        ({"name_contains": "a\x00b"}, "characters that no name holds"),
        ({"size_min": str(2**70)}, "is not a whole number"),
    ],
)
def test_bad_input_is_explained_and_finds_nothing(reader, store, query, says):
    make_file("zen.1", store=store)
    page = reader.get("/files/", query)
    assert page.status_code == 400
    assert says in words_of(page)
    assert "/file/zen.1" not in links_of(page)


def test_a_plain_form_leaves_no_empty_filters_in_the_address(reader):
    page = reader.get("/files/?name_contains=zen&registered_after=&store=&ordering=")
    assert page.status_code == 302
    assert page.url == "/files/?name_contains=zen"
    assert reader.get("/files/?name_contains=&store=").url == "/files/"


def test_scripts_get_the_results_alone_and_a_clean_address(reader, store):
    make_file("zen.1", store=store)
    page = reader.get("/files/?name_contains=zen&store=", headers={"HX-Request": "true"})
    assert "<html" not in page.content.decode()
    assert page.headers["HX-Push-Url"] == "/files/?name_contains=zen"
    assert "HX-Request" in page.headers["Vary"]


def test_pages_follow_each_other_in_every_order(reader, store):
    names = [make_file(f"zen.{number:03}").name for number in range(120)]
    for ordering in ("name", "-name", "size_bytes", "-registered_at", "obsid"):
        seen, address = [], f"/files/?ordering={ordering}"
        for _ in range(5):
            page = reader.get(address)
            seen += [link.removeprefix("/file/") for link in links_of(page) if link.startswith("/file/")]
            onward = [link for link in links_of(page) if "cursor=" in link]
            more = [attributes["href"] for tag, attributes in read(page).tags if attributes.get("rel") == "next"]
            assert onward or not more
            if not more:
                break
            address = f"/files/{more[0]}"
        assert sorted(seen) == names, ordering


def test_a_heading_sorts_and_turns_round(reader, store):
    make_file("zen.1", store=store)
    page = reader.get("/files/", {"ordering": "name", "name_contains": "zen"})
    sorts = [link for link in links_of(page) if "ordering=" in link]
    assert any("ordering=-name" in link and "name_contains=zen" in link for link in sorts)


def test_counts_stop_where_they_would_cost(reader, store, monkeypatch):
    monkeypatch.setattr("files.views.search.COUNT_CEILING", 60)
    for number in range(70):
        make_file(f"zen.{number}")
    assert "more than 60 files" in words_of(reader.get("/files/"))


def test_an_empty_archive_says_so_and_a_vain_search_says_that(reader, store):
    assert "The archive is empty" in words_of(reader.get("/files/"))
    make_file("zen.1", store=store)
    assert "No file is like that" in words_of(reader.get("/files/", {"name_contains": "nothing"}))


def test_the_number_of_queries_does_not_grow_with_the_page(reader, store):
    for number in range(3):
        make_file(f"zen.{number}", store=store)
    _, few = queries_of(lambda: reader.get("/files/"))
    for number in range(3, 40):
        make_remote_instance(make_file(f"zen.{number}", store=store))
    _, many = queries_of(lambda: reader.get("/files/"))
    assert len(many) == len(few)
    assert len(many) <= 4, many  # rows, present copies, remote copies, stores of the form


def test_exports_hold_everything_found(reader, store):
    old = make_file("old.uvh5", registered_at=timezone.now() - timedelta(days=9))
    names = {make_file(f"zen.{number}.uvh5", store=store).name for number in range(130)}
    answer = reader.get("/files/export", {"format": "csv", "name_contains": "zen"})
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert {row["name"] for row in rows} == names
    assert old.name not in {row["name"] for row in rows}
    answer = reader.get("/files/export", {"format": "jsonl", "name_contains": "old"})
    (line,) = b"".join(answer.streaming_content).splitlines()
    told = json.loads(line)
    assert (told["name"], told["size_bytes"], told["obsid"]) == (old.name, old.size_bytes, None)


def test_an_export_of_a_bad_search_is_a_page_that_says_why(reader):
    answer = reader.get("/files/export", {"size_min": "abc"})
    assert answer.status_code == 400
    assert "is not a whole number" in words_of(answer)
    assert reader.get("/files/export", {"format": "xlsx"}).status_code == 400


def test_an_export_does_not_hold_its_rows(reader):
    """Four times the rows take the same memory."""
    fill("first", 3_000)
    small = peak_of_export(reader)
    fill("then", 9_000)
    assert peak_of_export(reader) < 1.5 * small


def fill(prefix, number):
    digest = "0" * 64
    fields = {"kind": "flat", "size_bytes": 1, "checksum": f"sha256:::{digest}", "digest": digest}
    rows = (File(name=f"{prefix}.{n}", uploader="u", source="s", **fields) for n in range(number))
    File.objects.bulk_create(rows, batch_size=1000)


def peak_of_export(browser):
    answer = browser.get("/files/export", {"format": "csv"})
    tracemalloc.start()
    try:
        for _ in answer.streaming_content:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
