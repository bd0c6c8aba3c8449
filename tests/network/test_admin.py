"""Peers in the staff admin: what a person does there, through the real pages."""

import pytest
from django.contrib.messages import get_messages
from django.db import connections
from django.urls import reverse

from accounts.levels import Level
from librarian.common.models import AuditEntry
from network.models import Peer
from tests.make import make_peer, make_user

pytestmark = pytest.mark.django_db
LIST, ADD = reverse("admin:network_peer_changelist"), reverse("admin:network_peer_add")


@pytest.fixture
def admin(db):
    return make_user("ada", level=Level.ADMIN)


@pytest.fixture
def staff(client, admin):
    client.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page_of(peer, what="change"):
    return reverse(f"admin:network_peer_{what}", args=[peer.pk])


def typed(**fields):
    usual = {"name": "north", "url": "http://127.0.0.1", "authenticator": "test_librarian:right"}
    return {**usual, "check_connection": "on", "transfers_enabled": "on", **fields}


def told(answer):
    return [str(message) for message in get_messages(answer.wsgi_request)]


def act(staff, action, *peers):
    answer = staff.post(LIST, {"action": action, "_selected_action": [peer.pk for peer in peers]})
    assert answer.status_code == 302
    return told(answer)


def test_a_peer_is_added_after_a_try(staff, admin, standin):
    answer = staff.post(ADD, typed(port=standin.port))
    assert answer.status_code == 302, answer.context["errors"]
    peer = Peer.objects.get()
    assert peer.account().authenticator == "test_librarian:right"
    assert peer.answers
    assert any("accepts our credentials" in text for text in told(answer))
    assert AuditEntry.objects.get(action="add_peer").actor == admin


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"authenticator": "test_librarian:hunter2"}, "does not accept our credentials"),
        ({"authenticator": ""}, "required"),
        ({"url": "ftp://127.0.0.1"}, "Begin with http"),
        ({"name": "two words"}, "letters, digits"),
        ({"name": "test_librarian"}, "this site itself"),
    ],
)
def test_what_is_wrong_stands_beside_what_was_typed_and_the_secret_does_not(staff, standin, fields, words):
    answer = staff.post(ADD, typed(port=standin.port, **fields))
    assert answer.status_code == 200
    page = answer.content.decode()
    assert words in page
    assert "hunter2" not in page
    assert not Peer.objects.exists()


def test_the_authenticator_goes_in_and_never_comes_out(staff, standin):
    peer = make_peer("north", port=standin.port, authenticator="test_librarian:hunter2")
    pages = [staff.get(page_of(peer)), staff.get(LIST), staff.get(page_of(peer, "history"))]
    pages.append(staff.get(page_of(peer, "delete")))
    for page in pages:
        assert page.status_code == 200
        assert "hunter2" not in page.content.decode()
        assert peer.sealed_authenticator not in page.content.decode()


def test_an_edit_without_authenticator_keeps_it(staff, standin):
    peer = make_peer("north", port=standin.port, authenticator="test_librarian:right")
    fields = typed(port=standin.port, authenticator="", transfers_enabled="")
    assert staff.post(page_of(peer), fields).status_code == 302
    edited = Peer.objects.get()
    assert not edited.transfers_enabled
    assert edited.account().authenticator == "test_librarian:right"
    assert standin.asked == []
    answer = staff.post(page_of(peer), {**fields, "url": "http://localhost"})
    assert "authenticator was left out" in answer.content.decode()
    answer = staff.post(page_of(peer), {**fields, "name": "south", "authenticator": "test_librarian:right"})
    assert answer.status_code == 302
    assert Peer.objects.get().name == "north"


def test_actions_do_what_they_say(staff, admin, standin, free_port):
    good = make_peer("north", port=standin.port, authenticator="test_librarian:right")
    down = make_peer("south", port=free_port)
    said = act(staff, "test_connection", good, down)
    assert any("north answers within" in text for text in said)
    assert any("south" in text and "Connection refused" in text for text in said)
    page = staff.get(LIST).content.decode()
    assert "does not answer" in page
    assert "Connection refused" in page
    assert "switched off" in act(staff, "switch_off", good)[0]
    assert not Peer.objects.get(pk=good.pk).transfers_enabled
    act(staff, "switch_on", good)
    assert Peer.objects.get(pk=good.pk).transfers_enabled
    assert AuditEntry.objects.filter(actor=admin).count() == 4


def test_a_peer_is_removed_and_audited(staff, admin):
    first, second = make_peer("north"), make_peer("south")
    assert staff.post(page_of(first, "delete"), {"post": "yes"}).status_code == 302
    staff.post(LIST, {"action": "delete_selected", "_selected_action": [second.pk], "post": "yes"})
    assert not Peer.objects.exists()
    assert AuditEntry.objects.filter(actor=admin, action="remove_peer").count() == 2


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_the_other_site_is_called(staff, standin):
    ours, seen = connections["default"], []

    def greet():
        seen.append(ours.in_atomic_block)
        return 200, {"name": "north", "description": ""}

    standin.answers["v2/ping/"] = greet
    assert staff.post(ADD, typed(port=standin.port)).status_code == 302
    peer = Peer.objects.get()
    assert staff.post(page_of(peer), typed(port=standin.port)).status_code == 302
    act(staff, "test_connection", peer)
    assert seen == [False, False, False]


def test_staff_only(client):
    client.force_login(make_user(level=Level.READWRITE), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(LIST).status_code in (302, 403)
    assert client.post(ADD, typed(port=1, check_connection="")).status_code in (302, 403)
    assert not Peer.objects.exists()
