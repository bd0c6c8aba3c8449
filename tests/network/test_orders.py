"""Standing orders as people make them: by service and by command, with a search that is checked first."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from files.search import InvalidSearch
from librarian.common.errors import InvalidRequest, NotFound
from librarian.common.models import AuditEntry
from network.models import StandingOrder
from network.services.sending.orders import OrderExists, add_order, edit_order, remove_order, set_order_enabled
from tests.make import make_peer, make_user

pytestmark = pytest.mark.django_db
EVERYTHING = '{"name-matches": "%"}'


def add(**changes):
    return add_order(actor=None, **{"name": "all", "search": EVERYTHING, "peer_name": "south", **changes})


def acts():
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


def test_an_order_is_added_and_audited():
    make_peer("south")
    ada = make_user("ada")
    order = add_order(actor=ada, name=" all ", search=EVERYTHING, peer_name="south", priority=3, address="10.0.0.9")
    assert (order.name, order.created_by, order.priority, order.enabled) == ("all", "ada", 3, True)
    entry = AuditEntry.objects.get(action="add_order")
    assert (entry.actor, entry.subject, entry.address, entry.facts["peer_name"]) == (
        ada,
        "order all",
        "10.0.0.9",
        "south",
    )


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"search": '{"name-matches": 3}'}, InvalidSearch),
        ({"search": "{}"}, InvalidSearch),
        ({"search": ""}, InvalidSearch),
        ({"name": " "}, InvalidRequest),
        ({"name": "n" * 65}, InvalidRequest),
        ({"name": "two\nlines"}, InvalidRequest),
        ({"peer_name": "west"}, NotFound),
        ({"priority": 2**31}, InvalidRequest),
    ],
)
def test_what_cannot_be_an_order_is_refused(changes, error):
    make_peer("south")
    with pytest.raises(error):
        add(**changes)
    assert not StandingOrder.objects.exists()
    assert acts() == []


def test_a_used_name_is_refused():
    make_peer("south")
    add()
    with pytest.raises(OrderExists):
        add(search='{"name-matches": "zen.%"}')
    assert StandingOrder.objects.get().search == EVERYTHING


def test_an_edit_is_checked_audited_and_has_every_file_looked_at_again():
    make_peer("south")
    order = add()
    StandingOrder.objects.update(next_look_at=timezone.now(), problem="It was wrong.")
    order.refresh_from_db()
    with pytest.raises(InvalidSearch):
        edit_order(order=order, actor=None, search='{"no-such-clause": 1}')
    with pytest.raises(NotFound):
        edit_order(order=order, actor=None, peer_name="west")
    with pytest.raises(InvalidRequest):
        edit_order(order=order, actor=None, problem="")
    assert not edit_order(order=order, actor=None, search=EVERYTHING)
    assert edit_order(order=order, actor=None, search='{"name-matches": "zen.%"}', priority=2)
    kept = StandingOrder.objects.get()
    assert (kept.search, kept.priority, kept.next_look_at, kept.problem) == ('{"name-matches": "zen.%"}', 2, None, "")
    assert acts() == ["add_order", "edit_order"]


def test_an_order_outlives_its_peer_and_can_still_be_edited():
    peer = make_peer("south")
    order = add()
    peer.delete()
    assert edit_order(order=order, actor=None, priority=1)
    assert StandingOrder.objects.get().peer_name == "south"


def test_switching_and_removing_are_audited_once():
    make_peer("south")
    order = add()
    assert [set_order_enabled(order=order, enabled=False, actor=None) for _ in range(2)] == [True, False]
    assert not StandingOrder.objects.active().exists()
    assert [remove_order(order=order, actor=None) for _ in range(2)] == [True, False]
    assert acts() == ["add_order", "switch_order_off", "remove_order"]


def test_the_command_does_all_of_it(capsys):
    make_peer("south")
    call_command("standing_order", "add", "all", "--peer", "south")
    call_command(
        "standing_order", "add", "new", "--peer", "south", "--name-matches", "zen.%", "--not-older-than", "14",
        "--priority", "5",
    )  # fmt: skip
    call_command("standing_order", "disable", "all")
    capsys.readouterr()
    call_command("standing_order", "list", "--json")
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["name"], each["enabled"], each["priority"], json.loads(each["search"])) for each in listed] == [
        ("all", False, 0, {"name-matches": "%"}),
        ("new", True, 5, {"name-matches": "zen.%", "not-older-than": 14.0}),
    ]
    call_command("standing_order", "enable", "all")
    call_command("standing_order", "remove", "new")
    call_command("standing_order", "list")
    assert "all\ton\tto south" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["add", "all", "--peer", "south"], 3),
        (["add", "other", "--peer", "west"], 1),
        (["add", "other", "--peer", "south", "--search", "{"], 1),
        (["add", "other", "--peer", "south", "--search", EVERYTHING, "--name-matches", "x"], 1),
        (["remove", "other"], 1),
    ],
)
def test_the_command_says_by_its_exit_code_what_was_wrong(arguments, code):
    make_peer("south")
    add()
    with pytest.raises(CommandError) as refused:
        call_command("standing_order", *arguments)
    assert refused.value.returncode == code
    assert StandingOrder.objects.count() == 1
