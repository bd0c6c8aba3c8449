"""Standing orders whose files go to stores of ours: to stay there, or to be carried to a peer on disks."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from files.models import Condition, Instance, StoreCopy
from files.services.copying import copy_files
from librarian.common.errors import InvalidRequest, NotFound
from librarian.common.models import AuditEntry, ErrorRecord
from network.models import OrderWay, Shipment, StandingOrder
from network.services.copying import choosing
from network.services.copying.choosing import choose_copies
from network.services.sending.choosing import choose_files
from network.services.sending.orders import add_order, edit_order, remove_order, set_order_enabled
from stores.models import Store
from tests.make import make_file, make_instance, make_order, make_outgoing, make_peer, make_remote_instance, make_store

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path, name="here", initialise=False)


@pytest.fixture
def second(tmp_path):
    return make_store(tmp_path, name="second", initialise=False)


@pytest.fixture
def disk(tmp_path):
    return make_store(tmp_path, name="disk", initialise=False, travelling=True, ingestable=False)


def make_here(store, count=1, **fields):
    """Files with a good copy on the store, without bytes."""
    files = [make_file(**fields) for _ in range(count)]
    for file in files:
        make_instance(file, store, place=file.name)
    return files


def order_to(*stores, **fields):
    return make_order(way=OrderWay.COPY, targets=[store.pk for store in stores], **fields)


def carry_on(*stores, peer="south", **fields):
    return make_order(way=OrderWay.CARRY, peer_name=peer, targets=[store.pk for store in stores], **fields)


def ship(store, state, **fields):
    over = {"finished_at": timezone.now()} if state in ("lost", "verified") else {}
    return Shipment.objects.create(store=store, seal="a" * 64, state=state, **over, **fields)


def waiting(**fields):
    return [row.file for row in StoreCopy.objects.filter(state="wanted", **fields).order_by("pk")]


# --- To stay here -----------------------------------------------------------------------------------------------------


def test_what_matches_and_is_on_none_of_the_stores_is_chosen_once(store, second):
    first, there = make_here(store, 2)
    make_instance(there, second)
    make_here(store, 1, name="other.uvh5")
    order = order_to(second, search='{"name-matches": "zen.%"}', priority=4)
    assert choose_copies()["chosen"] == 1
    assert choose_copies()["chosen"] == 0
    row = StoreCopy.objects.get()
    assert (row.file, row.group, row.targets, row.priority) == (first, order.group, [second.pk], 4)
    assert choose_files()["chosen"] == 0


def test_the_oldest_go_first_and_a_run_is_bounded(store, second, monkeypatch):
    monkeypatch.setattr(choosing, "PAGE", 3)
    now = timezone.now()
    files = [make_here(store, registered_at=now - timedelta(days=day))[0] for day in (1, 5, 5, 3, 5, 5, 2)]
    order_to(second)
    assert choose_copies(limit=5)["chosen"] == 5
    assert waiting() == [files[1], files[2], files[4], files[5], files[3]]
    assert choose_copies(limit=5)["chosen"] == 2


@pytest.mark.parametrize("why", ["bad", "away", "off", "failed"])
def test_what_cannot_be_copied_is_left_out(store, second, why):
    (file,) = make_here(store)
    order = order_to(second)
    if why == "bad":
        file.instances.update(condition=Condition.MISSING)
    elif why == "away":
        Store.objects.filter(pk=store.pk).update(available=False)
    elif why == "off":
        StandingOrder.objects.update(enabled=False)
    else:
        over = {"state": "failed", "reason": "It broke.", "finished_at": timezone.now()}
        StoreCopy.objects.create(file=file, group=order.group, targets=[second.pk], **over)
    assert choose_copies()["chosen"] == 0


def test_a_file_is_copied_to_the_first_store_of_an_order(tmp_path):
    here, first, other = (make_store(tmp_path, name=name) for name in ("source", "first", "other"))
    file = make_file(store=here)
    order_to(first, other)
    choose_copies()
    assert copy_files()["copied"] == 1
    assert choose_copies()["chosen"] == 0
    assert Instance.objects.get(file=file, store=first)


def test_what_waits_is_given_up_with_its_order(store, second):
    make_here(store, 2)
    for act in (
        lambda order: remove_order(order=order, actor=None),
        lambda order: set_order_enabled(order=order, enabled=False, actor=None),
        lambda order: edit_order(order=order, actor=None, search='{"name-matches": "other.%"}'),
    ):
        order = order_to(second)
        choose_copies()
        assert len(waiting(group=order.group)) == 2
        act(order)
        assert waiting(group=order.group) == []
        StandingOrder.objects.all().delete()
    order = order_to(second)
    assert choose_copies()["chosen"] == 2
    StandingOrder.objects.all().delete()
    assert choose_copies()["given_up"] == 2


def test_other_stores_are_meant_after_an_edit(store, second, tmp_path):
    third = make_store(tmp_path, name="third", initialise=False)
    make_here(store)
    order = order_to(second)
    choose_copies()
    edit_order(order=order, actor=None, targets=[third.pk, second.pk])
    choose_copies()
    assert [row.targets for row in StoreCopy.objects.filter(state="wanted")] == [[third.pk, second.pk]]


def test_an_order_that_fails_says_why(store, second):
    order = order_to(second, search='{"no-such-clause": 1}')
    assert choose_copies()["failing_orders"] == 1
    order.refresh_from_db()
    assert "no-such-clause" in order.problem
    assert ErrorRecord.objects.filter(code="order_failed", caller="job:choose_copies", cleared_at=None).count() == 1
    edit_order(order=order, actor=None, search='{"name-matches": "%"}')
    assert not ErrorRecord.objects.filter(cleared_at=None).exists()


def test_a_full_store_is_switched_off_where_the_order_says_so(store, second, tmp_path):
    third = make_store(tmp_path, name="third", initialise=False)
    Store.objects.filter(pk=second.pk).update(capacity_bytes=1_000, free_bytes=15, fullness_limit=1.0)
    make_here(store, content=b"x" * 19)
    order = order_to(second, third)
    for expected in (0, 0):
        assert choose_copies()["switched_off"] == expected
    edit_order(order=order, actor=None, switch_off_full_stores=True)
    assert choose_copies()["switched_off"] == 1
    assert list(Store.objects.filter(enabled=False)) == [second]
    assert AuditEntry.objects.filter(action="switch_store_off", subject="store second").exists()
    assert choose_copies()["switched_off"] == 0


def test_the_queries_do_not_grow_with_the_files(store, second):
    order_to(second)

    def queries_for(number):
        make_here(store, number)
        with CaptureQueriesContext(connection) as caught:
            assert choose_copies()["chosen"] == number
        return len(caught)

    queries_for(1)
    assert queries_for(2) == queries_for(80)


def test_a_look_that_took_long_is_repeated_later(store, second, monkeypatch):
    monkeypatch.setattr(choosing, "SHORT_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(choosing, "LOOK_SHARE", 1e6)
    order = order_to(second)
    make_here(store)
    assert choose_copies()["chosen"] == 1
    order.refresh_from_db()
    assert order.next_look_at > timezone.now()
    make_here(store, registered_at=timezone.now() - timedelta(days=2))
    (new,) = make_here(store)
    assert choose_copies()["chosen"] == 1
    assert waiting()[-1] == new
    edit_order(order=order, actor=None, priority=1)
    assert choose_copies()["chosen"] == 1


# --- To be carried ----------------------------------------------------------------------------------------------------


def test_what_the_peer_lacks_goes_on_the_disk(store, disk):
    wanted, there, on_its_way, given_up, on_disk = make_here(store, 5)
    make_remote_instance(there, peer="south")
    make_remote_instance(wanted, peer="north")
    make_outgoing(on_its_way, peer="south")
    make_outgoing(given_up, peer="south", state="failed", next_try_at=timezone.now())
    make_instance(on_disk, disk)
    carry_on(disk)
    assert choose_copies()["chosen"] == 2
    assert waiting() == [wanted, given_up]


@pytest.mark.parametrize(
    ("presence", "state", "chosen"),
    [("present", "packed", 0), ("handed_over", "handed_over", 0), ("handed_over", "lost", 1), ("present", "lost", 1)],
)
def test_what_is_on_a_lost_disk_goes_on_another(store, disk, tmp_path, presence, state, chosen):
    other = make_store(tmp_path, name="other", initialise=False, travelling=True)
    (file,) = make_here(store)
    make_instance(file, disk, presence=presence)
    ship(disk, state)
    carry_on(disk, other)
    assert choose_copies()["chosen"] == chosen
    assert [row.targets for row in StoreCopy.objects.all()] == [[other.pk]] * chosen


def test_what_is_bad_on_a_disk_goes_on_another(store, disk, tmp_path):
    (file,) = make_here(store)
    make_instance(file, disk, place=file.name, condition=Condition.MISSING)
    spare = make_store(tmp_path, name="spare", initialise=False, travelling=True, ingestable=False)
    carry_on(disk, spare)
    assert choose_copies()["chosen"] == 1
    assert waiting() == [file]


def test_a_disk_that_was_packed_takes_no_more(store, disk, tmp_path):
    other = make_store(tmp_path, name="other", initialise=False, travelling=True)
    make_here(store, 2)
    order = carry_on(disk, other)
    choose_copies()
    assert {tuple(row.targets) for row in StoreCopy.objects.all()} == {(disk.pk, other.pk)}
    shipment = ship(disk, "packed")
    choose_copies()
    assert {tuple(row.targets) for row in StoreCopy.objects.all()} == {(other.pk,)}
    edit_order(order=order, actor=None, targets=[disk.pk])
    assert choose_copies()["failing_orders"] == 1
    order.refresh_from_db()
    assert "No disk of the order" in order.problem
    assert waiting() == []
    Shipment.objects.filter(pk=shipment.pk).update(state="verified", finished_at=timezone.now())
    assert choose_copies()["chosen"] == 2
    assert not ErrorRecord.objects.filter(code="order_failed", cleared_at=None).exists()


def test_a_trip_that_ends_is_seen_though_the_next_look_is_far(store, disk, tmp_path):
    other = make_store(tmp_path, name="other", initialise=False, travelling=True)
    (file,) = make_here(store, registered_at=timezone.now() - timedelta(days=2))
    make_instance(file, disk)
    shipment = ship(disk, "packed")
    order = carry_on(disk, other)
    choose_copies()
    later = timezone.now() + timedelta(days=1)
    StandingOrder.objects.filter(pk=order.pk).update(next_look_at=later, looked_up_to=timezone.now())
    assert choose_copies()["chosen"] == 0
    at = timezone.now()
    Shipment.objects.filter(pk=shipment.pk).update(state="lost", finished_at=at, changed_at=at)
    assert choose_copies()["chosen"] == 1


# --- As people make them ----------------------------------------------------------------------------------------------


def test_orders_of_each_way(second, disk):
    make_peer("south")
    every = {"actor": None, "search": '{"name-matches": "%"}'}
    copy = add_order(name="copy", way="copy", targets=[second.pk, second.pk], **every)
    carry = add_order(name="carry", way="carry", peer_name="south", targets=[disk.pk], **every)
    assert (copy.targets, copy.peer_name, carry.targets) == ([second.pk], "", [disk.pk])
    assert AuditEntry.objects.filter(action="add_order").last().facts["targets"] is not None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"way": "fly"}, InvalidRequest),
        ({"way": "copy"}, InvalidRequest),
        ({"way": "copy", "targets": [4711]}, NotFound),
        ({"way": "copy", "targets": "second", "peer_name": "south"}, InvalidRequest),
        ({"way": "carry", "targets": "disk"}, NotFound),
        ({"way": "carry", "targets": "second", "peer_name": "south"}, InvalidRequest),
        ({"way": "push", "targets": "disk", "peer_name": "south"}, InvalidRequest),
    ],
)
def test_what_cannot_be_an_order_is_refused(second, disk, fields, error):
    make_peer("south")
    named = {"second": [second.pk], "disk": [disk.pk]}
    fields = {**fields, "targets": named.get(str(fields.get("targets")), fields.get("targets", []))}
    with pytest.raises(error):
        add_order(actor=None, name="all", search='{"name-matches": "%"}', **fields)
    assert not StandingOrder.objects.exists()


def test_the_command_gives_orders_to_stores(second, disk, capsys):
    make_peer("south")
    call_command("standing_order", "add", "copies", "--to-store", "second", "--switch-off-full-stores")
    call_command("standing_order", "add", "by plane", "--peer", "south", "--to-store", "disk")
    assert "to stores second" in capsys.readouterr().out
    call_command("standing_order", "list")
    assert "to south on disk" in capsys.readouterr().out
    call_command("standing_order", "list", "--json")
    data = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert (data["copies"]["way"], data["copies"]["stores"], data["copies"]["peer"]) == ("copy", ["second"], "")
    assert (data["by plane"]["way"], data["by plane"]["peer"]) == ("carry", "south")
    call_command("standing_order", "remove", "copies")
    assert "those that were made stay" in capsys.readouterr().out
    for wrong in (["x"], ["x", "--to-store", "nowhere"], ["x", "--peer", "south", "--to-store", "second"]):
        with pytest.raises(CommandError):
            call_command("standing_order", "add", *wrong)
    assert StandingOrder.objects.count() == 1
