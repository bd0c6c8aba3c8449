"""Provisioning in the staff admin: it obeys the services, shows secrets once, and never answers with a 500."""

import re

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client

from accounts.levels import Level
from accounts.models import ApiToken, User
from librarian.common.models import AuditEntry
from tests.make import PASSWORD, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.accounts.urls")]

USERS, TOKENS, LOCKS = "/admin/accounts/user/", "/admin/accounts/apitoken/", "/admin/axes/accessattempt/"
NEW = {"username": "obs", "kind": "instrument", "level": 3, "full_name": "Correlator", "email": "", "new_password": ""}


@pytest.fixture
def staff(cast):
    browser = Client(REMOTE_ADDR="10.0.0.9")
    browser.force_login(cast["admin"])
    return browser


def secret(answer):
    found = re.search(r'<pre class="secret"[^>]*>([^<]+)</pre>', answer.content.decode())
    return found and found[1]


def at(user, page="change"):
    return f"{USERS}{user.pk}/{page}/"


def changed(user, **changes):
    fields = {"kind": user.kind, "level": user.level, "is_active": "on", "full_name": "", "email": "", **changes}
    inline = {f"tokens-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
    return {name: value for name, value in {**fields, **inline}.items() if value is not None}


# --- Accounts ---


def test_an_account_with_a_generated_password_shows_it_once(staff):
    answer = staff.post(f"{USERS}add/", NEW)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    user = User.objects.get(username="obs")
    assert user.check_password(secret(answer))
    assert (user.level, user.kind, user.full_name) == (Level.READAPPEND, "instrument", "Correlator")
    assert secret(answer) not in staff.get(at(user)).content.decode()
    entry = AuditEntry.objects.get()
    assert (entry.actor_name, entry.action, entry.address) == ("admin", "create_user", "10.0.0.9")


def test_an_account_with_a_typed_password_shows_none(staff):
    answer = staff.post(f"{USERS}add/", {**NEW, "new_password": "a long enough password"})
    assert answer.status_code == 302
    assert User.objects.get(username="obs").check_password("a long enough password")


def test_an_account_for_tokens_only(staff):
    assert staff.post(f"{USERS}add/", {**NEW, "tokens_only": "on"}).status_code == 302
    assert not User.objects.get(username="obs").has_usable_password()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"username": "admin"}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": ""}, "username"),
        ({"level": 7}, "level"),
        ({"new_password": "short"}, "new_password"),
        ({"new_password": "a long enough password", "tokens_only": "on"}, "tokens_only"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(staff, changes, field):
    answer = staff.post(f"{USERS}add/", {**NEW, **changes})
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors[field]
    assert not User.objects.filter(username="obs").exists()


def test_a_change_goes_through_the_services(staff, cast):
    user = cast["readonly"]
    answer = staff.post(at(user), changed(user, level=4, is_active=None))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    user.refresh_from_db()
    assert (user.level, user.is_active) == (Level.READWRITE, False)
    assert user.check_password(PASSWORD)
    assert AuditEntry.objects.get().facts == {"level": ["READONLY", "READWRITE"], "is_active": [True, False]}


def test_the_name_and_the_derived_flags_cannot_be_set(staff, cast):
    user = cast["readonly"]
    staff.post(at(user), changed(user, username="other", is_staff="on", is_superuser="on", password="x"))
    user.refresh_from_db()
    assert (user.username, user.is_staff, user.is_superuser) == ("readonly", False, False)
    assert user.check_password(PASSWORD)


@pytest.mark.parametrize("change", [{"level": 1}, {"is_active": None}])
def test_the_last_administrator_stays_and_the_reason_is_shown(staff, cast, change):
    answer = staff.post(at(cast["admin"]), changed(cast["admin"], **change), follow=True)
    assert answer.status_code == 200
    assert "last active account with level ADMIN" in answer.content.decode()
    assert User.objects.get(username="admin").is_staff


@pytest.mark.parametrize("way", ["page", "list"])
def test_the_last_administrator_is_not_deleted_either(staff, cast, way):
    if way == "page":
        answer = staff.post(at(cast["admin"], "delete"), {"post": "yes"}, follow=True)
    else:
        picked = [cast["readonly"].pk, cast["admin"].pk]
        data = {"action": "delete_selected", "_selected_action": picked, "post": "yes"}
        answer = staff.post(USERS, data, follow=True)
    assert answer.status_code == 200
    assert "last active account with level ADMIN" in answer.content.decode()
    assert User.objects.filter(username__in=("admin", "readonly")).count() == 2, "all or nothing"


def test_an_account_with_tokens_is_deleted_with_them(staff, cast, token_of):
    token_of(cast["readonly"], Level.READONLY)
    assert staff.post(at(cast["readonly"], "delete"), {"post": "yes"}).status_code == 302
    assert not User.objects.filter(username="readonly").exists()
    assert not ApiToken.objects.exists()


def test_only_administrators_come_in(cast):
    for name in ("readonly", "readwrite"):
        browser = Client()
        browser.force_login(cast[name])
        for path in (USERS, at(cast["none"], "password"), at(cast["none"], "token"), TOKENS, LOCKS):
            assert browser.get(path).url.startswith("/admin/login/"), path


def test_groups_and_the_pages_of_the_lock_library_are_not_there():
    registered = {model.__name__ for model in admin.site._registry}
    assert Group not in admin.site._registry
    assert not registered & {"AccessLog", "AccessFailureLog"}
    assert "groups" not in admin.site._registry[User].get_form.__code__.co_consts


# --- Secrets ---


def test_a_password_is_reset_and_shown_once(staff, cast):
    page = at(cast["readonly"], "password")
    assert staff.get(page).status_code == 200
    answer = staff.post(page, {"new_password": ""})
    assert "no-store" in answer.headers["Cache-Control"]
    assert User.objects.get(username="readonly").check_password(secret(answer))
    assert AuditEntry.objects.get().action == "set_password"
    typed = staff.post(page, {"new_password": "another long password"})
    assert secret(typed) is None
    assert User.objects.get(username="readonly").check_password("another long password")


def test_a_weak_password_is_refused_beside_its_field(staff, cast):
    answer = staff.post(at(cast["readonly"], "password"), {"new_password": "1234567890"})
    assert answer.context["form"].errors["new_password"]
    assert User.objects.get(username="readonly").check_password(PASSWORD)


def test_resetting_ones_own_password_keeps_the_session(staff, cast):
    staff.post(at(cast["admin"], "password"), {"new_password": ""})
    assert staff.get(USERS).status_code == 200


def test_a_token_is_issued_and_shown_once(staff, cast, call):
    page = at(cast["readappend"], "token")
    assert staff.get(page).status_code == 200
    answer = staff.post(page, {"name": "night", "level": 3, "expires_days": "1.5"})
    assert call("/api/v3/whoami", token=secret(answer)).json() == {"username": "readappend", "level": 3}
    assert "no-store" in answer.headers["Cache-Control"]
    for later in (TOKENS, f"{TOKENS}{ApiToken.objects.get().pk}/change/", at(cast["readappend"])):
        text = staff.get(later).content.decode()
        assert "night" in text
        assert secret(answer) not in text
        assert ApiToken.objects.get().digest not in text
    again = staff.post(page, {"name": "night", "level": 3})
    assert "night" in again.context["form"].non_field_errors()[0]
    assert ApiToken.objects.count() == 1


def test_a_token_above_its_owner_is_not_on_offer(staff, cast):
    answer = staff.post(at(cast["readonly"], "token"), {"name": "night", "level": 100})
    assert answer.context["form"].errors["level"]
    assert not ApiToken.objects.exists()


def test_tokens_are_revoked_and_otherwise_read_only(staff, cast, token_of, call):
    text = token_of(cast["readonly"], Level.READONLY)
    token = ApiToken.objects.get()
    staff.post(TOKENS, {"action": "revoke", "_selected_action": [token.pk]})
    assert call("/api/v3/whoami", token=text).status_code == 401
    assert AuditEntry.objects.filter(action="revoke_token", actor_name="admin").exists()
    assert staff.get(f"{TOKENS}add/").status_code == 403
    assert staff.post(f"{TOKENS}{token.pk}/change/", {"name": "other", "level": 100}).status_code == 403
    assert staff.post(f"{TOKENS}{token.pk}/delete/", {"post": "yes"}).status_code == 403


# --- Locks ---


def test_locks_are_seen_and_cleared(staff, cast, call, quick_lock):
    for _ in range(3):
        call("/api/v3/whoami", user="readonly", password="wrong")
    assert 'field-lock_state">until ' in staff.get(f"{USERS}?q=readonly").content.decode()
    assert 'field-lock_state">no<' in staff.get(f"{USERS}?q=callback").content.decode()
    assert "10.0.0.1" in staff.get(LOCKS).content.decode()
    attempt = AccessAttempt.objects.get()
    assert staff.get(f"{LOCKS}{attempt.pk}/change/").status_code == 200
    assert staff.post(f"{LOCKS}{attempt.pk}/delete/", {"post": "yes"}).status_code == 403
    staff.post(LOCKS, {"action": "clear", "_selected_action": [attempt.pk]})
    assert call("/api/v3/whoami", user="readonly").status_code == 200
    assert AuditEntry.objects.filter(action="clear_lock", actor_name="admin").exists()


def test_all_locks_of_an_account_are_cleared_from_its_line(staff, cast, call, quick_lock):
    for address in ("10.0.0.1", "10.0.0.2"):
        for _ in range(3):
            call("/api/v3/whoami", user="readonly", password="wrong", address=address)
    staff.post(USERS, {"action": "clear_locks", "_selected_action": [cast["readonly"].pk]})
    assert not AccessAttempt.objects.exists()


def test_the_list_of_accounts_costs_the_same_for_many(staff, django_assert_max_num_queries):
    for number in range(30):
        make_user(f"more{number}")
    with django_assert_max_num_queries(7):  # session, user, last use, two counts, the page and its locks
        assert staff.get(USERS).status_code == 200
