"""My account: tokens and the password."""

import re

import pytest
from django.test import Client

from accounts.models import ApiToken
from tests.make import PASSWORD, make_user
from tests.portal.looking import words_of

pytestmark = pytest.mark.django_db

NEW = "a quite different sentence 7"


def issue(browser, **fields):
    return browser.post("/account/tokens", {"name": "notebook", "level": 1, "days": 30, **fields})


def test_a_token_is_shown_once_and_opens_the_api(reader):
    page = issue(reader)
    (text,) = re.findall(r"lib_[A-Za-z0-9_-]{20,}", page.content.decode())[:1]
    assert page.headers["Cache-Control"].count("no-store")
    assert text not in reader.get("/account/").content.decode()
    answer = Client().get("/api/v3/files/", headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == 200


def test_nobody_issues_above_their_own_level(reader):
    page = issue(reader, level=100)
    assert page.status_code == 400
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("fields", [{"name": ""}, {"name": "x" * 65}, {"days": 7}, {"level": "all"}])
def test_a_form_that_makes_no_sense_is_shown_again_with_reasons(reader, fields):
    page = issue(reader, **fields)
    assert page.status_code == 400
    assert "field__error" in page.content.decode()
    assert not ApiToken.objects.exists()


def test_a_name_in_use_is_refused_with_the_reason(reader):
    issue(reader)
    page = issue(reader)
    assert page.status_code == 409
    assert "has a token named" in words_of(page)


def test_a_revoked_token_opens_nothing(reader):
    text = re.findall(r"lib_[A-Za-z0-9_-]{20,}", issue(reader).content.decode())[0]
    token = ApiToken.objects.get()
    assert reader.post(f"/account/tokens/{token.pk}/revoke").url == "/account/"
    assert Client().get("/api/v3/files/", headers={"Authorization": f"Bearer {text}"}).status_code == 401
    assert "Revoked before" in words_of(reader.get("/account/"))


def test_other_peoples_tokens_are_out_of_reach(as_user, reader):
    issue(reader)
    token = ApiToken.objects.get()
    assert as_user("admin").post(f"/account/tokens/{token.pk}/revoke").status_code == 404
    token.refresh_from_db()
    assert token.revoked_at is None


def test_a_password_is_changed_and_this_session_goes_on(client, db):
    user = make_user("ada")
    client.post("/login/", {"username": "ada", "password": PASSWORD})
    fields = {"old_password": PASSWORD, "new_password": NEW, "repeated": NEW}
    assert client.post("/account/password", fields).url == "/account/"
    assert client.get("/account/").status_code == 200
    user.refresh_from_db()
    assert user.check_password(NEW)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"old_password": "wrong"}, "not your present password"),
        ({"repeated": "other"}, "not the same"),
        ({"new_password": "short", "repeated": "short"}, "too short"),
    ],
)
def test_a_password_is_not_changed_without_reason(client, db, fields, says):
    user = make_user("ada")
    client.force_login(user)
    page = client.post("/account/password", {"old_password": PASSWORD, "new_password": NEW, "repeated": NEW, **fields})
    assert page.status_code == 400
    assert says in words_of(page)
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_guessing_the_present_password_locks_as_at_the_login(client, db, settings):
    client.force_login(make_user("ada"))
    fields = {"new_password": NEW, "repeated": NEW}
    answers = [
        client.post("/account/password", {"old_password": f"guess {number}", **fields}).status_code
        for number in range(settings.AXES_FAILURE_LIMIT + 1)
    ]
    assert answers[0] == 400
    assert answers[-1] == 429


def test_strangers_are_told_why_they_are_locked_out(client, db, settings):
    make_user("ada")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        answer = client.post("/login/", {"username": "ada", "password": "wrong"})
    answer = client.post("/login/", {"username": "ada", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert "Too many wrong passwords" in words_of(answer)


def test_a_wrong_password_says_so(client, db):
    make_user("ada")
    answer = client.post("/login/", {"username": "ada", "password": "wrong"})
    assert "do not belong together" in words_of(answer)
