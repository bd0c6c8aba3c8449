"""Transfers whose sender went silent are asked about, and end only on what is certain."""

from datetime import timedelta

import pytest
from django.utils import timezone

from files.models import UploadState
from files.services.sweeping import Expired
from files.services.uploads import fail_upload
from network.models import Peer, TransferState
from network.services.receiving.asking import ask_senders
from tests.make import make_peer, make_store
from tests.network.clones import BYTES, make_incoming, state_of

pytestmark = pytest.mark.django_db
INITIATED, ONGOING, STAGED, COMPLETED, FAILED, CANCELLED = TransferState
STATUS = "v2/checkin/status"


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def north(db, standin):
    return make_peer("north", port=standin.port)


@pytest.fixture
def says(north, standin):
    """`says({1: TransferState.FAILED})` sets what the sender says of its transfers."""

    def tell(states):
        numbers = {str(key): None if state is None else int(state.on_wire) for key, state in states.items()}
        standin.answers[STATUS] = (200, {"source_transfer_status": numbers, "destination_transfer_status": {}})

    return tell


@pytest.fixture
def silent(store):
    """`silent(state)` is a transfer of which nothing was heard for an hour."""

    def make(state=ONGOING, **fields):
        return make_incoming(
            store, state=state, written=BYTES, **{"changed_at": timezone.now() - timedelta(hours=1), **fields}
        )

    return make


@pytest.mark.parametrize(
    ("ours", "theirs", "then"),
    [
        (INITIATED, INITIATED, INITIATED),
        (INITIATED, ONGOING, ONGOING),
        (INITIATED, STAGED, STAGED),
        (ONGOING, INITIATED, ONGOING),
        (ONGOING, ONGOING, ONGOING),
        (ONGOING, STAGED, STAGED),
        (INITIATED, None, FAILED),
        (ONGOING, FAILED, FAILED),
        (ONGOING, CANCELLED, FAILED),
        (ONGOING, COMPLETED, FAILED),
    ],
)
def test_what_the_sender_says_decides(says, silent, ours, theirs, then):
    transfer = silent(ours)
    says({1: theirs})
    ask_senders()
    transfer.refresh_from_db()
    assert transfer.state == then
    if then == FAILED:
        assert (transfer.code, transfer.report) == ("given_up_by_sender", "done")
        assert transfer.upload.state == UploadState.FAILED
    elif then == ours:
        assert transfer.next_check_at > timezone.now()


def test_all_of_one_sender_are_asked_about_in_one_call(says, silent, standin, settings):
    transfers = [silent(name=f"{number}.uvh5", source_id=number) for number in (1, 2, 3)]
    says({1: ONGOING, 2: FAILED})
    assert ask_senders() == {"ended": 1, "moved": 0, "left": 2}
    assert standin.paths == [STATUS]
    assert standin.messages[0] == {
        "source_transfer_ids": [1, 2, 3],
        "destination_transfer_ids": [],
        "counterparts": {str(each.source_transfer_id): each.pk for each in transfers},
    }
    assert state_of(transfers[2]) == ONGOING  # it did not answer about this one
    ask_senders()
    assert len(standin.asked) == 1  # not before LIBRARIAN_STALE_TRANSFER_SECONDS have passed again


def test_a_foreign_sender_is_asked_in_the_protocol_as_it_was(says, silent, standin):
    silent(features=[])
    says({1: ONGOING})
    ask_senders()
    assert standin.messages == [{"source_transfer_ids": [1], "destination_transfer_ids": []}]


def test_only_silent_ones_are_asked_about(says, silent, store, standin):
    silent(changed_at=timezone.now())
    silent(STAGED, name="staged.uvh5")
    ask_senders()
    assert standin.asked == []


def test_one_may_be_asked_about_sooner(says, silent):
    transfer = silent(changed_at=timezone.now(), next_check_at=timezone.now())
    says({1: FAILED})
    ask_senders()
    assert state_of(transfer) == FAILED


@pytest.mark.parametrize("answer", [(503, {"reason": "Busy."}), (401, {"detail": "no"}), (200, {"nonsense": 1})])
def test_could_not_say_ends_nothing(north, silent, standin, answer):
    transfer = silent()
    standin.answers[STATUS] = answer
    assert ask_senders() == {"ended": 0, "moved": 0, "left": 1}
    transfer.refresh_from_db()
    assert transfer.state == ONGOING
    assert "north" in transfer.reason
    assert transfer.next_check_at > timezone.now()


def test_a_sender_that_rests_or_is_gone_ends_nothing(north, silent, standin):
    transfer = silent()
    Peer.objects.update(rests_until=timezone.now() + timedelta(minutes=5))
    ask_senders()
    assert standin.asked == []
    transfer.refresh_from_db()
    assert (transfer.state, transfer.reason != "") == (ONGOING, True)
    Peer.objects.all().delete()
    type(transfer).objects.update(next_check_at=timezone.now())
    assert ask_senders()["left"] == 1
    transfer.refresh_from_db()
    assert (transfer.state, "no Librarian north" in transfer.reason) == (ONGOING, True)


def test_the_reason_to_wait_goes_with_the_next_word(says, silent):
    transfer = silent(reason="Nobody answers.", code="peer_unreachable")
    says({1: STAGED})
    assert ask_senders()["moved"] == 1
    transfer.refresh_from_db()
    assert (transfer.state, transfer.reason, transfer.code) == (STAGED, "", "")


def test_when_its_upload_expired_it_has_failed_and_the_sender_is_told(silent):
    transfer = silent(changed_at=timezone.now())
    fail_upload(transfer.upload, error=Expired("Nothing was written."), state=UploadState.EXPIRED)
    assert ask_senders()["ended"] == 1
    transfer.refresh_from_db()
    assert (transfer.state, transfer.code, transfer.report) == (FAILED, "upload_expired", "due")


def test_without_anything_to_deliver_it_has_failed(db):
    transfer = make_incoming(state=ONGOING)
    assert ask_senders()["ended"] == 1
    assert state_of(transfer) == FAILED
