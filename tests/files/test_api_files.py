"""`/api/v3/files/`: searching, paging, one file, its members and its history."""

from datetime import UTC, datetime, timedelta

import pytest

from files.copies import CONDITIONS, CopyState, copy_state
from files.models import Condition, File, Presence
from tests.asking import Api
from tests.make import make_cast, make_file, make_instance, make_remote_instance, make_store

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
PRODUCT = {"header": b"hhh", "visdata": b"v" * 1000, "empty": None, "sub/flags": b"f"}


@pytest.fixture
def api(db):
    make_cast()
    return Api("readonly")


@pytest.fixture
def store(db, tmp_path):
    return make_store(tmp_path, name="first")


def names(rows):
    return [row["name"] for row in rows]


def test_a_stranger_and_a_level_too_low_are_told_so(api):
    assert Api("nobody").get("files/").status_code == 401
    refused = Api("none").get("files/")
    assert refused.status_code == 403
    assert "READONLY" in refused.json()["reason"]


def test_a_file_is_listed_with_everything_about_it(api, store):
    file = make_file("zen.2457561.66007.uvh5", content=b"12345", store=store, obsid=1144455667)
    make_remote_instance(file)
    [row] = api.results("files/")
    assert row == {
        "name": "zen.2457561.66007.uvh5",
        "kind": "flat",
        "size_bytes": 5,
        "checksum": file.checksum,
        "digest": file.digest,
        "uploader": "a tester",
        "source": "tests",
        "obsid": 1144455667,
        "registered_at": file.registered_at.isoformat().replace("+00:00", "Z"),
        "first_registered_at": file.first_registered_at.isoformat().replace("+00:00", "Z"),
        "copies": "local_and_remote",
        "local_count": 1,
        "remote_count": 1,
    }


# --- Searching --------------------------------------------------------------------------------------------------------


@pytest.fixture
def night(store):
    """Three files an hour apart, of 1, 10 and 100 bytes."""
    return [
        make_file("zen.a.uvh5", content=b"1", registered_at=START, uploader="correlator", obsid=5, store=store),
        make_file("zen.b.FITS", content=b"1" * 10, registered_at=START + timedelta(hours=1), source="north"),
        make_file("log_%1", content=PRODUCT, registered_at=START + timedelta(hours=2)),
    ]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"name": "zen.a.uvh5"}, {"zen.a.uvh5"}),
        ({"name": "./2457561/zen.a.uvh5"}, {"zen.a.uvh5"}),
        ({"name": "zen.a"}, set()),
        ({"name_contains": "_%"}, {"log_%1"}),
        ({"name_contains": "fits"}, set()),
        ({"name_contains": "FITS"}, {"zen.b.FITS"}),
        ({"name_matches": "zen._.%"}, {"zen.a.uvh5", "zen.b.FITS"}),
        ({"name_matches": r"log\_%"}, {"log_%1"}),
        ({"name_glob": "zen.?.uv*"}, {"zen.a.uvh5"}),
        ({"registered_after": "2026-11-20T13:00:00Z"}, {"zen.b.FITS", "log_%1"}),
        ({"registered_before": "2026-11-20T13:00:00Z"}, {"zen.a.uvh5"}),
        ({"registered_before": "2026-11-20T15:00:00+02:00"}, {"zen.a.uvh5"}),
        ({"registered_after": "2461365.07", "registered_before": "2461365.09"}, {"log_%1"}),
        ({"registered_after": "2026-11-21"}, set()),
        ({"size_min": "2", "size_max": "10"}, {"zen.b.FITS"}),
        ({"kind": "directory"}, {"log_%1"}),
        ({"uploader": "correlator"}, {"zen.a.uvh5"}),
        ({"source": "north"}, {"zen.b.FITS"}),
        ({"obsid": "5"}, {"zen.a.uvh5"}),
        ({"has_obsid": "false"}, {"zen.b.FITS", "log_%1"}),
        ({"has_obsid": "true"}, {"zen.a.uvh5"}),
        ({"store": "first"}, {"zen.a.uvh5"}),
        ({"presence": "present"}, {"zen.a.uvh5"}),
        ({"presence": "gone"}, set()),
        ({"copies": "one_local"}, {"zen.a.uvh5"}),
        ({"copies": "none"}, {"zen.b.FITS", "log_%1"}),
        ({"copies": "none", "kind": "flat"}, {"zen.b.FITS"}),
    ],
)
def test_a_filter_finds_what_it_says(api, night, parameters, found):
    assert set(names(api.results("files/", **parameters))) == found


def test_a_digest_finds_the_names_of_the_same_bytes(api, night):
    make_file("other name", content=b"1")
    assert set(names(api.results("files/", digest=night[0].digest))) == {"zen.a.uvh5", "other name"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("nmae", "zen", "'nmae' is no parameter"),
        ("name", "../x", "'..'"),
        ("name", "x" * 300, "255 bytes"),
        ("name", "/etc/passwd", "absolute"),
        ("name", "a\x00b", "NUL"),
        ("name_contains", "a\x00b", "NUL"),
        ("name_contains", "x" * 2000, "LIKE|characters"),
        ("name_matches", "a\\", "backslash"),
        ("name_glob", "zen.[ab]", "brackets"),
        ("uploader", "a\x00", "NUL"),
        ("size_min", "abc", "whole number of bytes"),
        ("size_min", "-1", "whole number of bytes"),
        ("size_min", "1e3", "whole number of bytes"),
        ("size_min", str(2**63), "whole number of bytes"),
        ("size_min", "9" * 5000, "whole number of bytes"),
        ("obsid", "NaN", "whole number"),
        ("registered_after", "yesterday", "Julian Date"),
        ("registered_after", "2026-13-01", "Julian Date"),
        ("registered_after", "0001-01-01T00:00:00+23:59", "Julian Date"),
        ("registered_after", "9999999", "Julian Date"),
        ("kind", "tree", "one of flat, directory"),
        ("has_obsid", "maybe", "true or false"),
        ("store", "nowhere", "name of a store"),
        ("copies", "3", "one of one_local"),
        ("ordering", "checksum", "order by"),
        ("ordering", "file__secret", "order by"),
        ("limit", "0", "limit"),
        ("limit", "x", "limit"),
        ("cursor", "bm9uc2Vuc2U", "cursor"),
        ("name", "", "has no value"),
    ],
)
def test_a_parameter_that_is_not_understood_is_refused_by_name(api, store, name, value, said):
    import re

    body = api.refusal("files/", **{name: value})
    assert re.search(said, body["reason"]), body
    assert name in body["reason"]
    assert len(body["reason"]) < 400


def test_a_repeated_parameter_is_refused(api):
    response = api.client.get("/api/v3/files/?kind=flat&kind=directory")
    assert response.status_code == 400
    assert "2 times" in response.json()["reason"]


# --- Paging -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordering", ["", "name", "-size_bytes", "obsid", "-obsid", "uploader"])
def test_pages_hold_every_file_once_in_order(api, ordering):
    for number in range(23):
        make_file(f"f{number:02}", content=b"x" * (number % 3), obsid=number % 4 or None, uploader="same")
    wanted = names(api.results("files/", limit=100, **({"ordering": ordering} if ordering else {})))
    assert len(set(wanted)) == 23
    found, response = [], api.get("files/", limit=5, **({"ordering": ordering} if ordering else {}))
    while True:
        page = response.json()
        found += names(page["results"])
        if page["next"] is None:
            break
        response = api.client.get(page["next"])
    assert found == wanted


def test_a_page_costs_few_queries(api, store, django_assert_max_num_queries):
    for _ in range(30):
        make_file(store=store)
    api.get("files/")  # the password is remembered from here on
    with django_assert_max_num_queries(2):  # the caller's account; the page of files with its counts
        assert len(api.results("files/")) == 30
    with django_assert_max_num_queries(3):  # and the store that is named
        assert len(api.results("files/", store="first", copies="one_local", name_contains="zen")) == 30


# --- One file ---------------------------------------------------------------------------------------------------------


def test_one_file_tells_all_its_copies(api, store, tmp_path, django_assert_max_num_queries):
    file = make_file("zen.x", store=store)
    second = make_store(tmp_path, name="second")
    make_instance(file, second, presence=Presence.GONE)
    make_remote_instance(file, peer="north")
    api.get("files/zen.x/")
    with django_assert_max_num_queries(5):  # account; file with head; instances with stores; remote instances; spare
        row = api.get("files/zen.x/").json()
    assert [(copy["store"], copy["presence"]) for copy in row["instances"]] == [
        ("first", "present"),
        ("second", "gone"),
    ]
    assert row["instances"][0]["location"] == f"{store.configuration['root']}/2457561/zen.x"
    assert [copy["peer"] for copy in row["remote_instances"]] == ["north"]
    assert row["event_count"] == 3
    assert row["copies"] == "local_and_remote"


def test_a_file_is_found_without_the_slash_and_below_a_directory_as_it_is_filed(api):
    make_file("zen.x")
    assert api.get("files/zen.x").json()["name"] == "zen.x"
    assert api.get("files/2457561/zen.x/").json()["name"] == "zen.x"


def test_a_name_with_slashes_never_hides_behind_what_belongs_to_another_file(api, settings):
    settings.LIBRARIAN_FILE_NAMES = "path"
    make_file("a", content=PRODUCT)
    make_file("b/members")
    make_file("a/b c?#%")
    assert api.get("files/a/b c%3F%23%25/").json()["name"] == "a/b c?#%"
    assert len(api.results("files/a/members")) == 4
    assert api.get("files/b/members/").json()["name"] == "b/members"
    make_file("a/members")
    assert api.get("files/a/members/").json()["name"] == "a/members"
    assert len(api.results("files/a/members")) == 4


def test_what_belongs_to_a_file_is_found_with_a_slash_too(api):
    make_file("a", content=PRODUCT)
    response = api.get("files/a/members/", limit=2)
    assert response.status_code == 302
    followed = api.client.get("/api/v3/files/a/members/?limit=2", follow=True)
    assert len(followed.json()["results"]) == 2


@pytest.mark.parametrize("name", ["missing", "missing/", "missing/members", "missing/events", "missing/content"])
def test_an_unknown_file_is_not_found(api, name):
    assert "missing" in api.refusal(f"files/{name}", 404)["reason"]


@pytest.mark.parametrize("name", ["%2E%2E/x", "a//b", "a%00b", "a%0Ab", "x" * 300, "%ED%A0%80%01"])
def test_an_illegal_name_in_the_path_is_refused(api, name):
    response = api.get(f"files/{name}/")
    assert response.status_code in (400, 404)
    assert response.json()["code"] in ("invalid_name", "not_found")


def test_members_come_in_the_order_of_the_tree_digest(api):
    make_file("product", content=PRODUCT)
    rows = api.results("files/product/members")
    assert [row["path"] for row in rows] == ["empty", "header", "sub/flags", "visdata"]
    assert rows[0] == {"kind": "empty_directory", "path": "empty", "size_bytes": 0, "sha256": ""}
    assert rows[3]["size_bytes"] == 1000


def test_the_history_tells_each_line_with_what_its_digest_covers(api, store):
    from files.services.events import FIRST_DIGEST, chain_digest

    make_file("zen.x", content=b"1", store=store)
    rows = api.results("files/zen.x/events")
    assert [row["type"] for row in rows] == ["file_registered", "instance_created"]
    assert rows[0]["facts"] == {"size_bytes": 1}
    assert rows[0]["digest"] == chain_digest(FIRST_DIGEST, rows[0]["text"])
    assert rows[1]["digest"] == chain_digest(rows[0]["digest"], rows[1]["text"])


# --- Copies and events ------------------------------------------------------------------------------------------------


def test_copies_are_searched_by_file_store_and_condition(api, store, tmp_path, django_assert_max_num_queries):
    second = make_store(tmp_path, name="second")
    file = make_file("zen.x", store=store)
    make_instance(file, second, condition=Condition.MISSING)
    make_file("zen.y", store=second)

    def found(**parameters):
        return {(row["file"], row["store"]) for row in api.results("instances/", **parameters)}

    assert found(file="zen.x") == {("zen.x", "first"), ("zen.x", "second")}
    assert found(store="second") == {("zen.x", "second"), ("zen.y", "second")}
    assert found(condition="missing") == {("zen.x", "second")}
    assert found(presence="gone") == set()
    assert found(checked_before="2000-01-01") == set()
    with django_assert_max_num_queries(3):  # account; page with files; stores
        assert len(found()) == 3
    assert "condition" in api.refusal("instances/", condition="fine")["reason"]


def test_events_are_searched_by_file_type_and_time(api, store, django_assert_max_num_queries):
    make_file("zen.x", store=store)
    make_file("zen.y")
    assert [row["file"] for row in api.results("events/", type="file_registered")] == ["zen.y", "zen.x"]
    assert [row["type"] for row in api.results("events/", file="zen.x")] == ["instance_created", "file_registered"]
    assert api.results("events/", after="2090-01-01") == []
    assert len(api.results("events/", actor="tests")) == 3
    with django_assert_max_num_queries(2):  # account; page with files
        api.results("events/")


def test_the_five_states_are_a_partition(db, store, tmp_path):
    second = make_store(tmp_path, name="second")
    for local in range(3):
        for remote in range(3):
            file = make_file(f"{local}{remote}")
            for each in [store, second][:local]:
                make_instance(file, each)
            for number in range(remote):
                make_remote_instance(file, peer=f"peer{number}")
    for state in CopyState:
        found = {file.name for file in File.objects.with_copies().filter(CONDITIONS[state])}
        wanted = {
            f"{local}{remote}"
            for local in range(3)
            for remote in range(3)
            if copy_state(local_count=local, remote_count=remote) == state
        }
        assert found == wanted
        assert found
