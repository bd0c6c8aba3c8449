"""`users/...` of the wire protocol: its samples, and none of its faults."""

import pytest

from accounts.levels import Level
from accounts.models import User
from librarian.common.models import AuditEntry
from tests.make import PASSWORD, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.accounts.urls"), pytest.mark.usefixtures("cast")]


@pytest.fixture
def users(call):
    """`users("create", body)`: status and answer of a call of the administrator."""

    def make(endpoint, body, *, user="admin", **options):
        answer = call(f"/api/v2/users/{endpoint}", body, user=user, **options)
        if answer.status_code >= 400:
            assert "detail" not in answer.json()
            assert answer.json()["suggested_remedy"]
        return answer.status_code, answer.json()

    return make


def test_the_samples_of_the_reference(users, call):
    body = {"username": "destination_librarian", "password": "dpw", "permission": 2}
    assert users("create", body) == (201, {"success": True, "username": "destination_librarian"})
    assert users("get", {"username": "readonly"}) == (200, {"username": "readonly", "permission": 1})
    assert call("/api/v2/callback", user="destination_librarian", password="dpw").status_code == 200


def test_creating_one_that_exists_is_400_in_words_that_clients_match(users):
    before = User.objects.get(username="readonly").password
    status, answer = users("create", {"username": "readonly", "password": "pw", "permission": 100})
    assert status == 400
    assert "User already exists" in answer["reason"]
    assert (answer["success"], answer["username"]) == (False, "readonly")
    user = User.objects.get(username="readonly")
    assert (user.password, user.level) == (before, Level.READONLY)


@pytest.mark.parametrize("endpoint", ["update", "delete", "get"])
def test_an_unknown_user_is_400_in_words_that_clients_match(users, endpoint):
    status, answer = users(endpoint, {"username": "nobody", "permission": 1})
    assert status == 400
    assert "User not found" in answer["reason"]
    assert answer["username"] == "nobody"
    assert answer == {**answer, **({"permission": 0} if endpoint == "get" else {"success": False})}


def test_update_changes_what_is_given_and_nothing_else(users):
    assert users("update", {"username": "readonly", "permission": 3}) == (
        200,
        {"success": True, "username": "readonly"},
    )
    user = User.objects.get(username="readonly")
    assert user.level == Level.READAPPEND
    assert user.check_password(PASSWORD)
    assert users("update", {"username": "readonly", "password": "new"})[0] == 200
    user.refresh_from_db()
    assert user.level == Level.READAPPEND
    assert user.check_password("new")


def test_update_does_both_or_nothing(users):
    status, _ = users("update", {"username": "admin", "password": "new", "permission": 1})
    assert status == 409, "this is the last administrator"
    admin = User.objects.get(username="admin")
    assert (admin.level, admin.check_password(PASSWORD)) == (Level.ADMIN, True)


def test_delete_removes_the_account_but_never_the_last_administrator(users):
    assert users("delete", {"username": "readonly"}) == (200, {"success": True, "username": "readonly"})
    assert not User.objects.filter(username="readonly").exists()
    status, answer = users("delete", {"username": "admin"})
    assert status == 409
    assert "last active" in answer["reason"]
    assert User.objects.filter(username="admin").exists()


def test_a_password_is_changed_against_the_old_one_only(users, call):
    status, _ = users("password_update", {"password": "not it", "new_password": "stolen"}, user="readonly")
    assert status == 401
    assert User.objects.get(username="readonly").check_password(PASSWORD)
    status, answer = users("password_update", {"password": PASSWORD, "new_password": "my new one"}, user="readonly")
    assert (status, answer) == (200, {"success": True, "username": "readonly"})
    assert call("/api/v3/whoami", user="readonly").status_code == 401
    assert call("/api/v3/whoami", user="readonly", password="my new one").status_code == 200


def test_a_stolen_token_does_not_change_the_password_by_guessing(cast, call, token_of, quick_lock):
    token = token_of(cast["readonly"], Level.READONLY)
    body = {"password": "a guess", "new_password": "stolen"}
    statuses = [call("/api/v2/users/password_update", body, token=token).status_code for _ in range(4)]
    assert statuses == [401, 401, 429, 429]


def test_acts_leave_a_trace_with_the_address(users):
    users("create", {"username": "new", "password": "secret-pw", "permission": 1})
    entry = AuditEntry.objects.get(action="create_user")
    assert (entry.actor_name, entry.subject, entry.address) == ("admin", "new", "10.0.0.1")
    assert "secret-pw" not in str(entry.facts)


@pytest.mark.parametrize(
    "body",
    [
        {"username": "a:b", "password": "pw", "permission": 1},
        {"username": "", "password": "pw", "permission": 1},
        {"username": "x" * 65, "password": "pw", "permission": 1},
        {"username": "x" * 300, "password": "pw", "permission": 1},
        {"username": "a\u0000b", "password": "pw", "permission": 1},
        {"username": "new", "password": "", "permission": 1},
        {"username": "new", "password": "pw", "permission": 7},
        {"username": "new", "password": "pw", "permission": "ADMIN"},
        {"username": "new", "password": "pw", "permission": 2**63},
        {"username": ["new"], "password": "pw", "permission": 1},
        {"username": "new", "password": "pw"},
    ],
)
def test_what_cannot_be_an_account_is_refused_with_a_reason(users, body):
    count = User.objects.count()
    status, answer = users("create", body)
    assert status in (400, 422)
    assert answer["reason"]
    assert User.objects.count() == count


@pytest.mark.parametrize("endpoint", ["create", "update", "delete", "get"])
def test_only_administrators_may(users, endpoint):
    make_user("victim")
    body = {"username": "victim", "password": "pw", "permission": 1}
    for name in ("none", "readonly", "callback", "readappend", "readwrite"):
        status, answer = users(endpoint, body, user=name)
        assert status == 401
        assert "ADMIN" in answer["suggested_remedy"]
