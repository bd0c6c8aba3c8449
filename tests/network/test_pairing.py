"""Pairing by invitation: one code, two sites that know each other, and nothing for whoever guesses or races."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.levels import Level
from accounts.models import Invitation, User
from hera_librarian.authenticator import authorization_header
from librarian.common.errors import InvalidRequest, LevelTooLow, Refused
from librarian.common.leases import acquire
from librarian.common.models import AuditEntry
from network.errors import InvitationNotValid, NotALibrarian, PeerAnswered, PeerUnreachable
from network.models import Peer
from network.services.peering.inviting import invite, welcome
from network.services.peering.pairing import accept
from network.services.peering.pairing_code import Direction, PairingCode, proof_of, read_code
from tests.make import PASSWORD, make_peer, make_user
from tests.rig.servers import Site

pytestmark = pytest.mark.django_db
OURS = "http://127.0.0.1:5100"
PROOF = "p" * 64


@pytest.fixture(autouse=True)
def public_url(settings):
    settings.LIBRARIAN_PUBLIC_URL = OURS


def secret_of(code):
    return read_code(code).secret


def welcomed(code, name="north", **changes):
    given = {"url": "http://127.0.0.1", "port": 5200, "authenticator": "test_librarian:theirs", "proof": PROOF}
    return welcome(secret=secret_of(code), name=name, **{**given, **changes})


def accepted(code, standin, *, answer=None, **options):
    """Accept with a stand-in as the inviting site."""
    standin.answers.setdefault(
        "v3/pairing/", answer or (201, {"name": "north", "authenticator": "test_librarian:right"})
    )
    standin.answers.setdefault("v3/pairing/check/", (200, {"ok": True, "latency_seconds": 0.01}))
    return accept(actor=None, code=code, **options)


def code_of(standin, *, name="north", direction=Direction.BOTH, secret="s" * 43):
    return PairingCode(name, "http://127.0.0.1", standin.port, direction, secret).text


# --- The code ---------------------------------------------------------------------------------------------------------


def test_a_code_says_who_and_where_and_only_the_digest_of_its_secret_is_kept(cast):
    code = invite(actor=cast["admin"])
    said = read_code(f" {code[:40]}\n{code[40:]} ")
    assert (said.name, said.url, said.port, said.direction) == ("test_librarian", "http://127.0.0.1", 5100, "both")
    kept = json.dumps([*Invitation.objects.values(), *AuditEntry.objects.values("facts", "subject")], default=str)
    assert said.secret not in kept
    assert code not in kept
    assert AuditEntry.objects.get(action="invite_peer").actor == cast["admin"]
    assert said.secret not in repr(said)


@pytest.mark.parametrize(
    "text",
    ["", "hello", "librarian-pair-", "librarian-pair-???", "librarian-pair-" + "A" * 5000, "librarian-pair-W10"]
    + [
        "librarian-pair-" + base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
        for content in (
            {"v": 2},
            {"v": 1, "name": "a", "url": "http://a", "port": True, "secret": "x", "direction": "both"},
            {"v": 1, "name": "a", "url": "http://a", "port": 1, "secret": "x", "direction": "up"},
            {"v": 1, "name": "a", "url": "http://a", "port": 1, "secret": ["x"], "direction": "both"},
        )
    ],
)
def test_what_is_no_code_is_refused_in_words(text):
    with pytest.raises(InvalidRequest, match="no code of an invitation"):
        read_code(text)


def test_an_invitation_needs_an_administrator_an_address_and_a_life(cast, settings):
    with pytest.raises(LevelTooLow):
        invite(actor=cast["readwrite"])
    with pytest.raises(InvalidRequest, match="valid for 1 to"):
        invite(actor=None, valid_minutes=0)
    with pytest.raises(InvalidRequest, match="no direction"):
        invite(actor=None, direction="up")
    settings.LIBRARIAN_PUBLIC_URL = ""
    with pytest.raises(InvalidRequest, match="where other sites reach this one"):
        invite(actor=None)
    assert not Invitation.objects.exists()


# --- The inviting side ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "level"), [("send", Level.CALLBACK), ("receive", Level.READAPPEND), ("both", Level.READAPPEND)]
)
def test_whoever_shows_the_secret_gets_an_account_and_becomes_a_peer(cast, direction, level):
    code = invite(actor=cast["admin"], direction=direction)
    authenticator = welcomed(code)
    name, _, password = authenticator.partition(":")
    account = User.objects.get(username="north")
    assert (name, account.level, account.kind) == ("north", level, "librarian")
    assert account.check_password(password)
    peer = Peer.objects.get(name="north")
    assert (peer.url, peer.port, peer.account().authenticator) == ("http://127.0.0.1", 5200, "test_librarian:theirs")
    assert AuditEntry.objects.get(action="welcome_peer").actor == cast["admin"]
    everything = json.dumps(list(AuditEntry.objects.values("facts", "subject")), default=str)
    assert password not in everything
    assert "theirs" not in everything


def test_a_code_counts_once_and_the_same_site_may_repeat():
    code = invite(actor=None)
    first = welcomed(code)
    again = welcomed(code, authenticator="test_librarian:newer")
    assert first != again
    assert User.objects.get(username="north").check_password(again.partition(":")[2])
    assert Peer.objects.get().account().authenticator == "test_librarian:newer"
    for other in ({"name": "south"}, {"proof": "q" * 64}):
        with pytest.raises(InvitationNotValid, match="used already"):
            welcomed(code, **other)
    assert not User.objects.filter(username="south").exists()
    assert User.objects.get(username="north").check_password(again.partition(":")[2])


def test_a_used_code_brings_nothing_back_that_people_took_away():
    code = invite(actor=None)
    welcomed(code)
    User.objects.filter(username="north").update(level=Level.READONLY)
    welcomed(code)
    assert User.objects.get(username="north").level == Level.READONLY
    Peer.objects.all().delete()
    with pytest.raises(InvitationNotValid, match="was removed"):
        welcomed(code)
    assert not Peer.objects.exists()
    make_peer("north")
    User.objects.filter(username="north").delete()
    with pytest.raises(InvitationNotValid, match="was removed"):
        welcomed(code)
    assert not User.objects.filter(username="north").exists()


def test_a_code_ends_with_its_time_and_with_the_rights_of_whoever_made_it(cast):
    late, orphan = invite(actor=None), invite(actor=cast["admin"])
    Invitation.objects.filter(created_by=None).update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(InvitationNotValid, match="expired"):
        welcomed(late)
    make_user("other", level=Level.ADMIN)
    User.objects.filter(pk=cast["admin"].pk).update(level=Level.READWRITE, is_staff=False, is_superuser=False)
    with pytest.raises(InvitationNotValid, match="may not invite"):
        welcomed(orphan)
    assert not Peer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_that_race_for_a_code_one_gets_it():
    code = invite(actor=None)

    def take(name):
        try:
            return welcomed(code, name, proof=name * 8)
        except InvitationNotValid:
            return None
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        got = [each for each in pool.map(take, ["north", "south", "eastern", "western"]) if each]
    assert len(got) == 1
    assert list(Peer.objects.values_list("name", flat=True)) == [got[0].partition(":")[0]]
    assert User.objects.filter(kind="librarian").count() == 1


def test_nobody_takes_the_place_of_a_person_or_of_a_site_that_is_known(cast):
    make_user("ada", level=Level.READONLY)
    make_peer("central")
    make_user("central", level=Level.CALLBACK, kind="librarian")
    make_user("gone", level=Level.CALLBACK, kind="librarian")
    code = invite(actor=None)
    for name in ("ada", "admin"):
        with pytest.raises(Refused, match="not that of a peer"):
            welcomed(code, name)
    for name in ("central", "gone"):
        with pytest.raises(Refused, match="known here already"):
            welcomed(code, name)
    with pytest.raises(InvalidRequest, match="name of this site itself"):
        welcomed(code, "test_librarian")
    assert Peer.objects.get().port == 1
    welcomed(code)  # what was refused has not used it up


def test_a_site_that_is_known_is_invited_by_name():
    make_peer("central")
    account = make_user("central", level=Level.READAPPEND, kind="librarian")
    code = invite(actor=None, site_name="central", direction="send")
    with pytest.raises(InvitationNotValid, match="another site"):
        welcomed(code, "north")
    password = welcomed(code, "central").partition(":")[2]
    account.refresh_from_db()
    assert account.check_password(password)
    assert account.level == Level.READAPPEND  # a pairing takes nothing away
    assert Peer.objects.get().port == 5200


def test_an_account_that_is_switched_off_is_not_opened_by_an_invitation():
    make_user("central", level=Level.CALLBACK, kind="librarian", is_active=False)
    with pytest.raises(Refused, match="switched off"):
        invite(actor=None, site_name="central")


# --- Over the network -------------------------------------------------------------------------------------------------


def post(secret, **changes):
    body = {"name": "north", "url": "http://127.0.0.1", "port": 5200, "authenticator": "t:x", "proof": PROOF, **changes}
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return Client().post("/api/v3/pairing/", json.dumps(body), content_type="application/json", headers=headers)


def test_the_secret_opens_and_guesses_are_locked_out_without_locking_the_secret(settings):
    settings.AXES_FAILURE_LIMIT = 3
    secret = secret_of(invite(actor=None))
    assert post("").status_code == 401
    assert [post("wrong").status_code for _ in range(3)] == [404, 404, 404]
    locked = post("wrong")
    assert locked.status_code == 429
    assert "Retry-After" in locked.headers
    assert AccessAttempt.objects.get().username == "pairing code"
    good = post(secret)
    assert good.status_code == 201
    assert good.json()["name"] == "test_librarian"
    assert good.headers["Cache-Control"] == "no-store"


def test_nothing_of_a_stranger_is_read_before_his_secret_is_known():
    headers = {"Authorization": "Bearer guessed"}
    answer = Client().post("/api/v3/pairing/", b"[" * 10**6, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_invitation")
    headers = {"Authorization": f"Bearer {secret_of(invite(actor=None))}"}
    answer = Client().post("/api/v3/pairing/", b"[" * 10**6, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    "changes",
    [{"name": "x" * 65}, {"name": "a b"}, {"url": "ftp://x"}, {"port": 0}, {"proof": "short"}, {"authenticator": ""}],
)
def test_an_odd_message_is_refused_and_uses_nothing_up(changes):
    secret = secret_of(invite(actor=None))
    answer = post(secret, **changes)
    assert answer.status_code == 400
    assert answer.json()["reason"]
    assert not Peer.objects.exists()
    assert post(secret).status_code == 201


def test_only_the_account_of_a_peer_is_called_back(cast, standin):
    def ask():
        headers = {"Authorization": authorization_header(f"callback:{PASSWORD}")}
        return Client().post("/api/v3/pairing/check/", {}, content_type="application/json", headers=headers)

    assert ask().status_code == 404
    make_peer("callback", port=standin.port, authenticator="test_librarian:right")
    assert ask().json()["ok"] is True
    Peer.objects.update(port=1)
    told = ask().json()
    assert told["ok"] is False
    assert "cannot be reached" in told["reason"]
    lease = acquire(job="pairing_check", target="callback", seconds=60)
    busy = ask()  # one call at a time, whatever it does with ours
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "60")
    lease.release()
    assert ask().status_code == 200


# --- The accepting side -----------------------------------------------------------------------------------------------


def test_accepting_makes_both_halves_and_shows_both_pings(standin):
    paired = accepted(code_of(standin, direction=Direction.SEND), standin)
    assert paired.is_working
    assert standin.paths[:2] == ["v3/pairing/", "v2/ping/"]
    sent = standin.messages[0]
    assert (sent["name"], sent["url"], sent["port"]) == ("test_librarian", "http://127.0.0.1", 5100)
    assert standin.asked[0][1] == f"Bearer {'s' * 43}"
    account = User.objects.get(username="north")
    assert account.level == Level.READAPPEND  # the other site sends to us
    name, _, password = sent["authenticator"].partition(":")
    assert name == "north"
    assert account.check_password(password)
    assert Peer.objects.get().account().authenticator == "test_librarian:right"
    kept = json.dumps(list(AuditEntry.objects.values("facts", "subject")), default=str)
    assert not [secret for secret in (password, "right", "s" * 43) if secret in kept]


def test_nothing_changes_here_before_the_other_site_agrees(standin, free_port):
    for answer, error in [
        ((409, {"code": "invitation_not_valid", "reason": "It has expired."}), PeerAnswered),
        ((404, {"detail": "Not Found"}), NotALibrarian),
        ((401, {"detail": "Not authenticated"}), NotALibrarian),
        ((201, {"name": "north"}), NotALibrarian),
        ((201, b"<html>"), NotALibrarian),
    ]:
        standin.answers["v3/pairing/"] = answer
        with pytest.raises(error):
            accepted(code_of(standin), standin)
    with pytest.raises(PeerUnreachable):
        accept(actor=None, code=PairingCode("north", "http://127.0.0.1", free_port, Direction.BOTH, "s").text)
    assert not Peer.objects.exists()
    assert not User.objects.filter(username="north").exists()


def test_a_repeat_proves_to_come_from_the_same_site_and_gives_fresh_credentials(standin):
    code = code_of(standin)
    accepted(code, standin)
    standin.answers["v3/pairing/"] = (201, {"name": "north", "authenticator": "test_librarian:newer"})
    standin.authenticator = "test_librarian:newer"
    assert accepted(code, standin).is_working
    first, second = (message for message in standin.messages if message and "proof" in message)
    assert first["proof"] == second["proof"] == proof_of("s" * 43)
    assert first["authenticator"] != second["authenticator"]
    assert User.objects.get(username="north").check_password(second["authenticator"].partition(":")[2])
    assert Peer.objects.get().account().authenticator == "test_librarian:newer"


def test_a_site_known_at_another_address_is_replaced_only_when_a_person_says_so(standin):
    make_peer("north", port=1)
    with pytest.raises(Refused, match="known here already"):
        accepted(code_of(standin), standin)
    assert standin.asked == []
    accepted(code_of(standin), standin, replace=True)
    assert Peer.objects.get().port == standin.port


def test_a_code_does_not_take_a_persons_account(standin, cast):
    for name in ("readonly", "admin"):
        with pytest.raises(Refused, match="not that of a peer"):
            accepted(code_of(standin, name=name), standin, replace=True)
    with pytest.raises(LevelTooLow):
        accept(actor=cast["readwrite"], code=code_of(standin))
    assert standin.asked == []


def test_what_does_not_work_yet_is_said_and_both_are_paired_all_the_same(standin):
    standin.answers["v3/pairing/check/"] = (200, {"ok": False, "reason": "test_librarian cannot be reached."})
    paired = accepted(code_of(standin), standin, url="http://librarian.example.org:99")
    assert not paired.is_working
    assert paired.there.problem is None
    assert "cannot be reached" in paired.back.problem.reason
    assert "in clear" in " ".join(paired.notes)
    assert Peer.objects.exists()


# --- Two real sites ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    running = [Site(name, folder / name) for name in ("karoo", "central")]
    try:
        for site in running:
            site.prepare(store=False)
            site.start()
        yield running
    finally:
        for site in running:
            site.stop()


def test_two_sites_are_paired_by_one_code(sites):
    karoo, central = sites
    code = karoo.manage("pair", "invite", "--direction", "send", "--url", karoo.url).stdout.strip()
    for _ in range(2):  # a reply that was lost is asked for again
        told = central.manage("pair", "accept", code, "--url", central.url).stdout
        assert "Paired with karoo" in told
        assert told.count("it works") == 2
    levels = "dict(User.objects.values_list('username', 'level'))"
    assert karoo.evaluate(levels)["central"] == Level.CALLBACK
    assert central.evaluate(levels)["karoo"] == Level.READAPPEND
    for site in sites:
        assert read_code(code).secret not in site.web_log.read_text()


def test_a_code_that_is_refused_exits_with_the_reason(sites):
    central = sites[1]
    refused = central.manage("pair", "accept", "nonsense", "--url", central.url, check=False)
    assert refused.returncode == 1
    assert "no code of an invitation" in refused.stderr
