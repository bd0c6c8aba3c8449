"""Whatever goes wrong in a view, a program is told in one form: code, reason, remedy, and never a `detail`."""

import json

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation, ValidationError
from django.db import IntegrityError, OperationalError, transaction
from django.http import Http404
from django.test import RequestFactory
from rest_framework import exceptions, serializers

from librarian.common import handlers
from librarian.common.api import answer_error
from librarian.common.errors import ArchiveError, Busy, LockedOut, NameTaken
from librarian.common.models import ErrorRecord


def answer(problem):
    return answer_error(problem, {"request": RequestFactory().get("/api/v3/files/"), "view": None})


class Unit(serializers.Serializer):
    size_bytes = serializers.IntegerField()


class Units(serializers.Serializer):
    units = Unit(many=True)


def invalid_units():
    units = Units(data={"units": [{"size_bytes": 1}, {"size_bytes": "x"}]})
    units.is_valid()
    return exceptions.ValidationError(units.errors)


@pytest.mark.parametrize(
    ("problem", "status", "code"),
    [
        (NameTaken("File x already exists.", same_content=True), 409, "name_taken"),
        (Http404(), 404, "not_found"),
        (ErrorRecord.DoesNotExist(), 404, "not_found"),
        (PermissionDenied(), 403, "level_too_low"),
        (SuspiciousOperation("secret words"), 400, "invalid_request"),
        (ValidationError({"name": ["too long"]}), 400, "invalid_request"),
        (ValidationError("too long"), 400, "invalid_request"),
        (exceptions.ValidationError(["no"]), 400, "invalid_request"),
        (exceptions.NotAuthenticated(), 401, "authentication_required"),
        (exceptions.AuthenticationFailed("Wrong."), 401, "authentication_required"),
        (exceptions.PermissionDenied(), 403, "level_too_low"),
        (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (exceptions.NotAcceptable(), 406, "not_acceptable"),
        (exceptions.UnsupportedMediaType("text/plain"), 415, "unsupported_media_type"),
        (exceptions.ParseError(), 400, "invalid_json"),
        (exceptions.Throttled(12), 429, "locked_out"),
        (OperationalError("database is locked"), 503, "busy"),
    ],
)
def test_every_known_problem_has_status_code_reason_and_remedy(problem, status, code):
    response = answer(problem)
    assert (response.status_code, response.data["code"]) == (status, code)
    assert response.data["reason"]
    assert response.data["suggested_remedy"]
    assert "detail" not in response.data
    assert "secret" not in json.dumps(response.data)
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


def test_a_refusal_says_which_field_is_wrong():
    response = answer(invalid_units())
    assert response.data["reason"] == "units.1.size_bytes: A valid integer is required."
    assert response.data["fields"] == {"units.1.size_bytes": "A valid integer is required."}


def test_passing_refusals_say_when_to_come_back():
    assert answer(Busy("later", retry_after_seconds=7.4)).headers["Retry-After"] == "7"
    assert answer(LockedOut("later", retry_after_seconds=0.2)).headers["Retry-After"] == "1"
    assert int(answer(Busy("later")).headers["Retry-After"]) > 0
    assert "Retry-After" not in answer(ArchiveError("never")).headers


@pytest.mark.django_db
def test_a_refusal_of_the_database_is_a_conflict():
    def refused():
        with transaction.atomic():
            ErrorRecord.objects.create(severity="loud", category="transfer", code="x", message="m", fingerprint="f")

    with pytest.raises(IntegrityError) as caught:
        refused()
    response = answer(caught.value)
    assert response.status_code == 409
    assert response.data["constraint"] == "error_severity_is_known"


@pytest.mark.django_db
def test_what_nobody_expected_is_a_500_with_an_id_and_lands_in_the_inbox():
    for _ in range(2):
        response = answer(ZeroDivisionError("secret of the inside"))
        assert response.status_code == 500
        assert response.data["code"] == "internal_error"
        assert response.data["request_id"]
        assert "secret" not in json.dumps(response.data)
    error = ErrorRecord.objects.get()
    assert (error.category, error.count) == ("programming", 2)
    assert "ZeroDivisionError" in error.message
    assert "GET /api/v3/files/" in error.message


@pytest.mark.django_db
def test_programs_get_json_from_the_handlers_outside_of_views():
    request = RequestFactory().get("/api/v3/nothing/")
    for handler, status in (
        (handlers.bad_request, 400),
        (handlers.permission_denied, 403),
        (handlers.page_not_found, 404),
    ):
        response = handler(request, SuspiciousOperation("secret"))
        body = json.loads(response.content)
        assert response.status_code == status
        assert {"code", "reason", "suggested_remedy"} <= body.keys()
        assert "secret" not in response.content.decode()
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        response = handlers.server_error(request)
    assert response.status_code == 500
    assert json.loads(response.content)["request_id"]
    assert ErrorRecord.objects.count() == 1


def test_an_unknown_host_name_is_refused_by_saying_so(client):
    response = client.post("/api/v2/ping/", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert "host name" in response.json()["reason"]
    assert "LIBRARIAN_ALLOWED_HOSTS" in response.json()["suggested_remedy"]
