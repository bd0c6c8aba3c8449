"""`/api/v3/stores/`: what is told of stores, and to whom."""

import pytest

from tests.asking import Api
from tests.make import make_cast, make_store


@pytest.fixture
def api(db):
    make_cast()
    return Api("readonly")


@pytest.fixture
def store(db, tmp_path):
    return make_store(tmp_path, name="first", capacity_bytes=1000, free_bytes=300, fullness_limit=0.9)


def test_a_store_tells_its_space_and_state(api, store):
    [row] = api.results("stores/")
    assert (row["name"], row["kind"], row["available"], row["enabled"], row["ingestable"]) == (
        "first",
        "posix",
        True,
        True,
        True,
    )
    assert (row["capacity_bytes"], row["free_bytes"]) == (1000, 300)
    assert 199 <= row["usable_bytes"] <= 201
    assert api.get("stores/first/").json() == row


def test_only_administrators_see_the_configuration(api, store):
    assert api.get("stores/first/").json()["configuration"] is None
    assert Api("readwrite").get("stores/first/").json()["configuration"] is None
    assert Api("admin").get("stores/first/").json()["configuration"] == store.configuration


def test_stores_are_searched(api, store, tmp_path, django_assert_max_num_queries):
    make_store(tmp_path, name="second", ingestable=False, enabled=False, available=False, measured_at=None)

    def found(**parameters):
        return [row["name"] for row in api.results("stores/", **parameters)]

    assert found() == ["first", "second"]
    assert found(ordering="-name") == ["second", "first"]
    assert found(available="true") == found(enabled="yes") == found(ingestable="1") == ["first"]
    assert found(available="false") == ["second"]
    assert found(name="second", kind="posix") == ["second"]
    with django_assert_max_num_queries(2):  # account; stores
        found()
    assert "kind" in api.refusal("stores/", kind="tape")["reason"]


def test_an_unknown_store_is_not_found(api):
    assert "nowhere" in api.refusal("stores/nowhere/", 404)["reason"]


def test_stores_are_only_read_here(api, store):
    response = Api("admin").post("stores/", {"name": "x"})
    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"


def test_levels(api, store):
    assert Api("none").get("stores/").status_code == 403
    assert Api("stranger").get("stores/").status_code == 401
