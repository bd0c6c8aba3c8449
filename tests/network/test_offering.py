"""Offering chosen files: to a site of our kind, which answers for each, and to a foreign one: all or none."""

import pytest
from django.utils import timezone

from files.models import RemoteInstance
from hera_librarian.features import FEATURES
from librarian.common import steps
from librarian.common.leases import acquire
from network.models import OutgoingTransfer, Peer, SendQueueItem
from network.services.nudging import wishes_for
from network.services.sending import offering
from network.services.sending.offering import offer_files
from network.services.sending.telling import tell_peers
from network.services.transfers import cancel_outgoing
from tests.make import make_file, make_instance, make_outgoing, make_store
from tests.network.destination import FAILED, INITIATED, ONGOING, STAGED, Destination

pytestmark = pytest.mark.django_db
BOTH_KINDS = pytest.mark.parametrize("features", [FEATURES, ()], ids=["ours", "foreign"])


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "store", initialise=False)


@pytest.fixture
def start_south(standin, tmp_path):
    def start(features=FEATURES, **fields):
        there = Destination(standin, tmp_path / "south", features=features)
        there.make_peer(**fields)
        return there

    return start


def make_waiting(store, count=1, **fields):
    """Chosen transfers of files that can be read here, in the order of their names."""
    made = []
    for number in range(count):
        file = make_file(f"zen.2457561.{number:05}.{timezone.now().timestamp()}.uvh5")
        make_instance(file, store, place=file.name)
        made.append(make_outgoing(file, peer="south", **fields))
    return made


def again(transfer):
    transfer.refresh_from_db()
    return transfer


# --- Taken ---


@BOTH_KINDS
def test_a_batch_that_is_taken_is_queued_and_told(store, start_south, features):
    south = start_south(features)
    transfers = make_waiting(store, 3, priority=4)
    assert offer_files() == {"queued": 3, "completed": 0, "failed": 0}
    item = SendQueueItem.objects.get()
    assert (item.peer_name, item.state, item.priority, item.size_bytes) == ("south", "waiting", 4, 3 * 19)
    assert (item.offers, item.is_foreign) == (south.offers, not features)
    for each in transfers:
        assert (again(each).state, each.told_state, each.queue_item, each.reason) == ("ongoing", "ongoing", item, "")
        there = south.transfers[each.remote_transfer_id]
        assert (there["source_id"], there["location"], there["state"]) == (each.pk, each.destination_path, ONGOING)
        assert each.remote_upload_id == (each.remote_transfer_id + 1000 if features else None)
        assert each.instance == each.file.instances.get()
    assert Peer.objects.get().features == list(features)
    assert wishes_for({"send_batches"}) == {("send_batches", "south")}
    assert offer_files()["queued"] == 0


def test_an_offer_says_what_the_protocol_wants_and_what_ours_understand(store, start_south):
    south = start_south()
    (transfer,) = make_waiting(store)
    offer_files()
    (message,) = south.told("v2/clone/batch_stage")
    assert (message["source"], message["total_size"]) == ("test_librarian", 19)
    file = transfer.file
    (item,) = message["uploads"]
    assert item["facts"].pop("first_registered_at")[:10] == file.first_registered_at.isoformat()[:10]
    assert item == {
        "upload_size": 19,
        "upload_checksum": file.checksum,
        "upload_name": file.name,
        "destination_location": file.name,
        "uploader": "a tester",
        "source_transfer_id": transfer.pk,
        "facts": {"kind": "flat", "digest": file.digest, "obsid": None, "stream_bytes": None},
    }
    left_out = {"rsync", "ssh_host", "globus"}
    assert set(message["librarian_features"]) == set(FEATURES) - left_out


def test_ways_that_need_a_persons_word_are_named_only_with_it(store, start_south):
    south = start_south(ssh_hosts=["south.example.org"], shared_directories=[])
    make_waiting(store)
    offer_files()
    assert set(south.told("v2/clone/batch_stage")[0]["librarian_features"]) == set(FEATURES) - {"local", "globus"}


def test_globus_is_named_where_it_is_set_up_and_a_collection_is_allowed(store, start_south, settings):
    settings.LIBRARIAN_GLOBUS_CLIENT_ID = "an app"
    south = start_south(globus_endpoints=["0f0e0d0c-1111-4222-8333-444455556666"])
    make_waiting(store)
    offer_files()
    assert "globus" in south.told("v2/clone/batch_stage")[0]["librarian_features"]


def test_the_urgent_go_first_in_batches_up_to_what_a_run_and_the_way_take(store, start_south):
    south = start_south(batch_files=2, files_per_run=5, batches_in_flight=4)
    urgent = [*make_waiting(store, 4), *make_waiting(store, 3, priority=9)][4:]
    assert offer_files()["queued"] == 5
    offered = [[item["source_transfer_id"] for item in each["uploads"]] for each in south.told("v2/clone/batch_stage")]
    assert [len(each) for each in offered] == [2, 2, 1]
    assert [key for each in offered for key in each][:3] == [each.pk for each in urgent]
    assert offer_files()["queued"] == 2  # the fourth batch, and no more are on their way at once
    make_waiting(store)
    assert offer_files()["queued"] == 0


@pytest.mark.parametrize("off", ["switched off", "removed", "another run"])
def test_nothing_is_offered_to_a_peer_that_is_off_or_served_by_another_run(store, start_south, off):
    south = start_south()
    make_waiting(store)
    if off == "another run":
        assert acquire(job="offer_files", target="south", seconds=60)
    elif off == "removed":
        Peer.objects.all().delete()
    else:
        Peer.objects.update(transfers_enabled=False)
    assert offer_files()["queued"] == 0
    assert south.told("v2/clone/batch_stage") == []


def test_the_copy_that_was_sent_before_is_the_last_choice(store, start_south, tmp_path):
    start_south()
    other = make_store(tmp_path / "other", initialise=False)
    away = make_store(tmp_path / "away", initialise=False, hosts=["elsewhere"])
    (first,) = make_waiting(store)
    copies = [first.file.instances.get(), make_instance(first.file, other), make_instance(first.file, away)]
    OutgoingTransfer.objects.update(
        state="failed", reason="No.", is_latest=False, instance=copies[0], finished_at=timezone.now()
    )
    transfer = make_outgoing(first.file, peer="south", attempt=2)
    offer_files()
    assert again(transfer).instance == copies[1]


def test_a_file_without_a_copy_fails_for_now_and_the_others_go(store, start_south):
    start_south()
    without, _ = make_waiting(store, 2)
    without.file.instances.update(condition="missing")
    assert offer_files() == {"queued": 1, "completed": 0, "failed": 1}
    assert (again(without).code, without.next_try_at is None) == ("no_readable_copy", False)


# --- Refused, one by one ---


def test_files_that_are_there_and_files_that_cannot_be_taken_keep_nobody_back(store, start_south):
    south = start_south()
    held, lie, taken, full, never, good = make_waiting(store, 6)
    south.hold(held.file, store_ids=[8, 9])
    south.hold(taken.file, content=b"others")
    south.refusals = {
        full.file.name: {"code": "no_store_available", "reason": "It is full.", "passing": True},
        never.file.name: {"code": "invalid_name", "reason": "Such a name.", "suggested_remedy": "Another."},
        lie.file.name: {
            "code": "already_held",
            "reason": "It is here.",
            "held": True,
            "store_ids": [1],
            "checksum": "sha256:::" + "0" * 64,
        },
    }
    assert offer_files() == {"queued": 1, "completed": 1, "failed": 4}
    assert (again(held).state, RemoteInstance.objects.get().peer_store_id) == ("completed", 8)
    for each in (lie, taken):
        assert (again(each).code, each.next_try_at) == ("other_bytes_at_peer", None)
        assert each.file.checksum in each.reason
    assert "0" * 64 in lie.reason
    assert (again(full).code, full.reason, full.next_try_at is None) == ("no_store_available", "It is full.", False)
    assert (again(never).code, never.remedy) == ("invalid_name", "Another.")
    assert again(good).state == "ongoing"


def test_one_that_says_to_hold_a_file_by_another_checksum_is_asked_for_its_digest(store, start_south):
    south = start_south()
    (transfer,) = make_waiting(store)
    south.hold(transfer.file)
    south.files[transfer.file.name]["checksum"] = "md5:::" + "0" * 32
    assert offer_files()["completed"] == 1
    assert len(south.told("v2/clone/holdings")) == 1


def test_an_answer_is_believed_piece_by_piece(store, start_south):
    south = start_south()
    climbing, relative, long, control, twice, missing, good = transfers = make_waiting(store, 7)
    places = {climbing: "/a/../etc/passwd", relative: "a/b", long: "/" + "a" * 5000, control: "/a\nb"}
    honest = south.batch_stage

    def crooked():
        status, answer = honest()
        items = {item["source_transfer_id"]: item for item in answer["uploads"]}
        for each, place in places.items():
            items[each.pk]["staging_location"] = place
        items[twice.pk]["destination_transfer_id"] = items[climbing.pk]["destination_transfer_id"]
        del items[missing.pk]
        stray = {**items[good.pk], "source_transfer_id": 10**6}
        long_way = {**south.offers["local"], "padding": "x" * 10_000}  # would be read with every row of the batch
        ways = {"new": {"wormhole": 1}, "long": long_way, **south.offers}
        return status, {**answer, "uploads": [*items.values(), stray, 7], "async_transfer_providers": ways}

    south.standin.answers["v2/clone/batch_stage"] = crooked
    assert offer_files() == {"queued": 1, "completed": 0, "failed": 6}
    assert [again(each).state for each in transfers] == ["failed"] * 6 + ["ongoing"]
    assert all(each.next_try_at and each.code == "bad_answer" for each in transfers[:6])
    assert SendQueueItem.objects.get().offers == south.offers
    tell_peers()
    assert south.transfers[climbing.remote_transfer_id]["state"] == FAILED  # it need not wait for those
    assert south.transfers[good.remote_transfer_id]["state"] == ONGOING


def test_no_way_for_the_bytes_fails_the_batch_for_now_and_the_peer_is_told(store, start_south):
    south = start_south()
    south.offers = {}
    (transfer,) = make_waiting(store)
    assert offer_files()["failed"] == 1
    assert (again(transfer).code, transfer.next_try_at is None) == ("no_way_offered", False)
    assert tell_peers()["told"] == 1
    assert south.states == [FAILED]


def test_a_peer_that_was_restored_gives_ids_anew(store, start_south):
    south = start_south()
    old = make_outgoing(peer="south", state="staged", remote_transfer_id=101, told_state="staged")
    given_up = make_outgoing(peer="south", state="failed", reason="No.", remote_transfer_id=102)
    new = make_waiting(store, 2)
    assert offer_files() == {"queued": 2, "completed": 0, "failed": 1}
    assert (again(old).state, old.code, old.remote_transfer_id) == ("failed", "lost_at_peer", None)
    assert again(given_up).remote_transfer_id is None
    tell_peers()  # of the new ones nothing is said in the name of the old
    assert south.told("v2/clone/fail") == []
    assert {again(each).remote_transfer_id for each in new} == {101, 102}


def test_one_that_was_cancelled_while_it_was_offered_is_told_to_the_peer(store, start_south):
    south = start_south()
    transfer, other = make_waiting(store, 2)
    honest = south.batch_stage

    def meanwhile():
        wanted.append(1)
        return honest()

    wanted = []
    south.standin.answers["v2/clone/batch_stage"] = meanwhile
    passed, steps.passed = steps.passed, lambda step: step == "offered" and cancel_outgoing(again(transfer), by="ada")
    try:
        assert offer_files()["queued"] == 1
    finally:
        steps.passed = passed
    assert (again(transfer).state, transfer.queue_item) == ("cancelled", None)
    assert tell_peers()["told"] == 1
    assert south.transfers[transfer.remote_transfer_id]["state"] == FAILED
    assert again(other).state == "ongoing"


@BOTH_KINDS
def test_an_offer_whose_answer_was_lost_is_made_again(store, start_south, features):
    south = start_south(features)
    (transfer,) = make_waiting(store)
    honest = south.batch_stage
    south.standin.answers["v2/clone/batch_stage"] = lambda: (honest(), (200, b"{"))[1]
    assert offer_files()["queued"] == 0
    assert (again(transfer).state, transfer.code) == ("initiated", "peer_is_no_librarian")
    south.standin.answers["v2/clone/batch_stage"] = honest
    Peer.objects.update(rests_until=None)
    assert offer_files()["queued"] == 1
    assert (again(transfer).state, transfer.reason) == ("ongoing", "")
    live = [each for each in south.states if each in (INITIATED, ONGOING, STAGED)]
    assert live == [ONGOING]


@pytest.mark.parametrize("answer", [(503, {"reason": "Busy."}), (401, {"detail": "No."}), (404, {"detail": "No."})])
@BOTH_KINDS
def test_a_peer_that_does_not_work_makes_everything_wait_with_the_reason(store, start_south, features, answer):
    south = start_south(features)
    transfers = make_waiting(store, 2)
    south.standin.answers["v2/clone/batch_stage"] = answer
    assert offer_files() == {"queued": 0, "completed": 0, "failed": 0}
    assert len(south.told("v2/clone/batch_stage")) == 1
    for each in transfers:
        assert (again(each).state, bool(each.reason), bool(each.remedy)) == ("initiated", True, True)


# --- A foreign peer ---


def test_of_a_batch_refused_because_of_files_that_are_there_the_rest_goes(store, start_south):
    south = start_south(())
    held, other, empty, *good = make_waiting(store, 5)
    south.hold(held.file, store_ids=[7])
    south.hold(other.file, content=b"others")
    south.hold(empty.file, store_ids=[])
    assert offer_files() == {"queued": 2, "completed": 1, "failed": 2}
    assert (again(held).state, RemoteInstance.objects.get().peer_store_id) == ("completed", 7)
    assert (again(other).code, other.next_try_at) == ("other_bytes_at_peer", None)
    assert (again(empty).code, empty.next_try_at is None) == ("no_copy_at_peer", False)
    assert {again(each).state for each in good} == {"ongoing"}
    assert len(south.told("v2/clone/batch_stage")) == 2


def test_one_that_it_has_and_does_not_find_fails_for_now(store, start_south):
    south = start_south(())
    transfer, good = make_waiting(store, 2)
    south.hold(transfer.file)
    south.standin.answers["v2/search/file"] = (404, {"reason": "No files found."})
    assert offer_files() == {"queued": 1, "completed": 0, "failed": 1}
    assert (again(transfer).code, transfer.next_try_at is None) == ("offer_refused", False)
    assert again(good).state == "ongoing"


def test_one_that_it_is_receiving_waits_and_older_ones_are_offered_once_more(store, start_south):
    south = start_south(())
    ongoing, older, _ = transfers = make_waiting(store, 3)
    for key, (each, state) in enumerate(((ongoing, ONGOING), (older, STAGED)), start=1):
        south.transfers[key] = {"state": state, "name": each.file.name, "source_id": 0}
    assert offer_files() == {"queued": 2, "completed": 0, "failed": 1}
    assert [again(each).state for each in transfers] == ["failed", "ongoing", "ongoing"]
    assert "Transfer is ongoing" in ongoing.reason
    assert ongoing.next_try_at > timezone.now()
    assert south.transfers[2]["state"] == FAILED


def test_one_that_is_always_initiated_already_waits_after_a_second_offer(store, start_south):
    south = start_south(())
    stuck, good = make_waiting(store, 2)
    honest = south.batch_stage

    def stubborn():
        ids = [item["source_transfer_id"] for item in south.message["uploads"]]
        body = {"reason": "Transfer was already initiated or staged.", "source_transfer_ids": [stuck.pk]}
        return (406, body) if stuck.pk in ids else honest()

    south.standin.answers["v2/clone/batch_stage"] = stubborn
    assert offer_files() == {"queued": 1, "completed": 0, "failed": 1}
    assert len(south.told("v2/clone/batch_stage")) == 3
    assert again(good).state == "ongoing"


@pytest.mark.parametrize(("status", "retries"), [(500, True), (413, True), (400, True), (422, True)])
def test_one_file_that_is_refused_without_being_named_is_found(store, start_south, status, retries):
    south = start_south(())
    transfers = make_waiting(store, 16)
    bad = transfers[0]  # every call until it is found is refused, which must not end the looking
    south.poison = {bad.file.name: status}
    assert offer_files() == {"queued": 15, "completed": 0, "failed": 1}
    assert (again(bad).code, (bad.next_try_at is not None)) == ("offer_refused", retries)
    assert f"status {status}" in bad.reason
    assert len(south.told("v2/clone/batch_stage")) <= 9


def test_looking_for_refused_files_ends_after_some_calls_and_goes_on_at_the_next_run(store, start_south, monkeypatch):
    monkeypatch.setattr(offering, "MOST_EXTRA_CALLS", 3)
    south = start_south(())
    transfers = make_waiting(store, 8)
    south.poison = {each.file.name: 413 for each in transfers}
    for run in range(1, 20):
        offer_files()
        assert len(south.told("v2/clone/batch_stage")) <= 4 * run
        if not OutgoingTransfer.objects.filter(state="initiated").exists():
            break
        assert OutgoingTransfer.objects.filter(code="offer_unsettled").exists()
    assert {again(each).state for each in transfers} == {"failed"}
