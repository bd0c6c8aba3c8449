"""The commit of a client's delivery: verified, never overwriting, the same answer when it is repeated."""

import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from accounts.levels import Level
from files.models import File, Instance, Upload, UploadState
from files.names import normalise_name
from files.services.claims import Claim, new_claim, take_claim
from files.services.commit import NothingStaged, Patience, claim_name, commit_upload, finish_deliveries, take_bytes
from files.services.registration import Delivery
from files.services.sweeping import finish_commits, sweep_staging
from files.services.uploads import reserved_bytes_by_store, stage_upload, staging_location
from hera_librarian.checksums import new_hasher
from librarian.common.errors import (
    ContentMismatch,
    InvalidName,
    InvalidRequest,
    LostRace,
    NameTaken,
    NoStore,
    NotFound,
    StoreUnavailable,
    TooLarge,
)
from tests.make import bytes_path, make_store, make_user, write_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def owner():
    return make_user("correlator", level=Level.READAPPEND)


def checksum_of(content: bytes, algorithm: str = "xxh3") -> str:
    hasher = new_hasher(algorithm)
    hasher.update(content)
    return f"{algorithm}:::{hasher.hexdigest()}"


def stage(owner, name: str = "2457561/zen.uvh5", content: bytes = b"bytes", **changes: object) -> Upload:
    fields = {
        "upload_name": Path(name).name,
        "destination": name,
        "size_bytes": len(content),
        "checksum": checksum_of(content),
        "uploader": "ann",
        "source": owner.username,
    }
    return stage_upload(owner=owner, **{**fields, **changes})


def deliver(owner, name: str = "2457561/zen.uvh5", content: bytes = b"bytes", **changes: object) -> Upload:
    upload = stage(owner, name, content, **changes)
    write_bytes(Path(staging_location(upload)), content)
    return upload


def fresh(upload: Upload) -> Upload:
    return Upload.objects.get(pk=upload.pk)


def nothing_left(store) -> bool:
    return not list(store.backend.list_staging()) and not Upload.objects.live().exists()


def test_a_staged_product_becomes_a_file(store, owner) -> None:
    upload = deliver(owner)
    file = commit_upload(upload_id=upload.pk, deletion_policy=1)
    instance = file.instances.get()
    assert (file.name, file.uploader, file.source) == ("zen.uvh5", "ann", "correlator")
    assert (instance.path, instance.deletion_policy) == ("2457561/zen.uvh5", 1)
    assert bytes_path(store, instance.path).read_bytes() == b"bytes"
    assert nothing_left(store)


def test_a_repeated_commit_gives_the_same_answer(store, owner) -> None:
    upload = deliver(owner)
    first = commit_upload(upload_id=upload.pk)
    assert commit_upload(upload_id=upload.pk) == first
    assert Instance.objects.count() == 1


def test_staging_names_never_show_the_files_name_and_stay_short(store, owner) -> None:
    upload = stage(owner, name="d/" + "n" * 250)
    assert "nnn" not in staging_location(upload)
    assert staging_location(upload).endswith(f"{upload.token}/item")
    assert len(upload.token) == 12


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512", "xxh3"])
def test_every_algorithm_of_the_wire_is_verified(store, owner, algorithm: str) -> None:
    good = deliver(owner, "good", checksum=checksum_of(b"bytes", algorithm))
    assert commit_upload(upload_id=good.pk).checksum == checksum_of(b"bytes", algorithm)
    bad = deliver(owner, "bad", checksum=checksum_of(b"other", algorithm))
    with pytest.raises(ContentMismatch, match="was declared"):
        commit_upload(upload_id=bad.pk)
    assert nothing_left(store)


def test_a_wrong_size_is_refused_with_both_numbers(store, owner) -> None:
    upload = deliver(owner, size_bytes=99)
    with pytest.raises(ContentMismatch, match="has 5 bytes; 99 were declared"):
        commit_upload(upload_id=upload.pk)
    with pytest.raises(ContentMismatch):  # and again, as it is closed
        commit_upload(upload_id=upload.pk)
    assert nothing_left(store)
    assert not File.objects.exists()


def test_nothing_staged_is_said(store, owner) -> None:
    upload = stage(owner)
    with pytest.raises(NothingStaged):
        commit_upload(upload_id=upload.pk)
    assert nothing_left(store)


def test_an_unknown_upload_is_said() -> None:
    with pytest.raises(NotFound):
        commit_upload(upload_id=4711)


def test_a_used_name_is_refused_when_staging_and_the_remedy_says_whether_the_bytes_agree(store, owner) -> None:
    commit_upload(upload_id=deliver(owner).pk)
    with pytest.raises(NameTaken) as same:
        stage(owner)
    assert "these very bytes" in same.value.suggested_remedy
    with pytest.raises(NameTaken) as other:
        stage(owner, content=b"other")
    assert "other bytes" in other.value.suggested_remedy


def test_of_two_uploads_of_one_name_the_second_commit_is_a_clean_conflict(store, owner) -> None:
    first, second = deliver(owner, content=b"first"), deliver(owner, content=b"second")
    commit_upload(upload_id=first.pk)
    with pytest.raises(NameTaken):
        commit_upload(upload_id=second.pk)
    assert bytes_path(store, File.objects.get().instances.get().path).read_bytes() == b"first"
    assert nothing_left(store)


def test_the_name_given_at_commit_wins_once(store, owner) -> None:
    upload = deliver(owner, "a.uv2")
    file = commit_upload(upload_id=upload.pk, destination="elsewhere/b.uv2")
    assert (file.name, file.instances.get().path) == ("b.uv2", "elsewhere/b.uv2")
    with pytest.raises(Exception, match="was committed as"):
        commit_upload(upload_id=upload.pk, destination="c.uv2")


def test_a_commit_without_the_obsid_that_the_site_requires_may_be_asked_again(store, owner, settings) -> None:
    settings.LIBRARIAN_REQUIRE_OBSID = True
    upload = deliver(owner)
    with pytest.raises(InvalidRequest, match="without an obsid"):
        commit_upload(upload_id=upload.pk)
    assert finish_commits() == {"finished": 0, "undone": 0, "waiting": 0, "failed": 0}  # no sweeper can help
    assert commit_upload(upload_id=upload.pk, null_obsid=True).obsid is None


def test_an_illegal_name_at_commit_changes_nothing(store, owner) -> None:
    upload = deliver(owner)
    with pytest.raises(InvalidName):
        commit_upload(upload_id=upload.pk, destination="../x")
    assert commit_upload(upload_id=upload.pk).name == "zen.uvh5"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"size_bytes": -1}, InvalidRequest),
        ({"size_bytes": 2**62}, TooLarge),
        ({"destination": "/etc/x"}, InvalidName),
        ({"upload_name": "../x"}, InvalidName),
        ({"upload_name": "/etc/hostname"}, InvalidName),
        ({"checksum": "crc32:::abc"}, Exception),
        ({"checksum": "md5:::abc"}, Exception),
        ({"uploader": ""}, InvalidRequest),
        ({"uploader": "x" * 300}, InvalidRequest),
        ({"uploader": "a\nb"}, InvalidRequest),
    ],
)
def test_bad_requests_are_refused_and_leave_nothing(store, owner, changes, error) -> None:
    with pytest.raises(error):
        stage(owner, **changes)
    assert not Upload.objects.exists()
    assert nothing_left(store)


def test_room_is_reserved_while_an_upload_is_live(tmp_path, owner) -> None:
    store = make_store(tmp_path, capacity_bytes=1000, free_bytes=600, fullness_limit=0.9)  # 500 may be written
    upload = stage(owner, "a", b"x" * 300)
    assert reserved_bytes_by_store() == {store.pk: 300}
    with pytest.raises(NoStore):
        stage(owner, "b", b"x" * 300)
    write_bytes(Path(staging_location(upload)), b"x" * 300)
    commit_upload(upload_id=upload.pk)
    assert reserved_bytes_by_store() == {}


def test_a_store_that_is_switched_off_keeps_the_upload_for_later(store, owner) -> None:
    upload = deliver(owner)
    type(store).objects.update(enabled=False)
    with pytest.raises(StoreUnavailable, match="switched off"):
        commit_upload(upload_id=upload.pk)
    type(store).objects.update(enabled=True)
    assert commit_upload(upload_id=upload.pk).name == "zen.uvh5"


def test_what_the_client_may_still_write_to_is_copied_before_it_is_hashed(store, owner) -> None:
    """A client that keeps its file open, or a second link to it, cannot change what was archived."""
    upload = stage(owner)
    item = Path(staging_location(upload))
    write_bytes(item, b"bytes")
    second_link = item.parent.parent / "kept-by-the-client"
    os.link(item, second_link)
    file = commit_upload(upload_id=upload.pk)
    second_link.write_bytes(b"HACKS")
    assert bytes_path(store, file.instances.get().path).read_bytes() == b"bytes"
    second_link.unlink()


def test_bytes_of_another_user_are_copied_in(store, owner) -> None:
    upload = stage(owner)
    item = Path(staging_location(upload))
    write_bytes(item, b"bytes")
    os.chown(item, 65534, 65534)
    inode = item.stat().st_ino
    with item.open("r+b") as still_open:
        file = commit_upload(upload_id=upload.pk)
        still_open.write(b"HACKS")
    placed = bytes_path(store, file.instances.get().path)
    assert placed.read_bytes() == b"bytes"
    assert placed.stat().st_ino != inode


# --- Claims -----------------------------------------------------------------------------------------------------------


def test_a_claim_of_a_living_process_is_respected_and_of_a_dead_one_taken_over(store, owner) -> None:
    upload = deliver(owner)
    assert take_claim(upload) is not None
    assert take_claim(fresh(upload)) is None  # this very process lives
    dead = new_claim().replace(f":{os.getpid()}:", ":999999999:")
    Upload.objects.filter(pk=upload.pk).update(claim=dead)
    assert take_claim(fresh(upload)) is not None


def test_a_claim_elsewhere_is_believed_until_it_runs_out(store, owner) -> None:
    upload = deliver(owner)
    soon = timezone.now() + timedelta(seconds=60)
    Upload.objects.filter(pk=upload.pk).update(claim="elsewhere|1|1|x", claim_until=soon)
    assert take_claim(fresh(upload)) is None
    Upload.objects.filter(pk=upload.pk).update(claim_until=timezone.now() - timedelta(seconds=1))
    assert take_claim(fresh(upload)) is not None


def test_of_two_that_saw_the_same_row_one_gets_the_claim(store, owner) -> None:
    upload = deliver(owner)
    one, two = fresh(upload), fresh(upload)
    assert take_claim(one) is not None
    assert take_claim(two) is None


def test_who_lost_its_claim_commits_nothing(store, owner) -> None:
    upload = deliver(owner)
    stale = take_claim(upload)
    Upload.objects.filter(pk=upload.pk).update(claim=new_claim())
    delivery = Delivery(upload=stale.upload, filed=normalise_name(upload.destination))
    take_bytes(delivery, stale)
    with pytest.raises(LostRace):
        claim_name(stale, delivery.filed, Patience())
    delivery.upload.place = "2457561/zen.uvh5"
    with pytest.raises(LostRace):
        finish_deliveries([delivery], store=upload.store, claim=stale.token)
    assert not File.objects.exists()


def test_the_sweeper_does_not_wait_long_for_a_name_that_somebody_alive_holds(store, owner, monkeypatch) -> None:
    monkeypatch.setattr("files.services.sweeping.RECOVERY_PATIENCE_SECONDS", 0.01)
    holder, waiting = deliver(owner), deliver(owner)
    Upload.objects.filter(pk=holder.pk).update(
        committing_name="zen.uvh5", claim=new_claim(), claim_until=timezone.now() + timedelta(minutes=1)
    )
    Upload.objects.filter(pk=waiting.pk).update(commit_asked_at=timezone.now())
    assert finish_commits()["waiting"] == 1
    assert fresh(waiting).state == UploadState.STAGED


# --- Sweepers ---------------------------------------------------------------------------------------------------------


def test_a_commit_cut_short_is_finished_by_the_sweeper(store, owner) -> None:
    upload = deliver(owner)
    Upload.objects.filter(pk=upload.pk).update(
        commit_asked_at=timezone.now(), claim="elsewhere|1|1|x", claim_until=timezone.now() - timedelta(seconds=1)
    )
    assert finish_commits()["finished"] == 1
    assert File.objects.get().name == "zen.uvh5"
    assert nothing_left(store)


def test_an_upload_without_a_commit_is_left_alone_until_it_expires(store, owner, settings) -> None:
    upload = deliver(owner)
    assert finish_commits()["finished"] == 0
    assert sweep_staging(older_than_seconds=-10) == {"expired": 0, "orphans": 0, "stores": 1}
    settings.LIBRARIAN_UPLOAD_EXPIRES_DAYS = 0
    Upload.objects.filter(pk=upload.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert sweep_staging()["expired"] == 1
    upload.refresh_from_db()
    assert upload.state == UploadState.EXPIRED
    assert nothing_left(store)


def test_an_upload_whose_staging_still_changes_does_not_expire(store, owner) -> None:
    upload = deliver(owner)
    Upload.objects.filter(pk=upload.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert sweep_staging()["expired"] == 0
    upload.refresh_from_db()
    assert upload.expires_at > timezone.now() + timedelta(days=6)


def test_staging_of_nobody_is_removed_once_it_is_old(store) -> None:
    store.backend.stage("a" * 12)
    assert sweep_staging()["orphans"] == 0
    assert sweep_staging(older_than_seconds=-10)["orphans"] == 1
    assert nothing_left(store)


# --- Races ------------------------------------------------------------------------------------------------------------


def run_together(*calls) -> list[object]:
    """Run calls in threads that start together; what each returned or raised."""
    results: list[object] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = calls[number]()
        except Exception as error:
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.django_db(transaction=True)
def test_of_many_clients_with_one_name_exactly_one_wins(store, owner) -> None:
    uploads = [deliver(owner, content=f"content {n}".encode()) for n in range(6)]
    results = run_together(*(lambda pk=upload.pk: commit_upload(upload_id=pk) for upload in uploads))
    won = [result for result in results if isinstance(result, File)]
    assert len(won) == 1, results
    assert all(isinstance(result, NameTaken) for result in results if result not in won), results
    assert Instance.objects.count() == 1
    files = [path for path in bytes_path(store, "").rglob("*") if path.is_file() and ".librarian" not in path.parts]
    assert len(files) == 1
    assert nothing_left(store)


@pytest.mark.django_db(transaction=True)
def test_the_same_bytes_under_many_names_at_once_all_arrive(store, owner) -> None:
    uploads = [deliver(owner, f"name{n}", b"") for n in range(6)]
    results = run_together(*(lambda pk=upload.pk: commit_upload(upload_id=pk) for upload in uploads))
    assert sorted(result.name for result in results) == [f"name{n}" for n in range(6)]
    assert nothing_left(store)


@pytest.mark.django_db(transaction=True)
def test_repeated_commits_at_once_join_and_get_one_answer(store, owner) -> None:
    upload = deliver(owner, content=os.urandom(4 * 2**20))
    results = run_together(*([lambda: commit_upload(upload_id=upload.pk)] * 4))
    assert {getattr(result, "name", result) for result in results} == {"zen.uvh5"}
    assert Instance.objects.count() == 1


def test_a_claim_is_renewed_while_bytes_are_read(store, owner, monkeypatch) -> None:
    upload = deliver(owner)
    claim = take_claim(upload)
    before = Upload.objects.get(pk=upload.pk).claim_until
    monkeypatch.setattr("files.services.claims.RENEW_SECONDS", 0)
    claim.renew_if_due()
    assert Upload.objects.get(pk=upload.pk).claim_until > before
    Upload.objects.filter(pk=upload.pk).update(claim="someone else")
    with pytest.raises(LostRace):
        claim.renew_if_due()
    assert isinstance(claim, Claim)
