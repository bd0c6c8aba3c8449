"""`/api/v3/users/`."""

import pytest

from accounts.levels import Level
from accounts.models import User
from librarian.common.models import AuditEntry
from tests.make import PASSWORD, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.accounts.urls")]

USERS = "/api/v3/users/"
NEW = {"username": "obs", "level": Level.READAPPEND, "kind": "instrument", "password": "a long enough password"}


def at(user):
    return f"{USERS}{user.pk}/"


def test_administrators_list_and_find_accounts(cast, call):
    everybody = call(USERS, user="admin").json()
    assert [row["username"] for row in everybody["results"]] == sorted(cast)
    found = call(f"{USERS}?level=3&is_active=true", user="admin").json()["results"]
    assert [(row["username"], row["level_name"]) for row in found] == [("readappend", "READAPPEND")]
    assert call(f"{USERS}?username=callback", user="admin").json()["results"][0]["username"] == "callback"
    assert "pbkdf2" not in str(everybody)
    assert all("password" not in row for row in everybody["results"])


def test_a_page_of_accounts_has_two_queries_however_many_there_are(cast, call, django_assert_num_queries):
    call(USERS, user="admin")
    for number in range(20):
        make_user(f"more{number}")
    with django_assert_num_queries(2):  # who is calling, the page
        assert len(call(f"{USERS}?limit=25", user="admin").json()["results"]) == 25


@pytest.mark.parametrize("name", ["none", "readonly", "callback", "readappend", "readwrite"])
def test_nobody_else_sees_or_changes_accounts(cast, call, name):
    for path, body, method in (
        (USERS, None, "get"),
        (USERS, NEW, "post"),
        (at(cast["readonly"]), None, "get"),
        (at(cast["readonly"]), {"level": 1}, "patch"),
    ):
        answer = call(path, body, user=name, method=method)
        assert answer.status_code == 403
        assert answer.json()["code"] == "level_too_low"
    assert not AuditEntry.objects.exists()


def test_an_account_is_made_and_opens(cast, call):
    answer = call(USERS, NEW, user="admin")
    assert answer.status_code == 201
    assert answer.json()["level_name"] == "READAPPEND"
    assert NEW["password"] not in answer.content.decode()
    assert call(f"{USERS}me/", user="obs", password=NEW["password"]).json()["kind"] == "instrument"
    assert AuditEntry.objects.get().actor_name == "admin"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"username": "admin"}, 409),
        ({"username": "a b"}, 400),
        ({"username": "x" * 65}, 400),
        ({"password": "short"}, 400),
        ({"level": 7}, 400),
        ({"level": None}, 400),
        ({"kind": "robot"}, 400),
        ({"email": "nowhere"}, 400),
        ({"is_superuser": True}, 400),
    ],
)
def test_what_cannot_be_an_account_is_refused_with_a_reason(cast, call, changes, status):
    answer = call(USERS, {**NEW, **changes}, user="admin")
    assert answer.status_code == status
    assert answer.json().keys() >= {"code", "reason", "suggested_remedy"}
    assert next(iter(changes)) in answer.json()["reason"] or status == 409
    assert not User.objects.filter(username="obs").exists()


def test_a_change_touches_only_what_it_names(cast, call):
    answer = call(at(cast["readonly"]), {"level": 2, "full_name": "Peer"}, user="admin", method="patch")
    assert answer.status_code == 200
    user = User.objects.get(username="readonly")
    assert (user.level, user.full_name, user.is_active) == (Level.CALLBACK, "Peer", True)
    assert user.check_password(PASSWORD)


@pytest.mark.parametrize("text", ["two\nlines", "bell\x07", "\x1b[31mred"])
def test_a_name_for_people_has_no_control_characters(cast, call, text):
    answer = call(at(cast["readonly"]), {"full_name": text}, user="admin", method="patch")
    assert answer.status_code == 400
    assert "control characters" in answer.json()["reason"]
    assert User.objects.get(pk=cast["readonly"].pk).full_name == cast["readonly"].full_name


def test_the_last_administrator_stays(cast, call):
    for change in ({"level": 1}, {"is_active": False}):
        answer = call(at(cast["admin"]), change, user="admin", method="patch")
        assert answer.status_code == 409
        assert "last active" in answer.json()["reason"]
    assert User.objects.get(username="admin").is_staff


def test_accounts_are_not_deleted_here(cast, call):
    assert call(at(cast["readonly"]), user="admin", method="delete").status_code == 405
    assert call(at(cast["readonly"]), NEW, user="admin", method="put").status_code == 405


def test_everybody_sees_themselves_and_what_this_very_request_may(cast, call, token_of):
    me = call(f"{USERS}me/", user="readwrite").json()
    assert (me["username"], me["level"], me["acting_level"]) == ("readwrite", 4, 4)
    weak = token_of(cast["admin"], Level.READONLY)
    me = call(f"{USERS}me/", token=weak).json()
    assert (me["username"], me["level"], me["acting_level"]) == ("admin", 100, 1)
    assert call(USERS, token=weak).status_code == 403


def test_numbers_beyond_all_accounts_are_404(cast, call):
    for number in (2**62, 10**18, "9" * 17):
        answer = call(f"{USERS}{number}/", user="admin")
        assert answer.status_code == 404
        assert answer.json()["reason"]
