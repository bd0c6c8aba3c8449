"""Adding, editing, switching and removing peers: checked first, audited always, and never a secret in clear."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core import serializers
from django.db import connection

from files.models import RemoteInstance
from librarian.common.errors import InvalidRequest
from librarian.common.models import AuditEntry
from network.errors import PeerExists, PeerRefusesUs, PeerUnreachable
from network.models import Peer
from network.services import add_peer, edit_peer, remove_peer, set_transfers_enabled
from tests.make import make_file, make_peer, make_remote_instance, make_user

pytestmark = pytest.mark.django_db
SECRET = "hunter2:with:colons"
GIVEN = {"name": "north", "url": "http://127.0.0.1", "port": 5000, "authenticator": f"test_librarian:{SECRET}"}


def add(**changes):
    peer, _ = add_peer(actor=None, **{**GIVEN, "check": False, **changes})
    return peer


def audited(action):
    return [entry.facts for entry in AuditEntry.objects.filter(action=action).order_by("pk")]


# --- Adding -----------------------------------------------------------------------------------------------------------


def test_a_peer_is_added_with_its_account(standin):
    standin.authenticator = GIVEN["authenticator"]
    ada = make_user("ada")
    peer, found = add_peer(actor=ada, **{**GIVEN, "port": standin.port}, address="10.0.0.9")
    assert found.latency_seconds > 0
    peer = Peer.objects.get()
    assert (peer.name, peer.url, peer.transfers_enabled, peer.answers) == ("north", "http://127.0.0.1", True, True)
    assert peer.account().authenticator == GIVEN["authenticator"]
    entry = AuditEntry.objects.get(action="add_peer")
    assert (entry.actor, entry.subject, entry.address) == (ada, "peer north", "10.0.0.9")
    assert entry.facts["account"] == "test_librarian"


def test_nothing_is_added_when_the_check_fails_and_the_try_is_audited(standin, free_port):
    with pytest.raises(PeerRefusesUs):
        add_peer(actor=None, **{**GIVEN, "port": standin.port})
    with pytest.raises(PeerUnreachable):
        add_peer(actor=None, **{**GIVEN, "port": free_port})
    assert not Peer.objects.exists()
    assert [facts["outcome"] for facts in audited("try_peer")] == ["peer_refuses_us", "peer_unreachable"]
    assert audited("add_peer") == []


def test_unchecked_calls_nobody(standin):
    peer = add(port=standin.port)
    assert standin.asked == []
    assert peer.answers is None


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("HTTP://North.example.org/", "http://north.example.org"),
        ("https://north.example.org/librarian//", "https://north.example.org/librarian"),
        ("http://127.0.0.1:5000", "http://127.0.0.1"),
        ("http://[::1]", "http://[::1]"),
    ],
)
def test_an_address_is_kept_in_one_form(url, kept):
    assert add(url=url).url == kept


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "north.example.org"},
        {"url": "ftp://north.example.org"},
        {"url": "file:///etc/passwd"},
        {"url": "gopher://127.0.0.1"},
        {"url": "http://"},
        {"url": "http://me:hunter2@north.example.org"},
        {"url": "http://north.example.org/?next=1"},
        {"url": "http://north.example.org/#top"},
        {"url": "http://north.example.org:81"},
        {"url": "http://north.example.org/a b"},
        {"url": "http://north.example.org/a\r\nHost: other"},
        {"url": "http://nörth.example.org"},
        {"url": f"http://{'n' * 300}.example.org"},
        {"port": 0},
        {"port": 65536},
        {"name": ""},
        {"name": "two words"},
        {"name": "north\n"},
        {"name": "n" * 65},
        {"name": "test_librarian"},
        {"authenticator": ""},
        {"authenticator": ":hunter2"},
        {"authenticator": "test_librarian:"},
        {"authenticator": "a token with blanks"},
        {"authenticator": "x" * 4097},
    ],
)
def test_what_cannot_be_a_peer_is_refused_without_repeating_secrets(changes):
    with pytest.raises(InvalidRequest) as refused:
        add(**changes)
    assert "hunter2" not in str(refused.value.as_answer())
    assert not Peer.objects.exists()


def test_a_used_name_is_refused_and_the_peer_left_as_it_is(standin):
    peer = add()
    with pytest.raises(PeerExists):
        add_peer(actor=None, **{**GIVEN, "port": standin.port})
    assert standin.asked == []
    assert Peer.objects.get().port == peer.port


@pytest.mark.django_db(transaction=True)
def test_of_several_at_once_one_is_added():
    def one(number):
        try:
            add(port=number + 1)
            return "added"
        except PeerExists:
            return "exists"
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(one, range(4))) == ["added", "exists", "exists", "exists"]
    assert len(audited("add_peer")) == 1


# --- Secrets ----------------------------------------------------------------------------------------------------------


def test_the_authenticator_is_nowhere_in_clear(caplog):
    caplog.set_level("DEBUG")
    peer = add()
    edit_peer(
        peer=peer, actor=None, url=peer.url, port=peer.port, authenticator=f"{GIVEN['authenticator']}2", check=False
    )
    remains = [serializers.serialize("json", Peer.objects.all()), repr(peer), str(peer), caplog.text]
    remains += [json.dumps(entry.facts) + entry.subject for entry in AuditEntry.objects.all()]
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM network_peer")
        remains.append(str(cursor.fetchall()))
    assert not any("hunter2" in text for text in remains)
    assert peer.account().authenticator.endswith("colons2")


# --- Editing ----------------------------------------------------------------------------------------------------------


def test_another_authenticator_for_the_same_address(standin):
    peer = make_peer("north", port=standin.port)
    with pytest.raises(PeerRefusesUs):
        edit_peer(peer=peer, actor=None, url=peer.url, port=peer.port, authenticator="test_librarian:wrong")
    assert Peer.objects.get().account().authenticator == "test_librarian:a password"
    edit_peer(peer=peer, actor=None, url=peer.url, port=peer.port, authenticator="test_librarian:right")
    assert Peer.objects.get().account().authenticator == "test_librarian:right"
    assert Peer.objects.get().answers
    assert len(audited("edit_peer")) == 1


def test_a_kept_authenticator_is_never_sent_to_a_new_address(standin):
    peer = make_peer("north")
    with pytest.raises(InvalidRequest, match="authenticator was left out"):
        edit_peer(peer=peer, actor=None, url=peer.url, port=standin.port)
    assert standin.asked == []
    assert Peer.objects.get().port == peer.port
    edit_peer(peer=peer, actor=None, url=peer.url, port=standin.port, authenticator="test_librarian:right")
    assert Peer.objects.get().port == standin.port
    assert audited("edit_peer")[0]["before"]["port"] == 1


def test_an_edit_that_changes_nothing_calls_and_tells_nobody(standin):
    peer = make_peer("north", port=standin.port)
    edit_peer(peer=peer, actor=None, url=f"{peer.url}/", port=peer.port)
    assert standin.asked == []
    assert audited("edit_peer") == []


def test_a_peer_whose_secret_is_lost_gets_another():
    peer = make_peer("north")
    Peer.objects.update(sealed_authenticator="gAAAAABnoSuchKeyOpensThis==")
    peer.refresh_from_db()
    edit_peer(peer=peer, actor=None, url=peer.url, port=peer.port, authenticator="test_librarian:new", check=False)
    assert Peer.objects.get().account().authenticator == "test_librarian:new"


# --- Switching and removing -------------------------------------------------------------------------------------------


def test_the_switch_is_audited_once():
    peer = make_peer("north")
    for _ in range(2):
        set_transfers_enabled(peer=peer, enabled=False, actor=None)
    assert not Peer.objects.sending().exists()
    set_transfers_enabled(peer=peer, enabled=True, actor=None)
    assert Peer.objects.sending().get() == peer
    acts = AuditEntry.objects.order_by("pk").values_list("action", flat=True)
    assert list(acts) == ["switch_transfers_off", "switch_transfers_on"]


def test_removing_and_adding_again_loses_nothing_that_it_told_us():
    peer = add()
    remote = make_remote_instance(make_file(), peer="north")
    assert remove_peer(peer=peer, actor=None, end_transfers=True) == 0
    assert not Peer.objects.exists()
    assert RemoteInstance.objects.get() == remote
    assert remove_peer(peer=peer, actor=None) == 0  # twice is harmless
    assert audited("remove_peer") == [{"url": "http://127.0.0.1", "port": 5000, "end_transfers": True, "ended": 0}]
    assert add().pk != peer.pk
    assert RemoteInstance.objects.filter(peer_name=Peer.objects.get().name).exists()


def test_when_a_peer_was_last_heard_is_told_by_its_account():
    from django.utils import timezone

    make_peer("north")
    assert Peer.objects.with_last_heard().get().last_heard_at is None
    moment = timezone.now()
    make_user("north", last_used_at=moment)
    assert Peer.objects.with_last_heard().get().last_heard_at == moment
