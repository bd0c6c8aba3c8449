"""`/api/v3/tokens/`."""

from datetime import timedelta

import pytest
from django.utils.timezone import now

from accounts.levels import Level
from accounts.models import ApiToken
from librarian.common.models import AuditEntry

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.accounts.urls")]

TOKENS = "/api/v3/tokens/"
ME = "/api/v3/whoami"


def test_a_token_is_shown_once_and_opens(cast, call):
    answer = call(TOKENS, {"name": "night", "level": 3}, user="readappend")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert call(ME, token=body["token"]).json() == {"username": "readappend", "level": 3}
    for path in (TOKENS, f"{TOKENS}{body['id']}/"):
        later = call(path, user="readappend")
        assert later.status_code == 200
        assert body["token"] not in later.content.decode()
        assert ApiToken.objects.get().digest not in later.content.decode()


def test_people_see_their_own_and_administrators_all(cast, call, token_of):
    token_of(cast["readonly"], Level.READONLY)
    token_of(cast["readwrite"], Level.READWRITE)
    strangers = ApiToken.objects.get(user=cast["readwrite"])

    def owners(**who):
        return sorted(row["user"] for row in call(TOKENS, **who).json()["results"])

    assert owners(user="readonly") == ["readonly"]
    assert owners(user="admin") == ["readonly", "readwrite"]
    assert call(f"{TOKENS}?user=readwrite", user="admin").json()["results"][0]["id"] == strangers.pk
    assert call(f"{TOKENS}{strangers.pk}/", user="readonly").status_code == 404
    assert call(f"{TOKENS}{strangers.pk}/", user="readonly", method="delete").status_code == 404
    assert owners(token=token_of(cast["admin"], Level.READONLY)) == ["admin"], "a weak token is no administrator"


def test_revoking_ends_it_at_once_and_keeps_the_line(cast, call):
    made = call(TOKENS, {"name": "night", "level": 1}, user="readonly").json()
    assert call(f"{TOKENS}{made['id']}/", user="readonly", method="delete").status_code == 204
    assert call(ME, token=made["token"]).status_code == 401
    line = call(f"{TOKENS}?is_usable=false", user="readonly").json()["results"][0]
    assert line["revoked_at"] is not None
    assert (line["is_usable"], line["effective_level"]) == (False, 0)
    assert call(f"{TOKENS}?is_usable=true", user="readonly").json()["results"] == []
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == ["issue_token", "revoke_token"]


def test_a_weak_token_makes_no_stronger_one_and_revokes_none(cast, call, token_of):
    weak, strong = token_of(cast["admin"], Level.READONLY), token_of(cast["admin"], Level.ADMIN)
    answer = call(TOKENS, {"name": "more", "level": 100}, token=weak)
    assert answer.status_code == 403
    assert "READONLY" in answer.json()["reason"]
    strong_row = ApiToken.objects.get(level=Level.ADMIN)
    assert call(f"{TOKENS}{strong_row.pk}/", token=weak, method="delete").status_code == 403
    assert call(ME, token=strong).status_code == 200
    own = ApiToken.objects.get(level=Level.READONLY)
    assert call(f"{TOKENS}{own.pk}/", token=weak, method="delete").status_code == 204


def test_nobody_gets_a_token_above_the_own_level(cast, call):
    answer = call(TOKENS, {"name": "more", "level": 4}, user="readonly")
    assert answer.status_code == 403
    assert not ApiToken.objects.exists()


def test_only_administrators_issue_for_others(cast, call):
    body = {"name": "night", "level": 1, "user": "readwrite"}
    assert call(TOKENS, body, user="readonly").status_code == 403
    assert call(TOKENS, body, user="admin").json()["user"] == "readwrite"
    assert call(TOKENS, {**body, "user": "nobody"}, user="admin").status_code == 404
    assert call(TOKENS, {**body, "level": 100}, user="admin").status_code == 403


def test_a_token_ends_when_it_says(cast, call):
    ends = now() + timedelta(hours=1)
    made = call(TOKENS, {"name": "night", "level": 1, "expires_at": ends.isoformat()}, user="readonly").json()
    assert call(ME, token=made["token"]).status_code == 200
    ApiToken.objects.update(expires_at=now() - timedelta(seconds=1))
    assert call(ME, token=made["token"]).status_code == 401


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"name": ""}, 400),
        ({"name": "x" * 65}, 400),
        ({"name": "a\nb"}, 400),
        ({"level": 0}, 400),
        ({"level": 7}, 400),
        ({"expires_at": "2001-01-01T00:00:00Z"}, 400),
        ({"expires_at": "tomorrow"}, 400),
    ],
)
def test_what_a_token_may_not_be_is_refused_with_a_reason(cast, call, changes, status):
    answer = call(TOKENS, {"name": "night", "level": 1, **changes}, user="readonly")
    assert answer.status_code == status
    assert next(iter(changes)) in answer.json()["reason"]
    assert not ApiToken.objects.exists()


def test_the_same_name_twice_is_a_conflict(cast, call):
    body = {"name": "night", "level": 1}
    assert call(TOKENS, body, user="readonly").status_code == 201
    assert call(TOKENS, body, user="readonly").status_code == 409


def test_a_page_of_tokens_has_two_queries_however_many_there_are(cast, call, token_of, django_assert_num_queries):
    call(ME, user="admin")
    for name in ("readonly", "readwrite", "admin"):
        for _ in range(5):
            token_of(cast[name], Level.READONLY)
    with django_assert_num_queries(2):  # who is calling, the page with its owners
        assert len(call(TOKENS, user="admin").json()["results"]) == 15
