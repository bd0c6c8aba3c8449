"""Senders learn how their transfers ended, again and again until they know."""

from datetime import timedelta

import pytest
from django.utils import timezone

from hera_librarian.features import FEATURES
from librarian.common.models import ErrorRecord
from network.models import IncomingTransfer, Peer, TransferState
from network.services.receiving import reporting
from network.services.receiving.reporting import report_transfers
from tests.make import make_file, make_peer, make_store, make_user
from tests.network.clones import make_incoming

pytestmark = pytest.mark.django_db
COMPLETED, FAILED, CANCELLED = TransferState.COMPLETED, TransferState.FAILED, TransferState.CANCELLED
DONE_ALL, COMPLETE, UPDATE = "v2/clone/batch_complete", "v2/clone/complete", "v2/checkin/update"


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def north(db, standin):
    """A peer of our kind, whose answers the tests set."""
    standin.answers[DONE_ALL] = lambda: (200, {"results": [accepted(each) for each in said(standin)["completions"]]})
    standin.answers[COMPLETE] = lambda: (200, said(standin))
    standin.answers[UPDATE] = lambda: (200, updated(said(standin)["source_transfer_ids"]))
    return make_peer("north", port=standin.port)


@pytest.fixture
def ended(store):
    """`ended(state)` is an ended transfer whose report is due."""

    def make(state=COMPLETED, **fields):
        if state == COMPLETED:
            name = f"f{IncomingTransfer.objects.count()}.uvh5"
            fields = {"file": make_file(name, store=store, place=f"d/{name}"), "store_id_told": store.pk, **fields}
        else:
            fields = {"reason": "Other bytes.", "code": "content_mismatch", **fields}
        defaults = {"report": "due", "next_report_at": timezone.now()}
        return make_incoming(state=state, **{**defaults, **fields}, **made_for(fields))

    def made_for(fields):
        return {} if "source_id" in fields else {"source_id": 100 + IncomingTransfer.objects.count()}

    return make


def said(standin):
    return standin.messages[-1]


def accepted(completion, **changes):
    ids = {key: completion[key] for key in ("source_transfer_id", "destination_transfer_id")}
    return {**ids, "accepted": True, **changes}


def updated(ids=(), *, not_these=(), reasons=()):
    return {
        "modified_source_transfer_ids": [each for each in ids if each not in not_these],
        "modified_destination_transfer_ids": [],
        "unmodified_source_transfer_ids": list(not_these),
        "unmodified_destination_transfer_ids": [],
        "reasons": list(reasons),
    }


def again():
    IncomingTransfer.objects.filter(report="due").update(next_report_at=timezone.now())
    Peer.objects.update(rests_until=None)
    return report_transfers()


def test_completions_go_together_with_what_was_read(north, standin, ended):
    transfers = [ended() for _ in range(3)]
    assert report_transfers() == {"told": 3, "waiting": 0, "given_up": 0}
    assert standin.paths == [DONE_ALL]
    file = transfers[0].file
    assert said(standin)["completions"][0] == {
        "source_transfer_id": transfers[0].source_transfer_id,
        "destination_transfer_id": transfers[0].pk,
        "store_id": transfers[0].store_id_told,
        "size": file.size_bytes,
        "checksum": file.checksum,
        "digest": file.digest,
    }
    assert set(IncomingTransfer.objects.values_list("report", flat=True)) == {"done"}
    assert report_transfers()["told"] == 0
    assert len(standin.asked) == 1


@pytest.mark.parametrize(("state", "features"), [(COMPLETED, FEATURES), (COMPLETED, ()), (FAILED, FEATURES)])
def test_a_process_that_dies_before_it_is_written_down_tells_again(north, standin, ended, monkeypatch, state, features):
    class Killed(BaseException):
        pass

    def kill(step):
        assert step == "reported"
        raise Killed

    transfer = ended(state, features=features)
    monkeypatch.setattr(reporting.steps, "passed", kill)
    with pytest.raises(Killed):
        report_transfers()
    monkeypatch.undo()
    assert len(standin.asked) == 1
    assert report_transfers()["told"] == 1
    assert standin.messages[0] == standin.messages[1]
    transfer.refresh_from_db()
    assert transfer.report == "done"


def test_a_foreign_sender_is_told_one_by_one_in_the_protocol_as_it_was(north, standin, ended):
    first, second = ended(features=[]), ended(features=[])
    failed = ended(FAILED, features=[])
    assert report_transfers()["told"] == 3
    assert sorted(standin.paths) == sorted([UPDATE, COMPLETE, COMPLETE])
    messages = dict(zip(standin.paths, standin.messages, strict=True))
    assert messages[UPDATE] == {
        "source_transfer_ids": [failed.source_transfer_id],
        "destination_transfer_ids": [],
        "new_status": 4,
    }
    told = [message for path, message in zip(standin.paths, standin.messages, strict=True) if path == COMPLETE]
    assert told == [
        {
            "source_transfer_id": each.source_transfer_id,
            "destination_transfer_id": each.pk,
            "store_id": each.store_id_told,
        }
        for each in (first, second)
    ]


def test_nobody_is_told_before_the_time(north, standin, ended):
    ended(features=[], next_report_at=timezone.now() + timedelta(seconds=5))
    assert report_transfers() == {"told": 0, "waiting": 0, "given_up": 0}
    assert standin.asked == []


def test_failures_go_with_their_reasons(north, standin, ended):
    failed = ended(FAILED, remedy="Send it again.")
    refused = ended(CANCELLED, code="cancelled", reason="Cancelled by ada.")
    full = ended(FAILED, code="store_full", reason="Full.")
    assert report_transfers()["told"] == 3
    message = said(standin)
    assert message["new_status"] == 4
    assert message["counterparts"] == {str(each.source_transfer_id): each.pk for each in (failed, refused, full)}
    assert message["failures"][str(failed.source_transfer_id)] == {
        "code": "content_mismatch",
        "reason": "Other bytes.",
        "suggested_remedy": "Send it again.",
        "passing": False,
    }
    assert message["failures"][str(full.source_transfer_id)]["passing"] is True
    assert message["failures"][str(refused.source_transfer_id)]["code"] == "cancelled"


def test_what_the_sender_refuses_ends_with_its_reason(north, standin, ended):
    good, bad, failed = ended(), ended(), ended(FAILED)
    standin.answers[DONE_ALL] = lambda: (
        200,
        {
            "results": [
                accepted(each, accepted=each["destination_transfer_id"] == good.pk, reason="Could not find transfer.")
                for each in said(standin)["completions"]
            ]
        },
    )
    reason = "No source transfer with the appropriate ID was found."
    standin.answers[UPDATE] = (200, updated(not_these=[failed.source_transfer_id], reasons=[reason]))
    report_transfers()
    for transfer in (good, bad, failed):
        transfer.refresh_from_db()
        assert transfer.report == "done"
    assert good.report_problem == ""
    assert bad.report_problem.startswith("Could not find transfer.")
    assert failed.report_problem == reason


@pytest.mark.parametrize("status", [400, 406])
def test_a_foreign_senders_no_is_its_last_word(north, standin, ended, status):
    transfer = ended(features=[])
    standin.answers[COMPLETE] = (status, {"reason": "Transfer is not in ONGOING or STAGED status."})
    report_transfers()
    transfer.refresh_from_db()
    assert transfer.report == "done"
    assert "Transfer is not in ONGOING or STAGED status." in transfer.report_problem


def test_a_foreign_sender_that_does_not_know_us_is_told_later(north, standin, ended):
    transfer = ended(features=[])
    standin.answers[COMPLETE] = (400, {"reason": "Could not find librarian test_librarian."})
    assert report_transfers()["waiting"] == 1
    transfer.refresh_from_db()
    assert (transfer.report, transfer.report_attempts) == ("due", 1)


def test_a_sender_that_no_longer_knows_batches_is_told_one_by_one(north, standin, ended):
    ended(), ended()
    del standin.answers[DONE_ALL]
    assert report_transfers()["told"] == 2
    assert standin.paths == [DONE_ALL, COMPLETE, COMPLETE]


def test_a_dead_sender_costs_the_others_nothing_and_is_told_later(north, standin, ended, free_port):
    make_peer("dead", port=free_port)
    waiting = ended(account="dead")
    told = ended()
    assert report_transfers() == {"told": 1, "waiting": 1, "given_up": 0}
    told.refresh_from_db()
    waiting.refresh_from_db()
    assert (told.report, waiting.report, waiting.report_attempts) == ("done", "due", 1)
    assert "dead" in waiting.report_problem
    seconds = (waiting.next_report_at - timezone.now()).total_seconds()
    assert 25 < seconds <= 30
    again()
    waiting.refresh_from_db()
    assert 55 < (waiting.next_report_at - timezone.now()).total_seconds() <= 60


def test_one_failing_call_keeps_the_rest_waiting_but_never_past_an_hour(north, standin, ended):
    standin.answers[COMPLETE] = (503, {"reason": "Busy."})
    transfers = [ended(features=[], report_attempts=12) for _ in range(3)]
    assert report_transfers()["waiting"] == 3
    assert standin.paths == [COMPLETE]
    transfers[2].refresh_from_db()
    assert transfers[2].next_report_at <= timezone.now() + timedelta(hours=1)


def test_wrong_credentials_are_waited_out(north, standin, ended):
    ended()
    standin.answers[DONE_ALL], right = (401, {"detail": "Incorrect username or password"}), standin.answers[DONE_ALL]
    assert report_transfers()["waiting"] == 1
    standin.answers[DONE_ALL] = right
    assert again()["told"] == 1


def test_reports_wait_untouched_while_the_peer_rests(north, standin, ended):
    transfer = ended()
    Peer.objects.update(rests_until=timezone.now() + timedelta(minutes=5))
    assert report_transfers()["waiting"] == 1
    transfer.refresh_from_db()
    assert (transfer.report, transfer.report_attempts) == ("due", 0)
    assert "rests" in transfer.report_problem
    assert standin.asked == []


def test_after_a_week_it_is_given_up_and_people_are_told(north, standin, ended):
    standin.answers[DONE_ALL] = (503, {"reason": "Busy."})
    transfer = ended(finished_at=timezone.now() - timedelta(days=8))
    young = ended(finished_at=timezone.now() - timedelta(days=6))
    assert report_transfers() == {"told": 0, "waiting": 1, "given_up": 1}
    transfer.refresh_from_db()
    young.refresh_from_db()
    assert (transfer.report, young.report) == ("given_up", "due")
    assert transfer.report_problem
    assert "north" in ErrorRecord.objects.get(code="report_given_up").message


def test_a_removed_peer_is_told_when_it_is_back_within_a_month(north, standin, ended):
    transfer = ended(finished_at=timezone.now() - timedelta(days=29))
    port = north.port
    north.delete()
    assert report_transfers()["waiting"] == 1
    transfer.refresh_from_db()
    assert (transfer.report, "north" in transfer.report_problem) == ("due", True)
    make_peer("north", port=port)
    assert again()["told"] == 1


def test_a_removed_peer_is_given_up_after_a_month(ended):
    ended(finished_at=timezone.now() - timedelta(days=31))
    assert report_transfers()["given_up"] == 1


def test_large_numbers_go_in_bounded_calls(north, standin, ended, monkeypatch):
    monkeypatch.setattr(reporting, "BATCH", 2)
    for _ in range(5):
        ended()
    assert report_transfers()["told"] == 5
    assert standin.paths == [DONE_ALL] * 3


def test_an_id_that_a_restored_sender_used_twice_is_told_once(north, standin, ended):
    older, newer = ended(FAILED, source_id=5, name="a"), ended(FAILED, source_id=5, name="b")
    report_transfers()
    assert said(standin)["counterparts"] == {"5": newer.pk}
    older.refresh_from_db()
    assert older.report == "done"


@pytest.mark.parametrize(
    ("level", "compares", "calls"),
    [(3, True, [DONE_ALL]), (3, False, [DONE_ALL]), (100, False, [DONE_ALL, COMPLETE])],
    ids=["compared", "a site that believes", "an administrator"],
)
def test_what_a_person_carried_is_told_to_be_compared(north, standin, ended, level, compares, calls):
    """A site that believes us would believe whatever the courier brought under the number of a transfer."""
    if not compares:
        standin.answers[DONE_ALL] = lambda: (404, {"detail": "Not Found"})
    courier = make_user("courier", level=level)
    transfer = ended(account="courier", peer_name="north")
    IncomingTransfer.objects.update(account=courier)
    assert report_transfers()["told"] == 1
    assert standin.paths == calls
    transfer.refresh_from_db()
    assert transfer.report == "done"
    assert ("cannot compare" in transfer.report_problem) == (level == 3 and not compares)
