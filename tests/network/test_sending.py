"""Sending batches: the bytes get there, what does not is tried again, and every batch comes to an end."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from hera_librarian.features import FEATURES
from librarian.common.identity import own_identity
from librarian.common.leases import acquire
from librarian.common.models import ErrorRecord
from network.models import OutgoingTransfer, Peer, SendQueueItem
from network.providers import base, choice
from network.providers.base import CouldNotStart, Outcome, Provider
from network.services.nudging import wishes_for
from network.services.sending import carrying, send_progress
from network.services.sending.carrying import send_batches
from network.services.sending.offering import offer_files
from network.services.sending.telling import tell_peers
from network.services.transfers import cancel_outgoing
from tests.make import bytes_path, make_file, make_instance, make_outgoing, make_peer, make_store
from tests.network.destination import FAILED, ONGOING, STAGED, Destination

pytestmark = pytest.mark.django_db
BOTH_KINDS = pytest.mark.parametrize("features", [FEATURES, ()], ids=["ours", "foreign"])


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "store")


@pytest.fixture
def start_south(standin, tmp_path):
    def start(features=FEATURES, **fields):
        folder = tmp_path / "south"
        folder.mkdir()
        there = Destination(standin, folder, features=features)
        there.make_peer(**fields)
        return there

    return start


def make_queued(store, count=1, **fields):
    """Transfers that the peer has made room for."""
    made = []
    for _ in range(count):
        file = make_file()
        make_instance(file, store, content=f"the bytes of {file.pk:05}"[:19].encode().ljust(19), place=file.name)
        made.append(make_outgoing(file, peer="south", **fields))
    assert offer_files()["queued"] == count
    return made


def again(row):
    row.refresh_from_db()
    return row


def now_due():
    SendQueueItem.objects.update(next_try_at=timezone.now())


class Scripted(Provider):
    """A way that ends as the test says: called with each parcel, `act` returns its outcome, or raises."""

    def __init__(self, name, act):
        self.name, self.act, self.sent = name, act, []

    def offered_as(self, offer):
        return self.name in offer

    def why_not(self, peer, offer):
        return None

    def send(self, peer, offer, parcels, sending):
        for parcel in parcels:
            self.sent.append(parcel.transfer_id)
            yield self.act(parcel, sending)


@pytest.fixture
def ways(monkeypatch):
    """`ways(first=act, second=act)`: the providers that there are, in this order."""
    monkeypatch.setattr(choice, "PROVIDERS", {})

    def set_up(south=None, **acts):
        for name, act in acts.items():
            choice.PROVIDERS[name] = Scripted(name, act)
        if south is not None:
            SendQueueItem.objects.update(offers={name: {name: True} for name in acts})
        return choice.PROVIDERS

    return set_up


def arrives(parcel, sending):
    sending.progress(parcel.transfer_id, parcel.size_bytes)
    return Outcome(parcel.transfer_id)


def breaks(parcel, sending):
    return Outcome(parcel.transfer_id, "line_broke", "The line broke.", "Mend it.", passing=True)


def cannot(parcel, sending):
    raise CouldNotStart("There is no such program.")


# --- It gets there ---


@BOTH_KINDS
def test_the_bytes_get_there_and_the_peer_is_told(store, start_south, features):
    south = start_south(features)
    transfers = make_queued(store, 3)
    assert send_batches() == {"batches": 1, "files": 3, "failed": 0}
    for each in transfers:
        assert (again(each).state, each.told_state, each.sent_bytes) == ("staged", "staged", 19)
        assert each.next_check_at > timezone.now()
        assert Path(each.destination_path).read_bytes() == bytes_path(store, each.file.name).read_bytes()
    item = SendQueueItem.objects.get()
    assert (item.state, item.provider, item.claim, item.sent_bytes, item.reason) == ("sent", "local", "", 57, "")
    assert item.started_at <= item.finished_at
    assert south.states == [STAGED] * 3
    assert send_batches() == {"batches": 0, "files": 0, "failed": 0}


@pytest.mark.parametrize(("waits", "in_flight", "is_nudged"), [(True, 16, True), (False, 16, False), (True, 1, True)])
def test_more_is_offered_as_soon_as_there_is_room(store, start_south, waits, in_flight, is_nudged):
    start_south(FEATURES)
    make_queued(store, 1)
    Peer.objects.update(batches_in_flight=in_flight)
    if waits:
        make_outgoing(peer="south")
    send_batches()
    assert (("offer_files", "south") in wishes_for({"offer_files"})) is is_nudged


def test_a_directory_gets_there(store, start_south):
    start_south()
    file = make_file(content={"a": b"1", "b/c": b"22", "empty": None}, store=store)
    transfer = make_outgoing(file, peer="south")
    offer_files()
    assert send_batches()["files"] == 1
    assert (Path(again(transfer).destination_path) / "b" / "c").read_bytes() == b"22"


def test_the_urgent_and_then_the_oldest_batch_goes_first(store, start_south, ways):
    start_south()
    first, second, urgent = (make_queued(store, priority=priority)[0] for priority in (0, 0, 5))
    provider = ways(True, fast=arrives)["fast"]
    later = make_queued(store)[0]
    SendQueueItem.objects.filter(pk=again(later).queue_item_id).update(next_try_at=timezone.now() + timedelta(hours=1))
    send_batches()
    assert provider.sent == [urgent.pk, first.pk, second.pk]


@pytest.mark.parametrize("off", ["switched off", "removed", "resting", "another run"])
def test_nothing_is_sent_to_a_peer_that_is_off_rests_or_is_served_by_another_run(store, start_south, off):
    start_south()
    (transfer,) = make_queued(store)
    if off == "another run":
        assert acquire(job="send_batches", target="south", seconds=60)
    elif off == "removed":
        Peer.objects.all().delete()
    elif off == "resting":
        Peer.objects.update(rests_until=timezone.now() + timedelta(minutes=5))
    else:
        Peer.objects.update(transfers_enabled=False)
    assert send_batches()["files"] == 0
    assert again(transfer).state == "ongoing"
    assert SendQueueItem.objects.get().state == "waiting"


def test_what_was_cancelled_is_not_sent(store, start_south, ways):
    start_south()
    cancelled, other = make_queued(store, 2)
    provider = ways(True, fast=arrives)["fast"]
    cancel_outgoing(again(cancelled), by="ada")
    assert send_batches()["files"] == 1
    assert provider.sent == [other.pk]
    assert again(cancelled).state == "cancelled"


def test_a_batch_of_which_everything_was_cancelled_ends(store, start_south, ways):
    start_south()
    for each in make_queued(store, 2):
        cancel_outgoing(again(each), by="ada")
    send_batches()
    assert SendQueueItem.objects.get().state == "sent"


def test_a_batch_whose_sender_died_is_taken_over_and_one_of_the_living_is_not(store, start_south):
    start_south()
    make_queued(store)
    until = timezone.now() + timedelta(minutes=5)
    SendQueueItem.objects.update(state="sending", claim=f"{own_identity()}|ab", claim_until=until)
    assert send_batches()["files"] == 0
    host, pid, rest = own_identity().rsplit(":", 2)
    boot, namespace, _ = rest.split(".")
    SendQueueItem.objects.update(claim=f"{host}:{pid}:{boot}.{namespace}.1|ab")
    assert send_batches()["files"] == 1


def test_one_that_was_taken_over_changes_nothing_any_more(store, start_south, ways):
    start_south()
    (transfer,) = make_queued(store)

    def slowly(parcel, sending):
        SendQueueItem.objects.update(claim="another")
        return Outcome(parcel.transfer_id)

    ways(True, slow=slowly)
    assert send_batches()["files"] == 0
    assert again(transfer).state == "ongoing"
    assert SendQueueItem.objects.get().claim == "another"


def test_progress_is_on_the_rows_while_it_runs(store, start_south, ways, monkeypatch):
    monkeypatch.setattr(send_progress, "WRITE_SECONDS", 0.0)
    start_south()
    transfer, _ = make_queued(store, 2)
    seen = []

    def in_steps(parcel, sending):
        for count in (5, 10, 19):
            sending.progress(parcel.transfer_id, count)
            item = SendQueueItem.objects.get()
            seen.append((item.sent_bytes, again(transfer).sent_bytes, item.rate_bytes_per_second is not None))
        return Outcome(parcel.transfer_id)

    ways(True, slow=in_steps)
    send_batches()
    assert seen[:4] == [(5, 5, False), (10, 10, True), (19, 19, True), (24, 19, True)]
    assert SendQueueItem.objects.get().rate_bytes_per_second is None


def test_a_rate_limit_is_one_for_all_that_goes_to_a_peer(store, start_south, ways):
    start_south(rate_limit_bytes_per_second=1000)
    paces = []
    for _ in range(2):
        make_queued(store)
    ways(True, fast=lambda parcel, sending: paces.append(sending.pace) or Outcome(parcel.transfer_id))
    send_batches()
    assert (len(paces), len({id(pace) for pace in paces}), paces[0].bytes_per_second) == (2, 1, 1000)


def test_what_arrives_is_told_before_the_batch_is_through(store, start_south, ways, monkeypatch):
    monkeypatch.setattr(carrying, "NOTE_SECONDS", 0.0)
    south = start_south()
    make_queued(store, 2)
    seen = []

    def one_by_one(parcel, sending):
        seen.append(south.states.count(STAGED))
        return Outcome(parcel.transfer_id)

    ways(True, slow=one_by_one)
    send_batches()
    assert seen == [0, 1]


# --- It does not ---


def test_what_broke_off_is_tried_again_later_and_says_why(store, start_south, ways):
    south = start_south()
    transfers = make_queued(store, 3)
    bad = transfers[1].pk
    ways(True, poor=lambda parcel, sending: (breaks if parcel.transfer_id == bad else arrives)(parcel, sending))
    assert send_batches() == {"batches": 0, "files": 2, "failed": 0}
    assert [again(each).state for each in transfers] == ["staged", "ongoing", "staged"]
    assert (transfers[1].code, transfers[1].reason, transfers[1].remedy) == (
        "line_broke",
        "The line broke.",
        "Mend it.",
    )
    item = SendQueueItem.objects.get()
    assert (item.state, item.attempts, item.code, item.claim) == ("waiting", 1, "line_broke", "")
    assert item.next_try_at > timezone.now()
    assert sorted(south.states) == [ONGOING, STAGED, STAGED]
    assert send_batches()["files"] == 0
    now_due()
    choice.PROVIDERS["poor"].act = arrives
    assert send_batches() == {"batches": 1, "files": 1, "failed": 0}
    assert (again(transfers[1]).state, transfers[1].reason) == ("staged", "")


def test_after_its_attempts_the_next_way_is_used_and_after_the_last_the_file_fails(store, start_south, ways, settings):
    settings.LIBRARIAN_TRANSFER_ATTEMPTS = 3
    start_south()
    (transfer,) = make_queued(store)
    providers = ways(True, first=breaks, second=breaks)
    used = []
    for _ in range(6):
        send_batches()
        used.append((len(providers["first"].sent), len(providers["second"].sent)))
        now_due()
    # the third attempt is followed by the next way at once
    assert used[:3] == [(1, 0), (2, 0), (3, 1)]
    assert used[-1] == (3, 3)
    assert (again(transfer).state, transfer.code, transfer.reason) == ("failed", "line_broke", "The line broke.")
    assert transfer.next_try_at > timezone.now()
    assert SendQueueItem.objects.get().state == "failed"
    tell_peers()
    assert again(transfer).told_state == "failed"


def test_one_that_cannot_start_is_left_out_at_once(store, start_south, ways):
    start_south()
    make_queued(store)
    ways(True, broken=cannot, good=arrives)
    assert send_batches()["files"] == 1
    assert SendQueueItem.objects.get().provider == "good"
    assert Peer.objects.get().provider_rests["broken"]["reason"] == "There is no such program."


def test_without_any_way_it_waits_with_every_reason_and_not_for_ever(store, start_south, ways, settings):
    settings.LIBRARIAN_TRANSFER_ATTEMPTS = 2
    start_south()
    (transfer,) = make_queued(store)
    ways(True, broken=cannot)
    send_batches()
    assert "There is no such program" in SendQueueItem.objects.get().reason
    assert (again(transfer).state, transfer.code) == ("ongoing", "no_provider")
    now_due()
    send_batches()
    assert (again(transfer).state, transfer.code) == ("failed", "no_provider")
    assert SendQueueItem.objects.get().state == "failed"


def test_attempts_at_which_the_peer_was_away_do_not_count(store, start_south, ways, settings):
    settings.LIBRARIAN_TRANSFER_ATTEMPTS = 2
    south = start_south()
    (transfer,) = make_queued(store)
    ways(True, poor=breaks)
    south.standin.answers["v2/ping/"] = (503, b"")
    for _ in range(4):
        Peer.objects.update(rests_until=None)
        now_due()
        send_batches()
    assert again(transfer).state == "ongoing"
    item = SendQueueItem.objects.get()
    assert (item.state, item.attempts) == ("waiting", 0)


def test_a_copy_that_is_not_there_fails_its_file_alone_and_is_not_chosen_again_first(store, start_south, tmp_path):
    start_south()
    bad, good = make_queued(store, 2)
    other = make_instance(bad.file, make_store(tmp_path / "other"), content=b"x" * 19)
    bytes_path(store, bad.file.name).unlink()
    assert send_batches() == {"batches": 1, "files": 1, "failed": 1}
    assert (again(bad).state, bad.next_try_at is None) == ("failed", False)
    assert again(good).state == "staged"
    OutgoingTransfer.objects.filter(pk=bad.pk).update(is_latest=False, next_try_at=None)
    second = make_outgoing(bad.file, peer="south", attempt=2)
    offer_files()
    assert again(second).instance == other


def test_a_copy_that_went_bad_since_is_replaced_by_another(store, start_south, tmp_path):
    start_south()
    transfer, without = make_queued(store, 2)
    other = make_instance(transfer.file, make_store(tmp_path / "other"), content=b"y" * 19)
    for each in (transfer, without):
        each.file.instances.filter(store=store).update(condition="different")
    assert send_batches() == {"batches": 1, "files": 1, "failed": 1}
    assert (again(transfer).instance, Path(transfer.destination_path).read_bytes()) == (other, b"y" * 19)
    assert (again(without).code, without.next_try_at is None) == ("no_readable_copy", False)


def test_what_one_way_cannot_do_another_may(store, start_south, ways):
    start_south()
    make_queued(store)
    ways(
        True,
        near=lambda parcel, sending: Outcome(parcel.transfer_id, "destination_refused", "Not there."),
        far=arrives,
    )
    assert send_batches()["files"] == 1
    assert SendQueueItem.objects.get().provider == "far"


def test_a_mistake_in_a_provider_stops_no_other_batch(store, start_south, ways):
    start_south()
    (bad,) = make_queued(store)
    (good,) = make_queued(store)

    def act(parcel, sending):
        if parcel.transfer_id == bad.pk:
            raise ZeroDivisionError("oh")
        return arrives(parcel, sending)

    ways(True, buggy=act)
    assert send_batches()["files"] == 1
    assert again(good).state == "staged"
    assert "ZeroDivisionError" in again(bad).reason
    assert ErrorRecord.objects.filter(code="provider_failed").exists()


def test_a_run_that_is_cut_off_leaves_its_batch_to_the_next(store, start_south, ways):
    start_south()
    make_queued(store)

    def cut_off(parcel, sending):
        raise SystemExit("time")

    ways(True, slow=cut_off)
    with pytest.raises(SystemExit):
        send_batches()
    item = SendQueueItem.objects.get()
    assert (item.state, item.claim, item.attempts) == ("waiting", "", 0)
    choice.PROVIDERS["slow"].act = arrives
    assert send_batches()["files"] == 1


@pytest.mark.parametrize("why", ["switched off", "others wait"])
def test_a_run_ends_when_nobody_wants_it_or_others_have_waited(store, start_south, ways, monkeypatch, why):
    monkeypatch.setattr(send_progress, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(base, "ASKED_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(carrying, "SLICE_SECONDS", 0.0)
    start_south()
    make_peer("west")
    transfers = make_queued(store, 3)

    def act(parcel, provided):
        if not provided.goes_on():
            return Outcome(parcel.transfer_id, "sending_stopped", "Stopped.", passing=True)
        if why == "switched off":
            Peer.objects.filter(name="south").update(transfers_enabled=False)
        else:
            SendQueueItem.objects.create(peer_name="west")
        return arrives(parcel, provided)

    ways(True, slow=act)
    assert send_batches(peer="south")["files"] == 1
    assert [again(each).state for each in transfers] == ["staged", "ongoing", "ongoing"]
    item = SendQueueItem.objects.get(peer_name="south")
    assert (item.state, item.attempts, item.code) == ("waiting", 0, "sending_stopped")
    assert item.next_try_at <= timezone.now()


def test_a_peer_that_failed_a_transfer_meanwhile_is_believed(store, start_south):
    south = start_south()
    (transfer,) = make_queued(store)
    south.transfers[again(transfer).remote_transfer_id]["state"] = FAILED
    send_batches()
    assert (again(transfer).state, transfer.code) == ("failed", "failed_at_peer")
