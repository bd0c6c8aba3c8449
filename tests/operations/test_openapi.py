"""The description of the machine API: whole, without warnings, and a page that needs no other host."""

import re
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client

from tests.asking import Api
from tests.make import make_cast

EXPECTED = {
    "/api/v3/files/",
    "/api/v3/files/{name}/",
    "/api/v3/files/{name}/content",
    "/api/v3/files/{name}/members",
    "/api/v3/files/{name}/events",
    "/api/v3/instances/",
    "/api/v3/events/",
    "/api/v3/stores/",
    "/api/v3/users/",
    "/api/v3/tokens/",
    "/api/v3/errors/",
    "/api/v3/errors/{id}/clear/",
    "/api/v3/jobs/",
    "/api/v3/jobs/runs/",
    "/api/v3/jobs/{name}/run/",
}


@pytest.fixture
def cast(db):
    return make_cast()


@pytest.fixture
def schema(cast) -> dict[str, Any]:
    response = Api("readonly").get("schema/?format=json")
    assert response.status_code == 200
    return response.json()


def test_it_is_made_without_a_warning(db, tmp_path):
    call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(tmp_path / "schema.yml"))


def test_it_has_version_3_and_nothing_else(schema):
    assert set(schema["paths"]) >= EXPECTED
    assert all(path.startswith("/api/v3/") for path in schema["paths"])


def test_every_field_says_what_it_is(schema):
    silent = [
        f"{name}.{field}"
        for name, shape in schema["components"]["schemas"].items()
        if not name.startswith("Paginated")
        for field, what in shape.get("properties", {}).items()
        if not what.get("description")
    ]
    assert silent == []


def test_every_parameter_of_a_query_says_what_it_is(schema):
    silent = [
        f"{path} {parameter['name']}"
        for path, operations in schema["paths"].items()
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] in ("query", "header") and not parameter.get("description")
    ]
    assert silent == []


def test_every_operation_tells_its_errors(schema):
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            assert {"400", "401", "403"} <= set(answers), path
            assert ("404" in answers) == ("{" in path), path
            assert answers["403"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}


def test_every_parameter_of_a_list_is_understood_by_it(schema):
    """What the description offers, the strict filters take: unknown parameters are refused."""
    api = Api("admin")
    for path, operations in schema["paths"].items():
        names = [each["name"] for each in operations.get("get", {}).get("parameters", []) if each["in"] == "query"]
        if "{" in path or path.endswith(("/schema/", "/docs/")):
            continue
        for name in names:
            response = api.client.get(path, {name: "\x01"})
            reason = response.json().get("reason", "")
            assert "is no parameter" not in reason, (path, name)


# --- The page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def visitor(cast):
    client = Client()
    client.force_login(cast["readonly"], backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_a_stranger_is_led_to_the_login_and_back(db):
    response = Client().get("/api/v3/docs/")
    assert response.status_code == 302
    assert response["Location"].endswith("?next=%2Fapi%2Fv3%2Fdocs%2F")


def test_the_page_takes_everything_from_this_site(visitor):
    response = visitor.get("/api/v3/docs/")
    assert response.status_code == 200
    text = response.content.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(sources) >= 6
    assert all(not source.startswith(("http:", "https:", "//")) for source in sources)
    for source in sources:
        if source.startswith("/static/"):
            assert finders.find(source.removeprefix("/static/")), source
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert "<style" not in text


def test_its_script_is_a_file_of_its_own(visitor):
    response = visitor.get("/api/v3/docs/?script=")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("application/javascript")
    assert "SwaggerUIBundle" in response.content.decode()


def test_the_page_has_the_policy_of_all_pages(visitor):
    policy = visitor.get("/api/v3/docs/")["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy == visitor.get("/api/v3/files/")["Content-Security-Policy"]
