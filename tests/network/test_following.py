"""Following what was sent: the peer's word decides, its silence changes nothing, and nothing waits for ever."""

from datetime import timedelta

import pytest
from django.utils import timezone

from files.models import RemoteInstance
from hera_librarian.features import FEATURES
from librarian.common.models import ErrorRecord
from network.models import OutgoingTransfer, Peer, SendQueueItem
from network.services.sending import following
from network.services.sending.following import follow_transfers
from network.services.sending.telling import tell_peers
from tests.make import make_outgoing, make_peer
from tests.network.destination import COMPLETED, FAILED, ONGOING, STAGED, Destination
from tests.network.test_telling import make_pair

pytestmark = pytest.mark.django_db
BOTH_KINDS = pytest.mark.parametrize("features", [FEATURES, ()], ids=["ours", "foreign"])


@pytest.fixture
def start_south(standin, tmp_path):
    def start(features):
        there = Destination(standin, tmp_path, features=features)
        there.make_peer()
        return there

    return start


def make_sent(south, there=STAGED, **fields):
    return make_pair(south, "staged", there=there, **{"told": "staged", **fields})


def again(transfer):
    transfer.refresh_from_db()
    return transfer


@BOTH_KINDS
def test_one_that_has_arrived_without_a_word_is_completed(start_south, features):
    south = start_south(features)
    transfer = make_sent(south, COMPLETED)
    south.hold(transfer.file, store_ids=[5])
    assert follow_transfers() == {"asked": 1, "completed": 1, "failed": 0}
    assert again(transfer).state == "completed"
    assert RemoteInstance.objects.get(file=transfer.file).peer_store_id == 5


@BOTH_KINDS
def test_one_that_the_peer_has_forgotten_but_holds_is_completed(start_south, features):
    south = start_south(features)
    transfer = make_sent(south, None)
    south.hold(transfer.file)
    assert follow_transfers()["completed"] == 1
    assert again(transfer).state == "completed"


@BOTH_KINDS
def test_one_that_is_worked_on_is_asked_about_later(start_south, features):
    south = start_south(features)
    transfer = make_sent(south, reason="It was silent.", code="peer_unreachable")
    assert follow_transfers() == {"asked": 1, "completed": 0, "failed": 0}
    assert again(transfer).next_check_at > timezone.now() + timedelta(seconds=600)
    assert (transfer.state, transfer.reason) == ("staged", "")
    assert follow_transfers()["asked"] == 0


@BOTH_KINDS
def test_one_that_the_peer_does_not_know_to_be_there_is_told_again(start_south, features):
    south = start_south(features)
    make_sent(south, ONGOING)
    follow_transfers()
    assert tell_peers()["told"] == 1
    assert south.states == [STAGED]


@BOTH_KINDS
@pytest.mark.parametrize("there", [None, FAILED, COMPLETED])
def test_one_that_is_nowhere_fails_and_is_sent_again(start_south, features, there):
    south = start_south(features)
    transfer = make_sent(south, there)
    south.failures = {transfer.remote_transfer_id: {"code": "content_mismatch", "reason": "a is not b."}}
    assert follow_transfers()["failed"] == 1
    assert again(transfer).state == "failed"
    assert transfer.next_try_at is not None
    if there == FAILED and features:
        assert (transfer.code, transfer.reason) == ("content_mismatch", "a is not b.")


@BOTH_KINDS
def test_other_bytes_of_the_same_name_are_named_and_not_sent_again(start_south, features):
    south = start_south(features)
    transfer = make_sent(south, FAILED)
    south.hold(transfer.file, content=b"something else")
    assert follow_transfers()["failed"] == 1
    assert (again(transfer).code, transfer.next_try_at) == ("other_bytes_at_peer", None)
    assert transfer.file.checksum in transfer.reason
    assert south.files[transfer.file.name]["checksum"] in transfer.reason


def test_a_checksum_of_another_algorithm_is_compared_with_our_bytes(start_south, tmp_path):
    import hashlib

    from tests.make import make_instance, make_store

    south = start_south(())
    transfers = [make_sent(south, None) for _ in range(2)]
    store = make_store(tmp_path / "store")
    content = b"the bytes of a file"
    for transfer, theirs in zip(transfers, (content, b"others"), strict=True):
        make_instance(transfer.file, store, content=content, place=transfer.file.name)
        south.hold(transfer.file)
        south.files[transfer.file.name] |= {"checksum": f"sha512:::{hashlib.sha512(theirs).hexdigest()}"}
    follow_transfers()
    assert [again(each).state for each in transfers] == ["completed", "failed"]


@pytest.mark.parametrize("answer", [(503, {"reason": "Busy."}), (404, {"reason": "Nothing here."})])
@pytest.mark.parametrize("path", ["v2/checkin/status", "v2/search/file"])
def test_a_peer_that_does_not_answer_changes_nothing(start_south, path, answer):
    south = start_south(())
    transfer = make_sent(south, None)
    south.standin.answers[path] = answer
    assert follow_transfers() == {"asked": 1, "completed": 0, "failed": 0}
    assert again(transfer).state == "staged"
    assert "answers with status" in transfer.reason
    del south.standin.answers[path]
    south.standin.answers |= {"v2/checkin/status": south.status, "v2/search/file": south.search}
    Peer.objects.update(rests_until=None)
    assert follow_transfers()["failed"] == 1


def test_what_nothing_carries_on_fails_once_it_is_old(start_south):
    south = start_south(FEATURES)
    old = timezone.now() - timedelta(hours=1)
    batches = [SendQueueItem.objects.create(peer_name="south") for _ in range(2)]
    SendQueueItem.objects.filter(pk=batches[1].pk).update(state="sent", finished_at=timezone.now())
    going = make_pair(south, queue_item=batches[0], changed_at=old)
    lost = make_pair(south, queue_item=batches[1], changed_at=old)
    without = make_pair(south, changed_at=old)
    half = make_pair(south, "initiated", changed_at=old)
    young = make_pair(south)
    waiting = make_outgoing(peer="south", state="initiated", changed_at=old)
    assert follow_transfers()["failed"] == 3
    assert {again(each).state for each in (lost, without, half)} == {"failed"}
    assert [again(each).state for each in (going, young, waiting)] == ["ongoing", "ongoing", "initiated"]


def test_what_is_on_its_way_to_a_removed_peer_waits_and_says_so(start_south):
    south = start_south(FEATURES)
    transfer = make_sent(south, COMPLETED)
    south.hold(transfer.file)
    Peer.objects.all().delete()
    follow_transfers()
    assert (again(transfer).state, transfer.code) == ("staged", "peer_removed")
    south.make_peer()
    assert follow_transfers()["completed"] == 1


def test_one_peer_is_asked_alone(start_south):
    south = start_south(FEATURES)
    make_sent(south)
    assert follow_transfers(peer="west")["asked"] == 0
    assert OutgoingTransfer.objects.get().next_check_at is None


def test_one_that_is_being_checked_for_days_is_told_to_people(start_south):
    south = start_south(FEATURES)
    make_sent(south, STAGED, changed_at=timezone.now() - timedelta(days=3))
    make_sent(south, STAGED)
    follow_transfers()
    error = ErrorRecord.objects.get(code="transfer_slow")
    assert (error.count, "Ask the people" in error.remedy) == (1, True)


def test_a_mistake_with_one_peer_leaves_the_others_their_turn(start_south, standin, monkeypatch):
    south = start_south(FEATURES)
    transfer = make_sent(south, COMPLETED)
    south.hold(transfer.file)
    make_peer("east")
    make_outgoing(peer="east", state="staged", remote_transfer_id=3, told_state="staged", next_check_at=timezone.now())
    whole = following.follow

    def break_for_east(peer):
        if peer.name == "east":
            raise KeyError("a mistake of ours")
        return whole(peer)

    monkeypatch.setattr(following, "follow", break_for_east)
    assert follow_transfers()["completed"] == 1
    assert ErrorRecord.objects.get(code="job_failed").message.endswith("KeyError: 'a mistake of ours'")
