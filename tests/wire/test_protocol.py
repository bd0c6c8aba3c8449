"""What holds for every endpoint: method, slash, prefix, credentials before content, form of failures."""

import pytest

from tests.wire.caller import HELLO_CHECKSUM

ENDPOINTS = {
    "ping/": "none",
    "ping/logged": "readonly",
    "search/file": "readonly",
    "users/password_update": "readonly",
    "upload/stage": "readappend",
    "upload/commit": "readappend",
    "ping/admin": "admin",
    "search/error": "admin",
    "search/instance_local": "admin",
    "error/clear": "admin",
    "users/create": "admin",
    "users/update": "admin",
    "users/delete": "admin",
    "users/get": "admin",
    "admin/add_file": "admin",
    "admin/stores/list": "admin",
    "admin/stores/state_change": "admin",
    "admin/instance/delete_local": "admin",
}
LEVELS = ["none", "readonly", "callback", "readappend", "readwrite", "admin"]
GUARDED = {endpoint: level for endpoint, level in ENDPOINTS.items() if level != "none"}


@pytest.mark.parametrize(("endpoint", "needed"), ENDPOINTS.items())
def test_each_endpoint_asks_for_its_level_before_it_looks_at_the_body(wire, endpoint, needed):
    for level in LEVELS:
        response = wire.post(endpoint, raw=b"[" * 100, user=level)
        if LEVELS.index(level) >= LEVELS.index(needed):
            assert response.status_code == 400, f"{level} may call {endpoint}"
        else:
            assert response.status_code == 401, f"{level} may not call {endpoint}"
            assert response.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_no_credentials_are_401_everywhere_also_at_ping(wire, endpoint):
    for headers in ({}, {"HTTP_AUTHORIZATION": "Digest x"}, {"HTTP_AUTHORIZATION": "Basic %%%"}):
        response = wire.post(endpoint, {}, user=None, **headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize("endpoint", GUARDED)
def test_wrong_credentials_are_401(wire, endpoint):
    assert wire.post(endpoint, {}, user="admin", password="wrong").status_code == 401
    assert wire.post(endpoint, {}, user="nobody at all").status_code == 401


def test_ping_answers_wrong_credentials_without_checking_them(wire, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert wire.post("ping/", {}, user="nobody", password="wrong").status_code == 200


def test_the_portals_session_does_not_count_on_the_wire(wire, cast):
    wire.client.force_login(cast["admin"], backend="django.contrib.auth.backends.ModelBackend")
    assert wire.post("ping/logged", {}, user=None).status_code == 401


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_only_post_exists(wire, endpoint):
    for method in ("get", "put", "patch", "delete", "options"):
        for user in ("admin", None):
            response = wire.post(endpoint, {}, method=method, user=user)
            assert (response.status_code, response.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_wrong_slash_is_redirected_so_that_the_body_is_sent_again(wire, endpoint):
    other = endpoint.removesuffix("/") if endpoint.endswith("/") else f"{endpoint}/"
    response = wire.post(f"{other}?a=b")
    assert (response.status_code, response.headers["Location"]) == (307, f"/api/v2/{endpoint}?a=b")


def test_redirects_stay_below_a_path_prefix(wire):
    response = wire.client.generic("POST", "/lib/api/v2/ping", b"{}", SCRIPT_NAME="/lib", PATH_INFO="/api/v2/ping")
    assert response.headers["Location"] == "/lib/api/v2/ping/"


@pytest.mark.parametrize(
    "endpoint",
    ["", "nothing", "nothing/", "validate/file", "corrupt/prepare", "corrupt/resend", "ping/logged/x"],
)
def test_unknown_paths_are_404_in_the_wires_form(wire, endpoint):
    response = wire.post(endpoint, {})
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def test_unknown_fields_are_ignored(wire, cast):
    assert wire.post("ping/logged", {"librarian_features": ["x"], "new": {"a": 1}}, user="readonly").status_code == 200


def test_an_empty_body_reads_as_an_empty_object(wire, store):
    assert wire.ok("admin/stores/list", user="admin")
    assert wire.ok("ping/logged", user="readonly")
    status, answer = wire.refused("upload/stage")
    assert status == 422
    assert set(answer["fields"]) >= {"upload_size", "upload_checksum"}


def test_any_accept_header_gets_json(wire):
    for accept in ("text/html", "*/*", "application/xml"):
        response = wire.post("ping/logged", {}, user="readonly", HTTP_ACCEPT=accept)
        assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"upload_size": "many"}, "upload_size"),
        ({"upload_size": 1.5}, "upload_size"),
        ({"upload_size": None}, "upload_size"),
        ({"upload_size": [1]}, "upload_size"),
        ({"upload_checksum": 5}, "upload_checksum"),
        ({"upload_name": {"a": 1}}, "upload_name"),
        ({"destination_location": ["x"]}, "destination_location"),
        ({"uploader": "x" * 257}, "uploader"),
        ({"uploader": ""}, "uploader"),
    ],
)
def test_a_wrong_field_is_named(wire, store, body, field):
    good = {
        "upload_size": 18,
        "upload_checksum": HELLO_CHECKSUM,
        "upload_name": "x",
        "destination_location": "x",
        "uploader": "u",
    }
    status, answer = wire.refused("upload/stage", {**good, **body})
    assert status == 422
    assert answer["reason"].startswith(f"{field}: ")
    assert field in answer["fields"]


def test_numbers_as_text_are_read(wire, store):
    body = {
        "upload_size": "18",
        "upload_checksum": HELLO_CHECKSUM,
        "upload_name": "x",
        "destination_location": "x",
        "uploader": "u",
    }
    assert wire.ok("upload/stage", body, 201)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true"])
def test_a_body_that_is_no_object_is_refused(wire, body):
    status, answer = wire.refused("search/file", raw=body, user="readonly")
    assert status == 422
    assert "object" in answer["reason"]


def test_another_content_type_is_refused_saying_which_one_is_wanted(wire):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        status, answer = wire.refused("search/file", {"name": "x"}, user="readonly", content_type=content_type)
        assert status == 415
        assert "application/json" in answer["suggested_remedy"]


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("error/clear", {"id": 2**31}),
        ("error/clear", {"id": -1}),
        ("search/instance_local", {"id": 2**31}),
        ("search/instance_local", {"store_id": 2**62}),
        ("admin/instance/delete_local", {"instance_id": 2**40}),
    ],
)
def test_ids_that_no_32_bit_column_holds_are_refused(wire, endpoint, body):
    status, answer = wire.refused(endpoint, body, user="admin")
    assert status == 422
    assert answer["reason"].startswith(f"{next(iter(body))}: ")
