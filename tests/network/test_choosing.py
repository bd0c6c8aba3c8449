"""Choosing files for peers: what is wanted there becomes a transfer, once, and in few queries."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ

from files.models import Condition, Presence
from librarian.common.models import ErrorRecord, JobRun
from network.models import OutgoingTransfer, SendQueueItem, StandingOrder
from network.services.nudging import wishes_for
from network.services.sending import choosing
from network.services.sending.choosing import choose_files
from network.services.transfers import ask_for_transfers
from tests.make import make_file, make_instance, make_outgoing, make_peer, make_remote_instance, make_store

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path, initialise=False)


@pytest.fixture
def peer():
    return make_peer("south")


def make_order(name="all", **fields):
    return StandingOrder.objects.create(name=name, **{"peer_name": "south", **fields})


def make_here(store, count=1, **fields):
    """Files with a good copy on the store, without bytes."""
    files = [make_file(**fields) for _ in range(count)]
    for file in files:
        make_instance(file, store, place=file.name)
    return files


def chosen():
    return OutgoingTransfer.objects.filter(state="initiated", is_latest=True).order_by("pk")


def test_what_matches_and_is_not_there_is_chosen_once(store, peer):
    first, second = make_here(store, 2)
    make_here(store, 1, name="other.uvh5")
    make_order(search='{"name-matches": "zen.%"}', priority=4)
    assert choose_files()["chosen"] == 2
    assert choose_files()["chosen"] == 0
    rows = list(chosen())
    assert [row.file for row in rows] == [first, second]
    assert {(row.peer_name, row.priority, row.attempt, row.size_bytes) for row in rows} == {
        ("south", 4, 1, first.size_bytes)
    }


def test_the_oldest_go_first_and_a_run_is_bounded(store, peer, monkeypatch):
    monkeypatch.setattr(choosing, "PAGE", 3)
    now = timezone.now()
    files = [make_here(store, registered_at=now - timedelta(days=day))[0] for day in (1, 5, 5, 3, 5, 5, 2)]
    make_order()
    assert choose_files(limit=5)["chosen"] == 5
    assert [row.file for row in chosen()] == [files[1], files[2], files[4], files[5], files[3]]
    assert choose_files(limit=5)["chosen"] == 2


@pytest.mark.parametrize("gone", ["there", "bad", "away", "off", "gone"])
def test_what_is_there_or_cannot_be_read_is_left_out(store, peer, gone):
    (file,) = make_here(store)
    make_order()
    if gone == "there":
        make_remote_instance(file, peer="south")
    elif gone == "bad":
        file.instances.update(condition=Condition.MISSING)
    elif gone == "gone":
        file.instances.update(presence=Presence.SET_ASIDE)
    elif gone == "away":
        type(store).objects.update(available=False)
    else:
        type(store).objects.update(enabled=False)
    make_remote_instance(file, peer="another")
    assert choose_files()["chosen"] == 0


@pytest.mark.parametrize("state", ["initiated", "ongoing", "staged", "cancelled", "failed"])
def test_what_is_on_its_way_or_given_up_is_left_alone(store, peer, state):
    make_order()
    make_outgoing(make_here(store)[0], peer="south", state=state)
    assert choose_files()["chosen"] == 0


def test_a_failed_one_is_chosen_again_when_it_is_due(store, peer):
    make_order()
    (file,) = make_here(store)
    later = timezone.now() + timedelta(hours=1)
    old = make_outgoing(file, peer="south", state="failed", next_try_at=later, attempt=2)
    assert choose_files()["chosen"] == 0
    OutgoingTransfer.objects.update(next_try_at=timezone.now())
    assert choose_files()["chosen"] == 1
    old.refresh_from_db()
    assert (old.is_latest, old.next_try_at) == (False, None)
    assert (chosen().get().attempt, chosen().get().pk > old.pk) == (3, True)


def test_one_that_the_peer_has_lost_begins_anew(store, peer):
    make_order()
    make_outgoing(make_here(store)[0], peer="south", state="completed", attempt=4)
    assert choose_files()["chosen"] == 1
    assert chosen().get().attempt == 1


def test_what_a_person_asked_for_is_tried_again_without_any_order(store, peer):
    files = make_here(store, 2)
    ask_for_transfers([file.pk for file in files], peer=peer, by="ada", priority=9)
    for row in OutgoingTransfer.objects.all():
        due = timezone.now() if row.file == files[0] else None
        OutgoingTransfer.objects.filter(pk=row.pk).update(
            state="failed", reason="No.", finished_at=timezone.now(), next_try_at=due
        )
    assert choose_files()["chosen"] == 1
    row = chosen().get()
    assert (row.file, row.asked_by, row.priority, row.attempt) == (files[0], "ada", 9, 2)


@pytest.mark.parametrize("off", ["order", "peer", "removed"])
def test_what_is_switched_off_chooses_nothing(store, peer, off):
    make_here(store)
    order = make_order()
    if off == "order":
        type(order).objects.update(enabled=False)
    elif off == "peer":
        type(peer).objects.update(transfers_enabled=False)
    else:
        peer.delete()
    assert choose_files()["chosen"] == 0


def test_an_order_that_fails_says_so_and_stops_no_other(store, peer):
    make_here(store)
    bad = make_order("bad", search='{"no-such-clause": 1}', priority=9)
    make_order("good")
    assert choose_files() == {"chosen": 1, "failing_orders": 1, "nudged": 1}
    bad.refresh_from_db()
    assert "no such clause" in bad.problem
    assert ErrorRecord.objects.get(code="order_failed", cleared_at=None).message.startswith("The order bad")
    StandingOrder.objects.filter(pk=bad.pk).update(search='{"name-matches": "%"}')
    choose_files()
    bad.refresh_from_db()
    assert bad.problem == ""
    assert not ErrorRecord.objects.filter(cleared_at=None).exists()


def test_no_more_is_piled_up_than_a_few_runs_take_but_what_is_urgent_passes(store, peer, monkeypatch):
    monkeypatch.setattr(choosing, "PILES", 2)
    type(peer).objects.update(files_per_run=3)
    make_here(store, 10)
    order = make_order()
    assert [choose_files()["chosen"] for _ in range(2)] == [6, 0]
    make_order("urgent", priority=1)
    assert choose_files()["chosen"] == 4
    OutgoingTransfer.objects.filter(order=order).update(state="ongoing")
    make_here(store, 3)
    assert choose_files()["chosen"] == 2


def test_queries_do_not_grow_with_the_files(store, peer):
    make_order()

    def count(files):
        make_here(store, files)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert choose_files()["chosen"] == files
        return len(captured)

    few = count(3)
    assert count(300) <= few + 2
    assert few <= 32


def test_a_long_look_at_everything_is_not_repeated_soon(store, peer, monkeypatch):
    monkeypatch.setattr(choosing, "SHORT_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(choosing, "LOOK_SHARE", 10**6)
    order = make_order()
    (old,) = make_here(store, registered_at=timezone.now() - timedelta(days=9))
    make_remote_instance(old, peer="south")
    assert choose_files()["chosen"] == 0
    order.refresh_from_db()
    assert order.next_look_at > timezone.now()
    old.remote_instances.all().delete()  # found at the next look at everything only
    (new,) = make_here(store)
    (failed,) = make_here(store, registered_at=timezone.now() - timedelta(days=9))
    make_outgoing(failed, peer="south", state="failed", next_try_at=timezone.now())
    assert choose_files()["chosen"] == 2
    assert {row.file for row in chosen()} == {new, failed}
    StandingOrder.objects.update(next_look_at=timezone.now())
    assert choose_files()["chosen"] == 1


@pytest.mark.django_db(transaction=True)
def test_two_choosers_at_once_make_one_transfer(store, peer, monkeypatch):
    order = make_order()
    files = make_here(store, 3)
    attempts = choosing._attempts

    def just_before(*args):
        """Somebody else is faster with the second file."""
        rows = attempts(*args)
        if not OutgoingTransfer.objects.exists():
            rows.append(OutgoingTransfer(file=files[1], peer_name="south", order=order))
        return rows

    monkeypatch.setattr(choosing, "_attempts", just_before)
    assert choose_files()["chosen"] == 3
    assert sorted(OutgoingTransfer.objects.values_list("file", flat=True)) == sorted(file.pk for file in files)


def test_jobs_are_asked_for_once_where_something_waits(store, peer):
    make_peer("north")
    make_here(store)
    make_order()
    SendQueueItem.objects.create(peer_name="north")
    SendQueueItem.objects.create(peer_name="south", next_try_at=timezone.now() + timedelta(hours=1))
    assert choose_files()["nudged"] == 2
    wanted = {("offer_files", "south"), ("send_batches", "north")}
    assert wishes_for({"offer_files", "send_batches"}) == wanted
    assert choose_files()["nudged"] == 0
    assert OrmQ.objects.count() == 2
    OrmQ.objects.all().delete()
    JobRun.objects.create(job="offer_files", target="south", trigger="schedule", worker="x", fencing=1)
    assert choose_files()["nudged"] == 1
