"""Telling a peer where its transfers stand: again until it knows, and adopting what it says instead."""

from datetime import timedelta

import pytest
from django.utils import timezone

from hera_librarian.features import FEATURES
from network.models import OutgoingTransfer, Peer
from network.services.sending import telling
from network.services.sending.telling import tell, tell_peers
from tests.make import make_file, make_outgoing
from tests.network.destination import CANCELLED, COMPLETED, FAILED, INITIATED, ONGOING, STAGED, Destination

pytestmark = pytest.mark.django_db
BOTH_KINDS = pytest.mark.parametrize("features", [FEATURES, ()], ids=["ours", "foreign"])


@pytest.fixture
def south(standin, tmp_path):
    there = Destination(standin, tmp_path)
    there.make_peer()
    return there


def make_pair(south, state="ongoing", *, there=INITIATED, told="", **fields):
    """A transfer of ours and the peer's side of it (`there`: None for one that it does not know)."""
    key = next(south.ids)
    file = make_file()
    transfer = make_outgoing(file, peer="south", state=state, remote_transfer_id=key, told_state=told, **fields)
    if there is not None:
        south.transfers[key] = {
            "state": there,
            "name": file.name,
            "source_id": transfer.pk,
            "checksum": file.checksum,
            "location": "/nowhere",
        }
    return transfer


def there(south, transfer):
    return south.transfers[transfer.remote_transfer_id]["state"]


@BOTH_KINDS
def test_what_a_peer_does_not_know_is_told_in_one_call_for_each_state(standin, tmp_path, features):
    south = Destination(standin, tmp_path, features=features)
    south.make_peer()
    going = [make_pair(south) for _ in range(3)]
    over = [make_pair(south, "staged", there=ONGOING, told="ongoing") for _ in range(2)]
    known = make_pair(south, there=ONGOING, told="ongoing")
    assert tell_peers() == {"told": 5, "failed": 0, "left": 0}
    assert {there(south, each) for each in [*going, known]} == {ONGOING}
    assert {there(south, each) for each in over} == {STAGED}
    first, second = south.told("v2/checkin/update")
    assert (first["new_status"], second["new_status"]) == (ONGOING, STAGED)
    expected = {str(each.remote_transfer_id): each.pk for each in going} if features else {}
    assert first["counterparts"] == expected
    assert tell_peers() == {"told": 0, "failed": 0, "left": 0}
    assert len(south.told("v2/checkin/update")) == 2


def test_what_was_told_before_and_not_written_down_counts(south):
    """The answer to an earlier call was lost."""
    transfers = [make_pair(south, there=each) for each in (ONGOING, STAGED, COMPLETED)]
    assert tell_peers()["told"] == 3
    for each in transfers:
        each.refresh_from_db()
        assert (each.state, each.told_state) == ("ongoing", "ongoing")


def test_what_the_peer_has_failed_is_failed_with_its_reason(south):
    passing, lasting, cancelled = (make_pair(south, there=each) for each in (FAILED, FAILED, CANCELLED))
    south.failures = {
        passing.remote_transfer_id: {"code": "store_full", "reason": "It is full.", "passing": True},
        lasting.remote_transfer_id: {"code": "content_mismatch", "reason": "a is not b.", "suggested_remedy": "Look."},
    }
    OutgoingTransfer.objects.update(attempt=5, spoilt_attempts=4)
    OutgoingTransfer.objects.filter(pk=cancelled.pk).update(spoilt_attempts=0)
    assert tell_peers()["failed"] == 3
    for each in (passing, lasting, cancelled):
        each.refresh_from_db()
    assert (passing.state, passing.code, passing.reason) == ("failed", "store_full", "It is full.")
    assert passing.next_try_at is not None
    assert (lasting.code, lasting.remedy, lasting.next_try_at) == ("content_mismatch", "Look.", None)
    assert (cancelled.state, cancelled.code) == ("failed", "cancelled_at_peer")
    assert cancelled.next_try_at is None  # a person there refused it
    assert south.told("v2/clone/fail") == []
    assert tell_peers() == {"told": 0, "failed": 0, "left": 0}  # it knows


def test_what_the_peer_has_lost_is_sent_again(south):
    lost = make_pair(south, there=None)
    reused = make_pair(south)
    south.transfers[reused.remote_transfer_id]["source_id"] = reused.pk + 1000
    assert tell_peers()["failed"] == 2
    for each in (lost, reused):
        each.refresh_from_db()
        assert (each.state, each.code) == ("failed", "lost_at_peer")
        assert each.next_try_at > timezone.now()
    assert there(south, reused) == INITIATED  # which is another transfer by now


def test_what_we_gave_up_is_told_with_its_reason(south):
    failed = make_pair(south, "failed", there=ONGOING, reason="The disk broke.", code="x")
    cancelled = make_pair(south, "cancelled", there=STAGED)
    lost = make_pair(south, "failed", there=None, reason="No.")
    completed = make_pair(south, "failed", there=COMPLETED, reason="No.")
    never_offered = make_outgoing(make_file(), peer="south", state="failed", reason="No.")
    assert tell_peers()["told"] == 4
    assert south.told("v2/clone/fail")[0]["reason"] == "The disk broke."
    assert (there(south, failed), there(south, cancelled), there(south, completed)) == (FAILED, FAILED, COMPLETED)
    for each in (failed, cancelled, lost, completed):
        each.refresh_from_db()
        assert each.told_state == each.state
    never_offered.refresh_from_db()
    assert never_offered.told_state == ""


def test_a_bounded_number_of_failures_is_told_in_one_run(south, monkeypatch):
    monkeypatch.setattr(telling, "MOST_FAILURES", 2)
    for _ in range(3):
        make_pair(south, "failed", reason="No.")
    assert tell_peers() == {"told": 2, "failed": 0, "left": 1}
    assert tell_peers() == {"told": 1, "failed": 0, "left": 0}


@pytest.mark.parametrize("answer", [(503, {"reason": "Busy."}), (200, b"<html>"), (401, {"detail": "No."})])
def test_a_peer_that_does_not_answer_is_told_later_and_nothing_fails(south, answer):
    transfer = make_pair(south)
    given_up = make_pair(south, "failed", reason="No.")
    good = dict(south.standin.answers)
    south.standin.answers |= {"v2/checkin/update": answer, "v2/clone/fail": answer}
    assert tell_peers()["told"] == 0
    transfer.refresh_from_db()
    given_up.refresh_from_db()
    assert (transfer.state, transfer.told_state, given_up.told_state) == ("ongoing", "", "")
    south.standin.answers.update(good)
    Peer.objects.update(rests_until=None)
    assert tell_peers()["told"] == 2


def test_a_state_that_moved_while_the_peer_was_told_is_told_again(south):
    transfer = make_pair(south)
    stale = OutgoingTransfer.objects.get(pk=transfer.pk)
    OutgoingTransfer.objects.update(state="staged")
    tell(Peer.objects.get(), [stale])
    assert there(south, transfer) == ONGOING
    assert OutgoingTransfer.objects.untold().get() == transfer
    assert tell_peers()["told"] == 1
    assert there(south, transfer) == STAGED


def test_a_peer_that_is_switched_off_is_told_all_the_same_and_one_that_is_gone_is_not(south):
    make_pair(south)
    make_outgoing(make_file(), peer="west", state="ongoing", remote_transfer_id=7)
    Peer.objects.update(transfers_enabled=False, last_seen_at=None, created_at=timezone.now() - timedelta(days=1))
    assert tell_peers() == {"told": 1, "failed": 0, "left": 0}
