"""Changes of accounts and tokens: their rules, and their trace."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils.timezone import now

from accounts import services
from accounts.levels import Level
from accounts.models import ApiToken, User
from librarian.common.errors import Conflict, InvalidRequest, LevelTooLow, Refused
from librarian.common.models import AuditEntry
from tests.make import make_user

GOOD = "a long enough password"


def last_act():
    entry = AuditEntry.objects.order_by("-pk").first()
    return entry.actor_name, entry.action, entry.subject


def create(actor=None, **changes):
    fields = {"username": "new", "password": GOOD, "level": Level.READONLY, **changes}
    return services.create_user(actor=actor, **fields)


# --- Accounts ---


def test_an_account_is_made_with_a_trace_and_without_its_password_in_it(cast):
    user = create(cast["admin"], kind="instrument", full_name="The correlator", level=Level.READAPPEND)
    user.refresh_from_db()
    assert user.check_password(GOOD)
    assert (user.level, user.kind, user.is_staff) == (Level.READAPPEND, "instrument", False)
    assert last_act() == ("admin", "create_user", "new")
    assert GOOD not in str(AuditEntry.objects.values_list("facts", flat=True))


def test_an_account_without_password_opens_to_tokens_only(db):
    assert not create(password=None).has_usable_password()


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 65, "a\0b", "ä", "a\n", "../x"])
def test_bad_names_are_refused(db, name):
    with pytest.raises(InvalidRequest, match="username"):
        create(username=name)
    assert not User.objects.exists()


@pytest.mark.parametrize("password", ["", "short", "1234567890", "x" * 5000, "half \ud800 pair of them"])
def test_bad_passwords_are_refused(db, password):
    with pytest.raises(InvalidRequest, match="password"):
        create(password=password)
    assert not User.objects.exists()


def test_a_taken_name_is_refused_in_the_words_of_the_wire(db):
    make_user("new")
    with pytest.raises(services.UserExists, match="User already exists"):
        create()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(
    "act",
    [
        lambda actor, other: create(actor, level=Level.ADMIN),
        lambda actor, other: services.set_level(actor=actor, user=actor, level=Level.ADMIN),
        lambda actor, other: services.set_level(actor=actor, user=other, level=Level.READONLY),
        lambda actor, other: services.set_active(actor=actor, user=other, active=False),
        lambda actor, other: services.set_password(actor=actor, user=other, password=GOOD),
        lambda actor, other: services.delete_user(actor=actor, user=other),
        lambda actor, other: services.issue_token(
            actor=actor, user=other, name="t", level=Level.ADMIN, expires_at=None
        ),
    ],
)
def test_nobody_grants_or_edits_above_the_own_level(cast, act):
    make_user("second-admin", level=Level.ADMIN)
    before = list(User.objects.order_by("pk").values())
    with pytest.raises(LevelTooLow):
        act(cast["readwrite"], cast["admin"])
    assert list(User.objects.order_by("pk").values()) == before
    assert not ApiToken.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_closed_administrator_grants_nothing(cast):
    closed = make_user("closed", level=Level.ADMIN, is_active=False)
    with pytest.raises(LevelTooLow):
        create(closed)


def test_an_unknown_level_is_refused(cast):
    with pytest.raises(InvalidRequest, match="level"):
        services.set_level(actor=cast["admin"], user=cast["none"], level=7)


def test_staff_follows_level_and_active_flag(cast):
    user = cast["readonly"]
    services.set_level(actor=None, user=user, level=Level.ADMIN)
    assert user.is_staff
    assert user.is_superuser
    services.set_active(actor=None, user=user, active=False)
    user.refresh_from_db()
    assert not user.is_staff
    assert not user.is_superuser


def test_a_change_says_what_was_and_what_is(cast):
    services.update_user(actor=cast["admin"], user=cast["readonly"], level=Level.CALLBACK, full_name="Peer")
    assert AuditEntry.objects.get().facts == {"level": ["READONLY", "CALLBACK"], "full_name": ["", "Peer"]}


def test_a_change_to_the_same_leaves_no_trace(cast):
    services.set_level(actor=cast["admin"], user=cast["readonly"], level=Level.READONLY)
    assert not AuditEntry.objects.exists()


@pytest.mark.urls("tests.accounts.urls")
def test_a_new_password_ends_sessions(cast, client):
    client.force_login(cast["readonly"])
    assert client.get("/page/").status_code == 200
    services.set_password(actor=None, user=User.objects.get(username="readonly"), password=GOOD)
    assert client.get("/page/").status_code == 302
    assert AuditEntry.objects.get().action == "set_password"


def test_an_account_is_deleted_with_its_tokens(cast, token_of):
    token_of(cast["readonly"], Level.READONLY)
    services.delete_user(actor=cast["admin"], user=cast["readonly"])
    assert not ApiToken.objects.exists()
    assert last_act() == ("admin", "delete_user", "readonly")


def test_what_a_deleted_account_did_stays_under_its_name(cast):
    doer = make_user("doer", level=Level.ADMIN)
    services.set_level(actor=doer, user=cast["none"], level=Level.READONLY)
    services.delete_user(actor=cast["admin"], user=doer)
    entry = AuditEntry.objects.get(action="update_user")
    assert (entry.actor, entry.actor_name) == (None, "doer")


# --- The last administrator ---

LOSSES = {
    "demoted": lambda user: services.set_level(actor=None, user=user, level=Level.READWRITE),
    "closed": lambda user: services.set_active(actor=None, user=user, active=False),
    "deleted": lambda user: services.delete_user(actor=None, user=user),
    "deleted as a row": lambda user: user.delete(),
    "deleted as a queryset": lambda user: User.objects.filter(pk=user.pk).delete(),
    "deleted with everybody": lambda user: User.objects.all().delete(),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_last_administrator_stays(cast, loss):
    make_user("closed", level=Level.ADMIN, is_active=False)  # does not count
    with pytest.raises(Refused, match="last active"):
        LOSSES[loss](cast["admin"])
    assert User.objects.get(username="admin").is_staff


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "deleted with everybody"])
def test_an_administrator_who_is_not_the_last_may_go(cast, loss):
    make_user("second", level=Level.ADMIN)
    LOSSES[loss](cast["admin"])
    assert User.objects.administrators().get().username == "second"


@pytest.mark.django_db(transaction=True)
def test_two_who_demote_each_other_at_once_do_not_both_succeed():
    users = [make_user(name, level=Level.ADMIN) for name in ("first", "second")]
    start, outcomes = threading.Barrier(2), []

    def demote(actor, user):
        try:
            start.wait(timeout=10)
            services.set_level(actor=actor, user=user, level=Level.READONLY)
            outcomes.append("done")
        except (Refused, LevelTooLow):
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=demote, args=pair) for pair in (users, users[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(outcomes) == ["done", "refused"]
    assert User.objects.administrators().count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_demotion_waits_for_another_one_that_is_under_way():
    """The second one decides on what the first one left, not on what it saw before."""
    first, second = (make_user(name, level=Level.ADMIN) for name in ("first", "second"))
    outcome = []

    def demote_second():
        try:
            services.set_level(actor=None, user=second, level=Level.READONLY)
            outcome.append("done")
        except Refused:
            outcome.append("refused")
        finally:
            connection.close()

    thread = threading.Thread(target=demote_second)
    with transaction.atomic():
        services.set_level(actor=None, user=first, level=Level.READONLY)
        thread.start()
        thread.join(timeout=0.3)
        assert outcome == [], "it must wait for this transaction"
    thread.join(timeout=60)
    assert outcome == ["refused"]


# --- Tokens ---


def issue(user, actor=None, **changes):
    fields = {"name": "pipeline", "level": Level.READONLY, "expires_at": None, **changes}
    return services.issue_token(actor=actor, user=user, **fields)


def test_a_token_is_issued_with_a_trace_and_without_its_text_in_it(cast):
    token, text = issue(cast["readwrite"], cast["admin"], level=Level.READAPPEND)
    assert last_act() == ("admin", "issue_token", "readwrite/pipeline")
    assert text[4:] not in str(list(AuditEntry.objects.values()))
    assert services.effective_level(token) == Level.READAPPEND


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"level": Level.READWRITE}, LevelTooLow),
        ({"level": Level.NONE}, InvalidRequest),
        ({"level": 9}, InvalidRequest),
        ({"level": Level.CALLBACK, "ceiling": Level.READONLY}, LevelTooLow),
        ({"name": "  "}, InvalidRequest),
        ({"name": "x" * 65}, InvalidRequest),
        ({"name": "a\0b"}, InvalidRequest),
        ({"name": "a\nb"}, InvalidRequest),
        ({"expires_at": now() - timedelta(seconds=1)}, InvalidRequest),
    ],
)
def test_what_a_token_may_not_be(cast, changes, error):
    with pytest.raises(error):
        issue(cast["readappend"], cast["readappend"], **changes)
    assert not ApiToken.objects.exists()


def test_a_closed_account_gets_no_token(cast):
    services.set_active(actor=None, user=cast["readonly"], active=False)
    with pytest.raises(Refused, match="not active"):
        issue(cast["readonly"])


def test_a_live_tokens_name_is_free_again_once_it_is_revoked(cast):
    token, _ = issue(cast["readonly"])
    with pytest.raises(Conflict, match="pipeline"):
        issue(cast["readonly"])
    services.revoke_token(actor=cast["readonly"], token=token)
    issue(cast["readonly"])


def test_revoking_twice_keeps_the_first_time_and_one_trace(cast):
    token, _ = issue(cast["readonly"])
    services.revoke_token(actor=cast["admin"], token=token)
    first = ApiToken.objects.get().revoked_at
    services.revoke_token(actor=cast["admin"], token=ApiToken.objects.get())
    assert ApiToken.objects.get().revoked_at == first
    assert AuditEntry.objects.filter(action="revoke_token").count() == 1


def test_nobody_revokes_a_strangers_stronger_token_but_everybody_the_own(cast):
    token, _ = issue(cast["admin"], level=Level.ADMIN)
    with pytest.raises(LevelTooLow):
        services.revoke_token(actor=cast["readwrite"], token=token)
    services.revoke_token(actor=cast["admin"], token=token)


def test_what_a_token_is_worth(cast):
    token, _ = issue(cast["readwrite"], level=Level.READWRITE, expires_at=now() + timedelta(days=1))
    worth = services.effective_level
    assert worth(token) == Level.READWRITE
    token.user.level = Level.CALLBACK
    assert worth(token) == Level.CALLBACK
    token.expires_at = now() - timedelta(seconds=1)
    assert worth(token) == Level.NONE
    token.expires_at, token.user.is_active = None, False
    assert worth(token) == Level.NONE
