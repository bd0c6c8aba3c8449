"""Guessing locks a pair of name and address, at every door alike, and stops nobody else."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.test import Client
from django.utils.timezone import now

from accounts.levels import Level
from accounts.lockout import clear_lock, locked_pairs, with_lock_state
from accounts.models import User
from librarian.common.models import AuditEntry
from tests.make import PASSWORD

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.accounts.urls"),
    pytest.mark.usefixtures("cast", "quick_lock"),
]

ME = "/api/v3/whoami"
HERE, ELSEWHERE = "10.0.0.1", "10.0.0.2"


@pytest.fixture
def guess(call):
    """Send wrong passwords for a name; the last answer is returned."""

    def make(times=3, user="readonly", **options):
        for _ in range(times):
            answer = call(ME, user=user, password="wrong", **options)
        return answer

    return make


def test_the_last_guess_allowed_locks_the_pair(call, guess):
    assert guess(2).status_code == 401
    assert guess(1).status_code == 429
    locked = call(ME, user="readonly")
    assert locked.status_code == 429, "not even the right password opens a locked pair"
    assert locked.json()["code"] == "locked_out"
    assert "readonly" in locked.json()["reason"]
    assert HERE in locked.json()["reason"]
    assert 880 <= int(locked.headers["Retry-After"]) <= 900


def test_other_names_and_other_addresses_stay_open(call, guess):
    guess()
    assert call(ME, user="readonly", address=ELSEWHERE).status_code == 200
    assert call(ME, user="admin").status_code == 200


def test_names_that_no_account_has_lock_just_the_same(guess):
    assert guess(2, user="nobody").status_code == 401
    assert guess(1, user="nobody").status_code == 429


def test_a_locked_pair_computes_no_hash(call, guess, hashes):
    guess()
    del hashes[:]
    call(ME, user="readonly")
    assert hashes == []


def test_another_browser_name_does_not_start_a_new_count(call, guess):
    for number in range(3):
        answer = guess(1, HTTP_USER_AGENT=f"agent {number}")
    assert answer.status_code == 429


def test_a_lock_never_stops_a_token(cast, call, guess, token_of):
    token = token_of(cast["readonly"], Level.READONLY)
    guess()
    assert call(ME, token=token).status_code == 200


def test_a_lock_never_stops_a_credential_still_remembered(call, guess):
    assert call(ME, user="readonly").status_code == 200
    assert guess().status_code == 429
    assert call(ME, user="readonly").status_code == 200


def test_the_lock_ends_by_itself_and_is_not_prolonged_by_trying(call, guess):
    guess()
    AccessAttempt.objects.update(attempt_time=now() - timedelta(minutes=14))
    assert 1 <= int(guess(1).headers["Retry-After"]) <= 60
    AccessAttempt.objects.update(attempt_time=now() - timedelta(minutes=16))
    assert call(ME, user="readonly").status_code == 200


def test_the_right_password_forgives_earlier_slips(call, guess):
    guess(2)
    call(ME, user="readonly")
    assert guess(2).status_code == 401


def test_the_client_cannot_choose_the_address_it_is_counted_under(call, guess, settings):
    for number in range(3):
        answer = guess(1, HTTP_X_FORWARDED_FOR=f"198.51.100.{number}")
    assert answer.status_code == 429
    settings.LIBRARIAN_TRUSTED_PROXIES = [HERE]
    assert call(ME, user="readonly", HTTP_X_FORWARDED_FOR="198.51.100.77").status_code == 200


def test_no_body_is_read_and_nothing_of_the_request_is_kept(call):
    call(ME, user="readonly", password="wrong", body={"secret": "sesame"}, HTTP_USER_AGENT="an agent")
    attempt = AccessAttempt.objects.get()
    kept = str(attempt.__dict__)
    assert "sesame" not in kept
    assert "wrong" not in kept
    assert "an agent" not in kept


# --- Portal and staff admin ---


@pytest.mark.parametrize("door", ["/login/", "/admin/login/"])
def test_the_same_lock_holds_at_the_pages(call, door):
    browser = Client(REMOTE_ADDR=HERE)
    for expected in (200, 200, 429):
        answer = browser.post(door, {"username": "admin", "password": "wrong"})
        assert answer.status_code == expected
    locked = browser.post(door, {"username": "admin", "password": PASSWORD})
    assert locked.status_code == 429
    assert "text/html" in locked.headers["Content-Type"]
    assert "admin" in locked.content.decode()
    assert 1 <= int(locked.headers["Retry-After"]) <= 900
    assert call(ME, user="admin").status_code == 429, "one count for all doors"
    assert Client(REMOTE_ADDR=ELSEWHERE).post(door, {"username": "admin", "password": PASSWORD}).status_code == 302


def test_a_lock_from_the_machine_api_holds_at_the_login_page(guess):
    guess(user="admin")
    answer = Client(REMOTE_ADDR=HERE).post("/login/", {"username": "admin", "password": PASSWORD})
    assert answer.status_code == 429


@pytest.mark.parametrize("door", ["/login/", "/admin/login/"])
@pytest.mark.parametrize("name", ["x" * 65, "x" * 300, "adm\0in"])
def test_impossible_names_are_refused_by_the_form(hashes, door, name):
    answer = Client().post(door, {"username": name, "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.context["form"].errors["username"]
    assert hashes == []
    assert not AccessAttempt.objects.exists()


def test_whatever_name_reaches_the_counter_fits_the_database(rf):
    from django.contrib.auth import authenticate

    assert authenticate(rf.post("/"), username="y" * 300, password="wrong") is None
    assert AccessAttempt.objects.get().username == "y" * 64


# --- Seeing and clearing ---


def test_locks_are_seen_and_cleared_with_a_trace(cast, call, guess):
    guess()
    guess(2, user="admin")
    assert [(pair["username"], pair["ip_address"]) for pair in locked_pairs()] == [("readonly", HERE)]
    until = {user.username: user.locked_until for user in with_lock_state(User.objects.all())}
    assert [name for name, ends_at in until.items() if ends_at] == ["readonly"]
    assert until["readonly"] > now()
    assert clear_lock(actor=cast["admin"], username="readonly", address=HERE) == 1
    assert call(ME, user="readonly").status_code == 200
    entry = AuditEntry.objects.get(action="clear_lock")
    assert (entry.actor_name, entry.subject) == ("admin", "readonly")
