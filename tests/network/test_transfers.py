"""The moves of transfers: who may make them, what they leave behind, when a file is tried again."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.levels import Level
from files.models import FileEvent, RemoteInstance, Upload, UploadState
from files.services.event_verification import verify_events
from files.services.uploads import CloneOffer, stage_clones
from librarian.common.errors import ContentMismatch, LostRace
from librarian.common.models import ErrorRecord
from network.models import IncomingTransfer, OutgoingTransfer, ReportState
from network.services.transfers import (
    Retry,
    ask_for_transfers,
    cancel_incoming,
    cancel_outgoing,
    complete_incoming,
    complete_many,
    complete_outgoing,
    drop_remote_instance,
    fail_incoming,
    fail_outgoing,
    move_transfer,
    note_remote_instance,
    retry_outgoing,
)
from network.services.transfers.outgoing import TransferOver
from tests.make import make_file, make_incoming, make_outgoing, make_peer, make_store, make_user

pytestmark = pytest.mark.django_db


def fail(transfer: OutgoingTransfer, retry: Retry = Retry.PASSING) -> bool:
    return fail_outgoing(transfer, code="peer_unreachable", reason="It is away.", remedy="Wait.", retry=retry)


# --- Sender ---


def test_a_completed_transfer_leaves_a_remote_instance_and_an_event() -> None:
    transfer = make_outgoing(peer="north", state="staged")
    assert complete_outgoing(transfer, peer_store_id=7)
    remote = RemoteInstance.objects.get()
    assert (remote.file, remote.peer_name, remote.peer_store_id, remote.sender) == (
        transfer.file,
        "north",
        7,
        "test_librarian",
    )
    assert FileEvent.objects.filter(file=transfer.file, type="remote_copy_noted", actor="north").count() == 1
    assert (transfer.state, transfer.finished_at is None) == ("completed", False)


def test_a_repeated_completion_changes_nothing_but_confirms() -> None:
    transfer = make_outgoing(peer="north", state="staged")
    complete_outgoing(transfer, peer_store_id=7)
    RemoteInstance.objects.update(confirmed_at=timezone.now() - timedelta(days=3))
    assert not complete_outgoing(transfer, peer_store_id=7)
    assert RemoteInstance.objects.get().confirmed_at > timezone.now() - timedelta(days=1)
    assert FileEvent.objects.filter(type="remote_copy_noted").count() == 1


def test_a_late_completion_of_a_given_up_transfer_still_tells_of_a_copy() -> None:
    transfer = make_outgoing(peer="north", state="failed")
    assert not complete_outgoing(transfer, peer_store_id=7)
    assert transfer.state == "failed"
    assert RemoteInstance.objects.count() == 1


def test_many_are_completed_in_few_queries(django_assert_max_num_queries) -> None:
    transfers = [make_outgoing(peer="north", state="staged") for _ in range(200)]
    read = list(OutgoingTransfer.objects.select_related("file"))
    with django_assert_max_num_queries(40 + len(transfers)):  # one reading back of each
        assert complete_many([(transfer, 3) for transfer in read]) == 200
    assert RemoteInstance.objects.count() == len(transfers)


@pytest.mark.parametrize(
    ("retry", "attempt", "spoilt", "is_tried", "in_inbox"),
    [
        (Retry.PASSING, 1, 0, True, False),
        (Retry.PASSING, 60, 4, True, True),
        (Retry.AGAIN, 1, 0, True, False),
        (Retry.AGAIN, 60, 0, True, True),  # it was late often, and spoilt once
        (Retry.AGAIN, 5, 4, False, True),
        (Retry.NEVER, 1, 0, False, True),
    ],
)
def test_a_failure_says_when_it_is_tried_again_and_tells_people_in_time(
    retry, attempt, spoilt, is_tried, in_inbox
) -> None:
    transfer = make_outgoing(attempt=attempt, spoilt_attempts=spoilt)
    assert fail(transfer, retry)
    assert (transfer.next_try_at is not None) is is_tried
    assert ErrorRecord.objects.filter(code="transfer_failed").exists() is in_inbox
    assert (transfer.state, transfer.reason, transfer.remedy) == ("failed", "It is away.", "Wait.")
    if is_tried:
        assert transfer.next_try_at <= timezone.now() + timedelta(hours=1)


def test_later_attempts_wait_longer() -> None:
    waits = []
    for attempt in (1, 2, 3):
        transfer = make_outgoing(attempt=attempt)
        fail(transfer)
        waits.append(transfer.next_try_at - timezone.now())
    assert waits == sorted(waits)
    assert waits[2] > 3 * waits[0]


def test_what_has_ended_does_not_fail() -> None:
    transfer = make_outgoing(state="staged")
    OutgoingTransfer.objects.filter(pk=transfer.pk).update(state="completed", finished_at=timezone.now())
    assert not fail(transfer)
    assert transfer.state == "completed"


def test_of_two_movers_one_moves() -> None:
    transfer = make_outgoing()
    other = OutgoingTransfer.objects.get(pk=transfer.pk)
    move_transfer(other, to="ongoing")
    with pytest.raises(LostRace):
        move_transfer(transfer, to="staged")


def test_what_a_peer_says_of_a_failure_is_kept_within_bounds() -> None:
    transfer = make_outgoing()
    fail_outgoing(transfer, code="c" * 500, reason="r\x00" * 100_000, remedy="")
    transfer.refresh_from_db()
    assert (len(transfer.code), len(transfer.reason)) == (64, 4000)


def test_a_cancelled_file_is_sent_again_only_when_a_person_wants_it() -> None:
    transfer = make_outgoing(peer="north", state="ongoing", attempt=4)
    cancel_outgoing(transfer, by="ann")
    assert transfer in OutgoingTransfer.objects.blocking()
    with pytest.raises(TransferOver):
        cancel_outgoing(transfer, by="ann")
    new = retry_outgoing(transfer, by="ann")
    transfer.refresh_from_db()
    assert (transfer.is_latest, new.state, new.attempt, new.asked_by) == (False, "initiated", 1, "ann")
    with pytest.raises(TransferOver):
        retry_outgoing(transfer, by="ann")


def test_a_retried_transfer_leaves_the_inbox_when_it_is_wanted_or_arrives() -> None:
    transfer = make_outgoing()
    fail(transfer, Retry.NEVER)
    new = retry_outgoing(transfer, by="ann")
    assert not ErrorRecord.objects.filter(cleared_at__isnull=True).exists()
    fail(new, Retry.NEVER)
    assert ErrorRecord.objects.filter(cleared_at__isnull=True).count() == 1
    complete_outgoing(new, peer_store_id=1)
    assert not ErrorRecord.objects.filter(cleared_at__isnull=True).exists()


def test_a_person_wants_files_that_are_not_there_yet(tmp_path) -> None:
    store, peer = make_store(tmp_path), make_peer("north")
    new, there, going, failed, lost = (make_file(store=store) for _ in range(5))
    unreadable = make_file()
    note_remote_instance(there, peer_name="north", peer_store_id=1)
    make_outgoing(going, peer="north")
    make_outgoing(failed, peer="north", state="failed", attempt=3)
    make_outgoing(lost, peer="north", state="completed")  # and its copy there was forgotten
    wanted = [file.pk for file in (new, there, going, failed, lost, unreadable)]
    assert ask_for_transfers(wanted, peer=peer, by="ann", priority=5) == 3
    made = OutgoingTransfer.objects.filter(asked_by="ann", state="initiated", priority=5, attempt=1)
    assert set(made.values_list("file", flat=True)) == {new.pk, failed.pk, lost.pk}
    assert ask_for_transfers(wanted, peer=peer, by="ann") == 0


def test_histories_stay_whole_when_copies_come_and_go() -> None:
    file = make_file()
    note_remote_instance(file, peer_name="north", peer_store_id=1)
    note_remote_instance(file, peer_name="north", peer_store_id=2)
    drop_remote_instance(RemoteInstance.objects.first(), why="north was restored")
    types = list(FileEvent.objects.filter(file=file).order_by("number").values_list("type", flat=True))
    assert types == ["file_registered", "remote_copy_noted", "remote_copy_noted", "remote_copy_dropped"]
    assert verify_events().findings == []


# --- Receiver ---


@pytest.fixture
def transfer(tmp_path) -> IncomingTransfer:
    make_store(tmp_path)
    owner = make_user("north", level=Level.READAPPEND)
    offer = CloneOffer(destination="a.uvh5", size_bytes=5, checksum="", uploader="ann", source="north")
    (upload,) = stage_clones(owner=owner, offers=[offer], deletion_policy=0)[1]
    return make_incoming(account="north", name="a.uvh5", upload=upload, state="staged", staged_at=timezone.now())


def test_a_failed_transfer_frees_its_room_and_its_sender_is_told(transfer) -> None:
    assert fail_incoming(transfer, error=ContentMismatch("One digest; another was declared."), kept_aside_at="q/x")
    assert (transfer.state, transfer.report, transfer.kept_aside_at) == ("failed", ReportState.DUE, "q/x")
    upload = Upload.objects.get(pk=transfer.upload_id)
    assert (upload.state, upload.failure_code) == (UploadState.FAILED, "content_mismatch")
    assert list(upload.store.backend.list_staging()) == []
    assert not fail_incoming(transfer, code="x", reason="y")


def test_a_sender_that_gave_up_itself_is_not_told(transfer) -> None:
    fail_incoming(transfer, code="x", reason="The sender gave it up.", report=False)
    assert transfer.report == ReportState.DONE


def test_nobody_is_told_of_a_transfer_without_a_peer() -> None:
    transfer = make_incoming(peer_name="")
    fail_incoming(transfer, code="x", reason="y")
    assert transfer.report == ReportState.GIVEN_UP


def test_a_foreign_sender_hears_of_the_end_some_seconds_later() -> None:
    foreign, ours = (
        make_incoming(account="north", state="staged", staged_at=timezone.now(), features=features)
        for features in ([], ["partial_batch"])
    )
    file = make_file()
    assert complete_incoming([(foreign, file, 1), (ours, file, 1)]) == 2
    assert foreign.next_report_at >= foreign.staged_at + timedelta(seconds=5)
    assert ours.next_report_at < ours.staged_at + timedelta(seconds=5)
    assert list(IncomingTransfer.objects.reportable()) == [ours]


def test_one_that_its_sender_gave_up_meanwhile_stays_given_up() -> None:
    gone, kept = make_incoming(state="staged"), make_incoming(state="staged")
    IncomingTransfer.objects.filter(pk=gone.pk).update(state="failed", reason="x", finished_at=timezone.now())
    file = make_file()
    assert complete_incoming([(gone, file, 1), (kept, file, 1)]) == 1
    assert IncomingTransfer.objects.get(pk=gone.pk).state == "failed"


def test_a_person_may_refuse_what_comes(transfer) -> None:
    cancel_incoming(transfer, by="ann")
    assert (transfer.state, transfer.report) == ("cancelled", ReportState.DUE)
    with pytest.raises(TransferOver):
        cancel_incoming(transfer, by="ann")


@pytest.mark.django_db(transaction=True)
def test_the_next_attempt_is_made_once() -> None:
    from network.services.transfers.outgoing import next_attempts

    old = make_outgoing(state="failed")
    with transaction.atomic():
        next_attempts([old])[0].save()
    with pytest.raises(LostRace), transaction.atomic():
        next_attempts([old])
    assert connection.in_atomic_block is False
