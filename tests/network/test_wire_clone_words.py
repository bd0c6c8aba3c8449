"""What peers say about transfers: ongoing, staged, failed by their sender, complete by their receiver."""

import pytest
from django_q.models import OrmQ

from files.models import FileEvent, RemoteInstance, UploadState
from librarian.common.models import ErrorRecord
from network.models import IncomingTransfer, OutgoingTransfer, TransferState
from tests.make import make_file, make_store, make_user
from tests.network.clones import BYTES, make_incoming, make_outgoing, make_site, state_of

pytestmark = pytest.mark.django_db
INITIATED, ONGOING, STAGED, COMPLETED, FAILED, CANCELLED = TransferState


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def north(cast):
    return make_site("north")


@pytest.fixture
def south(cast):
    return make_site("south")


def ids(transfer, **changes):
    return {"source_transfer_id": transfer.source_transfer_id, "destination_transfer_id": transfer.pk, **changes}


def ended(store, state, **fields):
    if state == COMPLETED:
        fields |= {"file": make_file(store=store), "store_id_told": store.pk}
    if state in (FAILED, CANCELLED):
        fields |= {"reason": "It was so."}
    return make_incoming(store, state=state, **fields)


# --- Ongoing and staged -----------------------------------------------------------------------------------------------


def test_ongoing_then_staged_each_as_often_as_it_is_said(wire, north, store):
    transfer = make_incoming(store)
    for _ in range(2):
        assert wire.ok("clone/ongoing", ids(transfer), user="north") == ids(transfer)
    assert state_of(transfer) == ONGOING
    for _ in range(2):
        assert wire.ok("clone/staged", ids(transfer), user="north") == {**ids(transfer), "success": True}
    transfer.refresh_from_db()
    assert transfer.state == STAGED
    assert transfer.staged_at is not None


def test_a_late_word_is_harmless(wire, north, store):
    staged = make_incoming(store, state=STAGED)
    wire.ok("clone/ongoing", ids(staged), user="north")
    assert state_of(staged) == STAGED
    complete = ended(store, COMPLETED, name="done.uvh5")
    wire.ok("clone/ongoing", ids(complete), user="north")
    wire.ok("clone/staged", ids(complete), user="north")
    assert state_of(complete) == COMPLETED


@pytest.mark.parametrize("word", ["ongoing", "staged"])
@pytest.mark.parametrize("state", [FAILED, CANCELLED])
def test_what_has_failed_does_not_come_back(wire, north, store, word, state):
    transfer = ended(store, state)
    status, answer = wire.refused(f"clone/{word}", ids(transfer), user="north")
    assert (status, answer["reason"].startswith("Transfer is not in")) == (406, True)
    assert (answer["source_transfer_id"], answer["destination_transfer_id"]) == (1, transfer.pk)
    assert state_of(transfer) == state


def test_staged_before_ongoing_is_refused_in_the_words_of_the_protocol(wire, north, store):
    status, answer = wire.refused("clone/staged", ids(make_incoming(store)), user="north")
    assert (status, answer["reason"]) == (406, "Transfer is not in ONGOING status.")


@pytest.mark.parametrize("word", ["ongoing", "staged", "fail"])
def test_only_its_account_moves_a_transfer(wire, north, store, word):
    make_site("west")
    transfer = make_incoming(store, state=INITIATED if word == "ongoing" else ONGOING, source="west")
    before = transfer.state
    said = {"reason": "because"} if word == "fail" else {}
    for body in (ids(transfer), {**ids(transfer), "destination_transfer_id": 999}):
        status, answer = wire.refused(f"clone/{word}", body | said, user="west")
        assert (status, answer["code"]) == (404, "no_such_transfer")
        assert answer["reason"].startswith("Could not find transfer")
    assert state_of(transfer) == before
    wire.ok(f"clone/{word}", ids(transfer) | said, user="admin")
    assert state_of(transfer) != before


@pytest.mark.parametrize("word", ["ongoing", "staged", "fail"])
def test_an_id_given_out_anew_is_another_transfer(wire, north, store, word):
    transfer = make_incoming(store, state=INITIATED if word == "ongoing" else ONGOING)
    before = transfer.state
    said = {"reason": "because"} if word == "fail" else {}
    status, _ = wire.refused(f"clone/{word}", ids(transfer, source_transfer_id=77) | said, user="north")
    assert status == 404
    assert state_of(transfer) == before


def test_staging_asks_for_one_run_of_the_job_that_takes_in(wire, north, store):
    for number in range(3):
        transfer = make_incoming(store, name=f"{number}.uvh5", state=ONGOING, source_id=number)
        wire.ok("clone/staged", ids(transfer), user="north")
    assert OrmQ.objects.count() == 1
    assert OrmQ.objects.get().key == "bulk"


# --- Given up by the sender -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [INITIATED, ONGOING, STAGED])
def test_the_sender_gives_a_live_transfer_up(wire, north, store, state):
    transfer = make_incoming(store, state=state, written=BYTES)
    body = ids(transfer) | {"reason": "Transfer failed on source librarian."}
    for _ in range(2):
        assert wire.ok("clone/fail", body, user="north") == {**ids(transfer), "success": True}
    transfer.refresh_from_db()
    assert (transfer.state, transfer.reason) == (FAILED, "Transfer failed on source librarian.")
    assert transfer.report == "done"  # the sender knows
    assert transfer.upload.state == UploadState.FAILED
    assert list(store.backend.list_staging()) == []


def test_what_has_arrived_stays(wire, north, store):
    transfer = ended(store, COMPLETED)
    status, answer = wire.refused("clone/fail", ids(transfer) | {"reason": "late"}, user="north")
    assert (status, answer["code"]) == (406, "wrong_transfer_state")
    assert "is here" in answer["reason"]
    assert state_of(transfer) == COMPLETED


def test_an_unknown_one_is_named(wire, north):
    body = {"source_transfer_id": 1, "destination_transfer_id": 12345, "reason": "x"}
    status, answer = wire.refused("clone/fail", body, user="north")
    assert (status, answer["reason"]) == (404, "Could not find transfer with ID 12345.")


# --- Complete ---------------------------------------------------------------------------------------------------------


def completion(transfer, **changes):
    return {"source_transfer_id": transfer.pk, "destination_transfer_id": 7, "store_id": 1, **changes}


@pytest.mark.parametrize("state", [ONGOING, STAGED])
def test_a_completion_is_a_remote_instance_once(wire, south, state):
    transfer = make_outgoing(state=state)
    for _ in range(2):
        answer = wire.ok("clone/complete", completion(transfer), user="south")
        assert answer == {"source_transfer_id": transfer.pk, "destination_transfer_id": 7}
    assert state_of(transfer) == COMPLETED
    remote = RemoteInstance.objects.get()
    assert (remote.file, remote.peer_name, remote.peer_store_id) == (transfer.file, "south", 1)
    assert remote.sender == "test_librarian"


@pytest.mark.parametrize("changes", [{"destination_transfer_id": 8}, {"source_transfer_id": 4242}])
def test_a_completion_of_something_else_is_refused(wire, south, changes):
    transfer = make_outgoing()
    status, answer = wire.refused("clone/complete", completion(transfer) | changes, user="south")
    assert (status, answer["reason"]) == (400, "Could not find transfer.")
    assert state_of(transfer) == STAGED
    assert not RemoteInstance.objects.exists()


def test_nobody_completes_the_transfer_to_another(wire, south):
    make_site("west")
    transfer = make_outgoing()
    status, answer = wire.refused("clone/complete", completion(transfer), user="west")
    assert (status, answer["reason"]) == (400, "Could not find transfer.")
    assert state_of(transfer) == STAGED


def test_an_administrator_closes_one_by_hand(wire, south):
    transfer = make_outgoing(state=ONGOING, remote_id=None)
    wire.ok("clone/complete", completion(transfer, destination_transfer_id=-1), user="admin")
    assert state_of(transfer) == COMPLETED
    assert RemoteInstance.objects.get().peer_name == "south"


def test_nobody_else_closes_one_by_hand(wire, south):
    transfer = make_outgoing(state=CANCELLED, remote_id=None, reason="given up")
    status, answer = wire.refused("clone/complete", completion(transfer, destination_transfer_id=-1), user="south")
    assert (status, answer["reason"]) == (400, "Could not find transfer.")
    assert not RemoteInstance.objects.exists()


@pytest.mark.parametrize("state", [STAGED, FAILED])
def test_a_site_that_names_ever_new_stores_fills_no_history(wire, south, state):
    transfer = make_outgoing(state=state, reason="given up" if state == FAILED else "")
    for store_id in (1, 2, 3, 1):
        wire.ok("clone/complete", completion(transfer, store_id=store_id), user="south")
    said = [full(transfer, store_id=store_id) for store_id in (4, 5)]
    wire.ok("clone/batch_complete", {"completions": said}, user="south")
    assert list(RemoteInstance.objects.values_list("peer_store_id", flat=True)) == [1]
    assert FileEvent.objects.filter(file=transfer.file, type="remote_copy_noted").count() == 1


def test_one_word_counts_for_each_transfer_of_a_batch(wire, south):
    transfer = make_outgoing()
    said = [full(transfer, store_id=store_id) for store_id in (1, 2, 3)]
    results = wire.ok("clone/batch_complete", {"completions": said}, user="south")["results"]
    assert [each["accepted"] for each in results] == [True] * 3
    assert list(RemoteInstance.objects.values_list("peer_store_id", flat=True)) == [1]


def test_what_was_never_sent_cannot_be_complete(wire, south):
    transfer = make_outgoing(state=INITIATED)
    status, answer = wire.refused("clone/complete", completion(transfer), user="south")
    assert (status, answer["reason"]) == (406, "Transfer is not in ONGOING or STAGED status.")
    assert not RemoteInstance.objects.exists()


def test_a_completion_that_comes_too_late_still_tells_of_a_copy(wire, south):
    transfer = make_outgoing(state=FAILED, reason="given up")
    wire.ok("clone/complete", completion(transfer), user="south")
    assert state_of(transfer) == FAILED
    assert RemoteInstance.objects.exists()


def test_a_completion_counts_also_while_the_peer_is_removed(wire, south):
    transfer = make_outgoing()
    south.delete()
    wire.ok("clone/complete", completion(transfer), user="south")
    assert RemoteInstance.objects.get().peer_name == "south"


# --- Many completions -------------------------------------------------------------------------------------------------


def full(transfer, **changes):
    file = transfer.file
    said = {"size": file.size_bytes, "checksum": file.checksum, "digest": file.digest}
    return completion(transfer) | said | changes


def test_many_completions_are_answered_each(wire, south):
    good, other = make_outgoing(), make_outgoing(remote_id=9)
    early = make_outgoing(state=INITIATED, remote_id=10)
    said = [
        full(good),
        full(other),  # its remote id is 9
        full(early, destination_transfer_id=10),
        full(good, source_transfer_id=4242),
    ]
    for _ in range(2):
        results = wire.ok("clone/batch_complete", {"completions": said}, user="south")["results"]
        assert [each["accepted"] for each in results] == [True, False, False, False]
        assert [each["source_transfer_id"] for each in results] == [good.pk, other.pk, early.pk, 4242]
        codes = [each["code"] for each in results]
        assert codes == ["", "no_such_transfer", "wrong_transfer_state", "no_such_transfer"]
    assert [state_of(each) for each in (good, other, early)] == [COMPLETED, STAGED, INITIATED]
    assert RemoteInstance.objects.count() == 1


@pytest.mark.parametrize("lie", [{"digest": "00" * 32}, {"size": 1}, {"checksum": "sha256:::" + "00" * 32}])
def test_a_lie_about_the_bytes_is_refused_and_reported(wire, south, lie):
    transfer, neighbour = make_outgoing(), make_outgoing()
    said = [full(transfer, **lie), full(neighbour)]
    results = wire.ok("clone/batch_complete", {"completions": said}, user="south")["results"]
    assert [each["accepted"] for each in results] == [False, True]
    assert results[0]["code"] == "peer_holds_other_bytes"
    transfer.refresh_from_db()
    assert (transfer.state, transfer.code) == (FAILED, "peer_holds_other_bytes")
    assert transfer.next_try_at is not None  # sent again
    assert transfer.told_state == FAILED
    assert RemoteInstance.objects.get().file == neighbour.file
    error = ErrorRecord.objects.get(code="peer_holds_other_bytes")
    assert (error.severity, error.category) == ("error", "data_integrity")
    assert transfer.file.digest in error.message


def test_another_algorithm_is_no_lie(wire, south):
    transfer = make_outgoing()
    said = full(transfer, checksum="md5:::" + "00" * 16)
    assert wire.ok("clone/batch_complete", {"completions": [said]}, user="south")["results"][0]["accepted"]


def test_only_its_peer_completes_in_a_batch(wire, south):
    make_site("west")
    transfer = make_outgoing()
    results = wire.ok("clone/batch_complete", {"completions": [full(transfer)]}, user="west")["results"]
    assert results[0]["code"] == "no_such_transfer"
    assert not RemoteInstance.objects.exists()


# --- Holdings ---------------------------------------------------------------------------------------------------------


def test_holdings_are_files_with_present_copies_under_the_names_asked(wire, cast, store):
    held = make_file("held.uvh5", store=store)
    make_file("gone.uvh5")
    make_file("aside.uvh5", store=store, place="a/b", instance={"presence": "set_aside"})
    names = ["2457561/held.uvh5", "held.uvh5", "gone.uvh5", "aside.uvh5", "never.uvh5", "../bad"]
    answer = wire.ok("clone/holdings", {"names": names}, user="readonly")["holdings"]
    expected = {"size": held.size_bytes, "checksum": held.checksum, "digest": held.digest, "store_ids": [store.pk]}
    assert answer == [{"name": name, **expected} for name in ("2457561/held.uvh5", "held.uvh5")]


def test_a_person_of_the_level_alone_moves_nothing(wire, north, store):
    make_user("person", level=3)
    transfer = make_incoming(store)
    assert wire.refused("clone/ongoing", ids(transfer), user="person")[0] == 404
    assert IncomingTransfer.objects.get().state == INITIATED
    assert OutgoingTransfer.objects.count() == 0
