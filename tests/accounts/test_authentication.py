"""Who a caller of the machine API is, and what a refusal says."""

import base64
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.utils.timezone import now

from accounts import credentials
from accounts.levels import Level
from accounts.models import ApiToken, User
from accounts.services import revoke_token, set_active, set_level, set_password
from hera_librarian.authenticator import authorization_header
from tests.make import PASSWORD, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.accounts.urls")]

ME = "/api/v3/whoami"


def encoded(raw: bytes) -> str:
    return "Basic " + base64.b64encode(raw).decode()


# --- Basic ---


def test_the_right_password_opens(cast, call):
    assert call(ME, user="readonly").json() == {"username": "readonly", "level": Level.READONLY}


def test_a_password_may_have_colons_and_any_script(call):
    make_user("thabo", password="a:b:ł𝄞 c")
    assert call(ME, user="thabo", password="a:b:ł𝄞 c").status_code == 200


@pytest.mark.parametrize("user", ["readonly", "nobody"])
def test_a_wrong_password_says_the_same_of_known_and_unknown_names(cast, call, user):
    answer = call(ME, user=user, password="wrong")
    assert answer.status_code == 401
    assert answer.json()["reason"] == "Incorrect username or password"
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("Basic", "one credential"),
        ("Basic  ", "one credential"),
        ("Basic not+base64!", "base64"),
        ("Basic a b", "one credential"),
        (encoded(b"no colon"), "colon"),
        (encoded(b"name:\xff\xfe"), "UTF-8"),
        ("Basic " + "QQ" * 5000, "one credential"),
        ("Bearer", "one credential"),
    ],
)
def test_a_header_that_cannot_be_read_is_401_and_says_why(cast, call, header, says):
    answer = call(ME, HTTP_AUTHORIZATION=header)
    assert answer.status_code == 401
    assert says in answer.json()["reason"]
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize("header", [None, "Digest username=admin", "Negotiate abc"])
def test_without_a_scheme_of_ours_nobody_is_known(cast, call, header):
    answer = call(ME, **({} if header is None else {"HTTP_AUTHORIZATION": header}))
    assert answer.status_code == 401
    assert answer.json()["code"] == "authentication_required"
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_scheme_names_are_read_in_any_case(cast, call):
    assert (
        call(ME, HTTP_AUTHORIZATION=encoded(f"admin:{PASSWORD}".encode()).replace("Basic", "bASIC")).status_code == 200
    )


@pytest.mark.parametrize("name", ["x" * 65, "a\0b", "x" * 5000])
def test_names_that_no_account_has_never_reach_database_or_hasher(cast, call, hashes, django_assert_num_queries, name):
    with django_assert_num_queries(0):
        answer = call(ME, user=name)
    assert answer.status_code == 401
    assert hashes == []


def test_an_inactive_account_is_refused(cast, call):
    set_active(actor=None, user=cast["readonly"], active=False)
    assert call(ME, user="readonly").status_code == 401


@pytest.mark.parametrize("who", ["known", "unknown", "inactive", "no password"])
def test_whoever_is_refused_cost_exactly_one_hash(cast, call, hashes, who):
    make_user("closed", is_active=False)
    make_user("tokens-only", password=None)
    name = {"known": "readonly", "unknown": "nobody", "inactive": "closed", "no password": "tokens-only"}[who]
    del hashes[:]
    assert call(ME, user=name, password="wrong").status_code == 401
    assert len(hashes) == 1


# --- What is remembered ---


def test_a_proven_password_is_not_hashed_again_and_costs_one_query(cast, call, hashes, django_assert_num_queries):
    call(ME, user="readonly")
    del hashes[:]
    with django_assert_num_queries(1):
        assert call(ME, user="readonly").status_code == 200
    assert hashes == []


def test_a_proven_password_proves_no_other_password_and_no_other_name(cast, call):
    call(ME, user="readonly")
    assert call(ME, user="readonly", password=PASSWORD + "x").status_code == 401
    assert call(ME, user="nobody").status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        lambda user: set_password(actor=None, user=user, password="another long password"),
        lambda user: set_active(actor=None, user=user, active=False),
        lambda user: User.objects.filter(pk=user.pk).update(password="!"),  # as another process would
        lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
    ],
)
def test_a_change_of_the_row_is_noticed_at_the_next_call(cast, call, change):
    assert call(ME, user="readonly").status_code == 200
    change(cast["readonly"])
    assert call(ME, user="readonly").status_code == 401


def test_a_proven_password_does_not_queue_behind_those_being_checked(cast, call, monkeypatch):
    call(ME, user="readonly")
    monkeypatch.setattr(credentials, "_LONGEST_WAIT_SECONDS", 0.01)
    with ExitStack() as held:
        for _ in range(credentials._RUNS_AT_ONCE):
            held.enter_context(credentials.turn_to_hash())
        assert call(ME, user="readonly").status_code == 200
        waits = call(ME, user="readwrite")
    assert waits.status_code == 503
    assert int(waits.headers["Retry-After"]) > 0


def test_a_change_of_level_is_noticed_at_once_and_proven_anew(cast, call, hashes):
    call(ME, user="readwrite")
    set_level(actor=None, user=cast["readwrite"], level=Level.READONLY)
    del hashes[:]
    assert call(ME, user="readwrite").json()["level"] == Level.READONLY
    assert len(hashes) == 1


def test_nothing_is_remembered_when_the_setting_says_so(cast, call, hashes, settings):
    settings.LIBRARIAN_CREDENTIAL_CACHE_SECONDS = 0
    call(ME, user="readonly")
    del hashes[:]
    call(ME, user="readonly")
    assert len(hashes) == 1


def test_passwords_are_argon2(settings):
    settings.PASSWORD_HASHERS = [name for name in settings.PASSWORD_HASHERS if "MD5" not in name]
    assert make_user("secure").password.startswith(Argon2PasswordHasher.algorithm)


# --- Tokens ---


def test_a_token_opens_with_one_query_and_no_hash(cast, call, token_of, hashes, django_assert_num_queries):
    token = token_of(cast["readwrite"], Level.READWRITE)
    call(ME, token=token)
    del hashes[:]
    with django_assert_num_queries(1):
        assert call(ME, token=token).json() == {"username": "readwrite", "level": Level.READWRITE}
    assert hashes == []


def test_a_token_is_worth_the_lower_of_its_level_and_its_owners(cast, call, token_of):
    weak, strong = token_of(cast["admin"], Level.READONLY), token_of(cast["readwrite"], Level.READWRITE)
    assert call(ME, token=weak).json()["level"] == Level.READONLY
    assert call("/api/v3/strict", token=weak).status_code == 403
    assert call("/api/v3/strict", token=strong).status_code == 200
    set_level(actor=None, user=cast["readwrite"], level=Level.CALLBACK)
    assert call(ME, token=strong).json()["level"] == Level.CALLBACK
    assert call("/api/v3/strict", token=strong).status_code == 403


def test_an_expired_revoked_unknown_or_orphaned_token_is_refused(cast, call, token_of):
    expired, revoked, closed = (token_of(cast["readonly"], Level.READONLY) for _ in range(3))
    tokens = list(ApiToken.objects.order_by("pk"))
    ApiToken.objects.filter(pk=tokens[0].pk).update(expires_at=now() - timedelta(seconds=1))
    revoke_token(actor=None, token=tokens[1])
    for token in (expired, revoked, "lib_" + "x" * 43, "ż"):
        header = f"Bearer {token}"
        answer = call(ME, HTTP_AUTHORIZATION=header.encode("utf-8").decode("latin-1"))
        assert answer.status_code == 401, token
        assert "token" in answer.json()["reason"]
    assert call(ME, token=closed).status_code == 200
    set_active(actor=None, user=cast["readonly"], active=False)
    assert call(ME, token=closed).status_code == 401


def test_only_a_digest_of_a_token_is_kept(cast, token_of):
    text = token_of(cast["readonly"], Level.READONLY)
    row = ApiToken.objects.get()
    assert text.startswith("lib_")
    assert len(text) == 47
    assert text not in str(row.__dict__)
    assert row.hint == text[:9]


# --- Last use ---


def test_last_use_is_noted_once_a_minute(cast, call, token_of):
    token = token_of(cast["readonly"], Level.READONLY)
    call(ME, token=token)
    user, row = User.objects.get(username="readonly"), ApiToken.objects.get()
    assert now() - user.last_used_at < timedelta(minutes=1)
    assert row.last_used_at is not None
    moment = now() - timedelta(seconds=50)
    User.objects.update(last_used_at=moment)
    call(ME, token=token)
    assert User.objects.get(username="readonly").last_used_at == moment
    User.objects.update(last_used_at=now() - timedelta(seconds=70))
    call(ME, token=token)
    assert User.objects.get(username="readonly").last_used_at > moment


# --- The portal's session ---


def test_the_session_opens_version_3_for_reading_and_with_csrf_for_more(cast, client):
    from django.test import Client

    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast["readonly"])
    assert browser.get(ME).json()["username"] == "readonly"
    refused = browser.post(ME, content_type="application/json")
    assert refused.status_code == 403
    assert refused.json().keys() >= {"code", "reason", "suggested_remedy"}
    browser.cookies["csrftoken"] = "x" * 32
    assert browser.post(ME, content_type="application/json", headers={"X-CSRFToken": "x" * 32}).status_code == 200


def test_the_session_never_opens_the_wire(cast, client):
    client.force_login(cast["admin"])
    assert client.get("/api/v2/callback").status_code == 401


# --- The wire ---


@pytest.mark.parametrize("header", [encoded(b"admin:wrong"), encoded(b"nobody:x"), "Bearer lib_anything"])
def test_ping_believes_any_credentials_without_looking(cast, call, hashes, django_assert_num_queries, header):
    with django_assert_num_queries(0):
        answer = call("/api/v2/ping/", {}, HTTP_AUTHORIZATION=header)
    assert answer.status_code == 200
    assert hashes == []


@pytest.mark.parametrize("header", [None, "Basic", "Basic !!!!", encoded(b"no colon"), "Digest x", "Bearer "])
def test_ping_wants_credentials(call, db, header):
    answer = call("/api/v2/ping/", {}, **({} if header is None else {"HTTP_AUTHORIZATION": header}))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert "detail" not in answer.json()


def test_too_low_a_level_is_401_on_the_wire_and_names_the_level(cast, call, token_of):
    answer = call("/api/v2/callback", user="readonly")
    assert answer.status_code == 401
    assert answer.json()["reason"] == "Incorrect username or password"
    assert "CALLBACK" in answer.json()["suggested_remedy"]
    assert "READONLY" in answer.json()["suggested_remedy"]
    assert call("/api/v2/callback", user="callback").status_code == 200
    weak = token_of(cast["admin"], Level.READONLY)
    assert call("/api/v2/callback", token=weak).status_code == 401


def test_too_low_a_level_is_403_in_version_3_and_names_both_levels(cast, call):
    answer = call("/api/v3/strict", user="readonly")
    assert answer.status_code == 403
    assert answer.json()["code"] == "level_too_low"
    assert "READWRITE" in answer.json()["reason"]
    assert "READONLY" in answer.json()["reason"]
    assert call(ME, user="none").status_code == 403


# --- The authenticator text of peers and client configuration ---


def test_an_authenticator_with_a_colon_is_basic_and_without_one_a_token():
    assert authorization_header("a:b:c") == encoded(b"a:b:c")
    assert authorization_header("lib_abc") == "Bearer lib_abc"


@pytest.mark.parametrize("text", ["", "to ken", "tökén", "tok\nen"])
def test_an_authenticator_that_cannot_travel_is_refused(text):
    with pytest.raises(ValueError, match="authenticator"):
        authorization_header(text)
