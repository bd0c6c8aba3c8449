"""`admin/librarians/...` with the forms, statuses and texts that clients of the protocol know."""

import pytest

from librarian.common.models import AuditEntry
from network.models import Peer
from tests.make import make_peer

ADD = {"librarian_name": "north", "url": "http://127.0.0.1", "port": 5000, "authenticator": "test_librarian:right"}
LIBRARIANS = "admin/librarians"


@pytest.fixture
def ask(wire):
    return lambda endpoint, **body: wire.ok(f"{LIBRARIANS}/{endpoint}", body, user="admin")


@pytest.fixture
def refused(wire):
    return lambda endpoint, **body: wire.refused(f"{LIBRARIANS}/{endpoint}", body, user="admin")


def outcome(answer):
    return {key: answer[key] for key in ("success", "already_exists", "ping_success")}


# --- Adding -----------------------------------------------------------------------------------------------------------


def test_added_and_checked(ask, standin):
    answer = ask("add", **{**ADD, "port": standin.port})
    assert outcome(answer) == {"success": True, "already_exists": False, "ping_success": True}
    peer = Peer.objects.get()
    assert (peer.name, peer.port, peer.transfers_enabled, peer.answers) == ("north", standin.port, True, True)
    assert AuditEntry.objects.get(action="add_peer").actor_name == "admin"


def test_added_and_not_checked(ask):
    answer = ask("add", **ADD, check_connection=False)
    assert outcome(answer) == {"success": True, "already_exists": False, "ping_success": None}


def test_the_address_may_be_called_host_as_a_script_in_the_field_does(ask):
    body = {key: value for key, value in ADD.items() if key != "url"}
    assert ask("add", **body, host="http://north.example.org", check_connection=False)["success"]
    assert Peer.objects.get().url == "http://north.example.org"


def test_a_used_name_is_an_answer(ask):
    make_peer("north")
    answer = ask("add", **ADD)
    assert outcome(answer) == {"success": False, "already_exists": True, "ping_success": False}
    assert answer["code"] == "peer_exists"
    assert answer["reason"]
    assert Peer.objects.get().port == 1


def test_a_failed_check_is_an_answer_that_says_why(ask, standin, free_port):
    wrong = ask("add", **{**ADD, "port": standin.port, "authenticator": "test_librarian:wrong"})
    nobody = ask("add", **{**ADD, "port": free_port})
    standin.answers["v2/ping/"] = (200, b"hello")
    other = ask("add", **{**ADD, "port": standin.port})
    for answer in (wrong, nobody, other):
        assert outcome(answer) == {"success": False, "already_exists": False, "ping_success": False}
        assert answer["suggested_remedy"]
    codes = [answer["code"] for answer in (wrong, nobody, other)]
    assert codes == ["peer_refuses_us", "peer_unreachable", "peer_is_no_librarian"]
    assert not Peer.objects.exists()


@pytest.mark.parametrize("changes", [{"url": "north"}, {"librarian_name": "two words"}, {"authenticator": "a b"}])
def test_what_cannot_be_a_peer_is_refused_in_words_that_clients_match(refused, changes):
    status, answer = refused("add", **{**ADD, "check_connection": False, **changes})
    assert status == 400
    assert "Librarian" in answer["reason"]
    assert not Peer.objects.exists()


def test_a_message_that_is_none_does_not_repeat_the_authenticator(refused):
    status, answer = refused("add", **{**ADD, "authenticator": ["test_librarian:hidden"], "port": "x"})
    assert status == 422
    assert "hidden" not in str(answer)


# --- Listing ----------------------------------------------------------------------------------------------------------


def test_nobody_is_asked_unless_wanted(ask, standin):
    make_peer("south", transfers_enabled=False)
    make_peer("north", port=standin.port)
    north, south = ask("list", ping=False)["librarians"]
    assert (north["name"], north["url"], north["port"]) == ("north", "http://127.0.0.1", standin.port)
    assert [each["available"] for each in (north, south)] == [None, None]
    assert [each["enabled"] for each in (north, south)] == [True, False]
    assert standin.asked == []


def test_one_that_is_down_never_fails_the_list(ask, standin, free_port):
    make_peer("down", port=free_port)
    make_peer("north", port=standin.port, authenticator="test_librarian:right")
    make_peer("stranger", port=standin.port, authenticator="test_librarian:wrong")
    listed = {each["name"]: each for each in ask("list")["librarians"]}  # ping is the default
    assert {name: each["available"] for name, each in listed.items()} == {
        "down": False,
        "north": True,
        "stranger": False,
    }
    assert "Connection refused" in listed["down"]["reason"]
    assert "credentials" in listed["stranger"]["reason"]
    assert listed["north"]["reason"] is None
    assert "right" not in str(listed)


def test_an_empty_list(ask):
    assert ask("list") == {"librarians": []}


# --- Removing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [{}, {"remove_outgoing_transfers": True}])
def test_removed(ask, flag):
    make_peer("north")
    answer = ask("remove", librarian_name="north", **flag)
    assert answer == {"success": True, "number_of_transfers_removed": 0}
    assert not Peer.objects.exists()


def test_removing_an_unknown_one(refused):
    status, answer = refused("remove", librarian_name="nowhere")
    assert (status, answer["reason"]) == (400, "Librarian nowhere does not exist.")


# --- The switch -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["change", "set"])
def test_the_switch_in_both_spellings(ask, refused, spelling):
    make_peer("north")
    for enabled in (False, False, True):
        answer = ask(f"transfer_status/{spelling}", librarian_name="north", transfers_enabled=enabled)
        assert answer == {"librarian_name": "north", "transfers_enabled": enabled}
        assert Peer.objects.get().transfers_enabled is enabled
    assert AuditEntry.objects.filter(action__startswith="switch_transfers").count() == 2
    status, answer = refused(f"transfer_status/{spelling}", librarian_name="nowhere", transfers_enabled=True)
    assert (status, answer["reason"]) == (400, "Librarian nowhere does not exist.")
