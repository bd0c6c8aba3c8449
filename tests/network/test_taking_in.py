"""Taking in what senders have brought: compared, kept, completed; or failed with both digests; or tried later."""

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from files.models import File, Instance, Upload, UploadState
from files.services.receiving import receive_staged
from files.services.uploads import fail_upload
from librarian.common.errors import ArchiveError
from librarian.common.models import ErrorRecord
from network.models import TransferState
from network.services.receiving import taking_in
from network.services.receiving.taking_in import receive_transfers
from tests.make import bytes_path, make_file, make_store
from tests.network.clones import BYTES, NAME, batch, bring, item, make_incoming, make_site, state_of
from tests.wire.caller import TREE

pytestmark = pytest.mark.django_db
STAGED, COMPLETED, FAILED = TransferState.STAGED, TransferState.COMPLETED, TransferState.FAILED


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def staged(store):
    """`staged("a.uvh5")` is a transfer whose bytes lie in staging."""
    return lambda name=NAME, content=BYTES, written=None, **fields: make_incoming(
        fields.pop("store", store), name=name, content=content, written=written or content, state=STAGED, **fields
    )


def test_what_was_brought_is_a_file_and_its_transfer_complete(staged, store):
    transfers = [staged(f"{number}.uvh5", source_id=number) for number in range(3)]
    assert receive_transfers() == {"completed": 3, "failed": 0, "waiting": 0}
    for transfer in transfers:
        transfer.refresh_from_db()
        assert (transfer.state, transfer.store_id_told, transfer.report) == (COMPLETED, store.pk, "due")
        instance = transfer.file.instances.get()
        assert bytes_path(store, instance.path).read_bytes() == BYTES
        assert transfer.file.source == "north"
    assert list(store.backend.list_staging()) == []
    assert receive_transfers() == {"completed": 0, "failed": 0, "waiting": 0}


def test_senders_of_our_kind_are_told_soon_and_foreign_ones_in_their_time(staged):
    staged(features=[])
    receive_transfers()
    assert not OrmQ.objects.exists()
    for number in range(3):
        staged(f"{number}.uvh5", source_id=number)
        receive_transfers()
    assert [row.group() for row in OrmQ.objects.all()] == ["report_transfers"]


def test_from_the_offer_to_the_file_with_what_the_sender_knows_of_it(wire, cast, store):
    make_site("north")
    answer = wire.ok("clone/batch_stage", batch(item()), 201, user="north")["uploads"][0]
    bring(answer)
    ids = {"source_transfer_id": 1, "destination_transfer_id": answer["destination_transfer_id"]}
    wire.ok("clone/ongoing", ids, user="north")
    wire.ok("clone/staged", ids, user="north")
    receive_transfers()
    file = File.objects.get()
    assert (file.name, file.obsid, file.uploader, file.source) == (NAME, 1_000_000_000, "an instrument", "north")


def test_a_directory_of_a_foreign_sender(wire, cast, store):
    make_site("north")
    offer = batch(item("obs.uvh", TREE, facts=False), features=())
    answer = wire.ok("clone/batch_stage", offer, 201, user="north")["uploads"][0]
    bring(answer, TREE)
    ids = [answer["destination_transfer_id"]]
    wire.ok(
        "checkin/update", {"source_transfer_ids": [], "destination_transfer_ids": ids, "new_status": 2}, user="north"
    )
    assert receive_transfers()["completed"] == 1
    file = File.objects.get()
    assert (file.is_directory, file.uploader, file.members.count()) == (True, "north", len(TREE))


def test_other_bytes_fail_with_both_digests_and_are_kept_aside(staged, store):
    bad = staged("bad.uvh5", written=b"the bytes of a FILE")
    good = staged("good.uvh5", source_id=2)
    assert receive_transfers() == {"completed": 1, "failed": 1, "waiting": 0}
    bad.refresh_from_db()
    assert (bad.state, bad.code, bad.report) == (FAILED, "content_mismatch", "due")
    assert bad.checksum.partition(":::")[2] in bad.reason
    assert bad.kept_aside_at
    kept = Path(bad.kept_aside_at)
    kept = kept if kept.is_absolute() else Path(store.configuration["root"]) / kept
    assert kept.read_bytes() == b"the bytes of a FILE"
    assert not File.objects.filter(name="bad.uvh5").exists()
    assert state_of(good) == COMPLETED


def test_a_digest_that_only_our_sites_tell_is_compared_too(staged):
    transfer = staged()
    Upload.objects.update(digest=hashlib.sha256(b"other").hexdigest())
    receive_transfers()
    transfer.refresh_from_db()
    assert (transfer.state, transfer.code) == (FAILED, "content_mismatch")


def test_nothing_in_staging_fails_that_transfer(store):
    transfer = make_incoming(store, state=STAGED)
    receive_transfers()
    transfer.refresh_from_db()
    assert (transfer.state, transfer.report) == (FAILED, "due")
    assert transfer.reason


def test_the_same_bytes_that_were_here_already_complete_it(staged, store, tmp_path):
    elsewhere = make_store(tmp_path, name="elsewhere")
    make_file(NAME, content=BYTES, store=elsewhere)
    transfer = staged()
    receive_transfers()
    transfer.refresh_from_db()
    assert (transfer.state, transfer.store_id_told) == (COMPLETED, elsewhere.pk)
    assert Instance.objects.count() == 1


def test_other_bytes_under_the_name_fail_it_and_change_nothing(staged, store):
    file = make_file(NAME, content=b"first", store=store)
    transfer = staged()
    receive_transfers()
    transfer.refresh_from_db()
    assert (transfer.state, transfer.code) == (FAILED, "name_taken")
    assert bytes_path(store, file.instances.get().path).read_bytes() == b"first"


def test_a_store_that_is_away_is_waited_for_with_the_reason(staged, store, tmp_path):
    transfer = staged()
    other = staged("other.uvh5", source_id=2, store=make_store(tmp_path, name="second"))
    store.enabled = False
    store.save()
    assert receive_transfers() == {"completed": 1, "failed": 0, "waiting": 1}
    transfer.refresh_from_db()
    assert (transfer.state, transfer.code, transfer.attempts) == (STAGED, "store_unavailable", 1)
    assert transfer.next_try_at > timezone.now() + timedelta(seconds=20)
    assert store.name in transfer.reason
    assert state_of(other) == COMPLETED
    assert receive_transfers()["waiting"] == 0  # not before its time
    store.enabled = True
    store.save()
    type(transfer).objects.update(next_try_at=timezone.now())
    assert receive_transfers()["completed"] == 1
    transfer.refresh_from_db()
    assert (transfer.code, transfer.reason) == ("", "")


def test_what_waits_long_is_told_to_people_until_it_is_mended(staged, store):
    transfer = staged()
    store.enabled = False
    store.save()
    for _ in range(taking_in.REPORTED_AFTER):
        type(transfer).objects.update(next_try_at=timezone.now())
        receive_transfers()
    error = ErrorRecord.objects.get(code="store_unavailable")
    assert error.cleared_at is None
    assert "north" in error.message
    store.enabled = True
    store.save()
    type(transfer).objects.update(next_try_at=timezone.now())
    assert receive_transfers()["completed"] == 1
    error.refresh_from_db()
    assert error.cleared_at is not None


def test_a_store_of_another_host_is_left_to_that_host(staged, store):
    transfer = staged()
    store.hosts = ["another"]
    store.save()
    assert receive_transfers() == {"completed": 0, "failed": 0, "waiting": 0}
    transfer.refresh_from_db()
    assert (transfer.state, transfer.attempts) == (STAGED, 0)


def test_a_kill_before_the_transfers_moved_is_healed(staged):
    transfer = staged()
    received = receive_staged([transfer.upload_id])[transfer.upload_id]
    assert (received.error, state_of(transfer)) == (None, STAGED)
    assert receive_transfers()["completed"] == 1
    transfer.refresh_from_db()
    assert (transfer.state, transfer.file) == (COMPLETED, received.file)
    assert File.objects.count() == 1


@pytest.mark.parametrize("code", ["upload_expired", "store_unavailable", "busy"])
def test_an_upload_that_ended_otherwise_fails_its_transfer(staged, code):
    transfer = staged()
    error = ArchiveError("It was not to be.")
    error.code = code
    fail_upload(transfer.upload, error=error, state=UploadState.EXPIRED)
    assert receive_transfers()["failed"] == 1
    transfer.refresh_from_db()
    assert (transfer.state, transfer.reason) == (FAILED, "It was not to be.")


def test_a_forgotten_upload_fails_its_transfer(staged):
    transfer = staged()
    Upload.objects.all().delete()
    assert receive_transfers()["failed"] == 1
    assert state_of(transfer) == FAILED


def test_what_another_process_takes_in_is_left_to_it(staged, monkeypatch):
    from files.services.claims import take_claim

    transfer = staged()
    assert take_claim(transfer.upload) is not None
    assert receive_transfers() == {"completed": 0, "failed": 0, "waiting": 1}
    assert state_of(transfer) == STAGED


def test_batches_are_bounded_and_stores_take_turns(staged, store, tmp_path, monkeypatch):
    monkeypatch.setattr(taking_in, "BATCH_FILES", 2)
    second = make_store(tmp_path, name="second")
    sizes = []
    real = taking_in.receive_staged
    monkeypatch.setattr(taking_in, "receive_staged", lambda ids: sizes.append(list(ids)) or real(ids))
    for number in range(3):
        staged(f"a{number}.uvh5", source_id=number)
    lone = staged("b.uvh5", source_id=9, store=second)
    assert receive_transfers(limit=3)["completed"] == 3
    assert [len(each) for each in sizes] == [2, 1]
    assert sizes[1] == [lone.upload_id]
    monkeypatch.setattr(taking_in, "BATCH_BYTES", len(BYTES))
    assert receive_transfers()["completed"] == 1
