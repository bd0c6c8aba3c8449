"""No product gets within another's copy or around it, whichever way in it takes, and a hopeless one holds up nobody."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from accounts.levels import Level
from files.models import File, Instance, Upload
from files.services import places
from files.services.commit import commit_upload
from files.services.event_verification import verify_events
from files.services.sweeping import finish_commits
from files.services.uploads import stage_upload, staging_location
from hera_librarian.checksums import combine_directory_digests
from librarian.common.inbox import ErrorRecord
from tests.files.test_commit import checksum_of, deliver, fresh
from tests.files.test_ingest import ingest
from tests.make import bytes_path, make_store, make_user, write_bytes

pytestmark = pytest.mark.django_db
TREE = {"header": b"head", "visdata": b"data"}


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def owner():
    return make_user("correlator", level=Level.READAPPEND)


@pytest.fixture(autouse=True)
def nothing_remembered():
    places._ways.clear()


def deliver_tree(owner, name: str) -> Upload:
    digests = [checksum_of(part).rpartition(":")[2] for part in TREE.values()]
    upload = stage_upload(
        owner=owner,
        upload_name=Path(name).name,
        destination=name,
        size_bytes=8,
        checksum=f"xxh3:::{combine_directory_digests('xxh3', digests)}",
        uploader="ann",
        source="correlator",
    )
    write_bytes(Path(staging_location(upload)), TREE)
    return upload


def path_of(name: str) -> str:
    return Instance.objects.get(file__name=name).path


def members_on_disk(store, place: str) -> set[str]:
    return {path.name for path in bytes_path(store, place).iterdir()}


def test_a_file_sent_into_a_directory_product_is_put_beside_it(store, owner) -> None:
    commit_upload(upload_id=deliver_tree(owner, "cal/zen.uv").pk)
    commit_upload(upload_id=deliver(owner, "cal/zen.uv/extra").pk)
    commit_upload(upload_id=deliver(owner, "cal/zen.uv/deep/more").pk)
    assert members_on_disk(store, "cal/zen.uv") == set(TREE)
    assert path_of("extra") == "cal/zen.uv~2/extra"
    assert path_of("more") == "cal~3/zen.uv/deep/more"


def test_a_file_sent_far_below_a_flat_file_is_put_beside_it(store, owner) -> None:
    commit_upload(upload_id=deliver(owner, "cal/plain").pk)
    commit_upload(upload_id=deliver(owner, "cal/plain/a/b/c").pk)
    assert path_of("c") == "cal~3/plain/a/b/c"


def test_a_tree_ingested_over_a_directory_product_leaves_it_as_it_was(store, owner, tmp_path) -> None:
    commit_upload(upload_id=deliver_tree(owner, "cal/zen.tree").pk)
    write_bytes(tmp_path / "in" / "cal" / "zen.tree" / "late.log", b"log")
    write_bytes(tmp_path / "in" / "cal" / "plain.log", b"log")
    assert {r["outcome"] for r in ingest(tmp_path / "in")} == {"new"}
    assert members_on_disk(store, "cal/zen.tree") == set(TREE)


def test_a_directory_product_does_not_close_around_a_delivery_under_way(store, owner) -> None:
    inner = deliver(owner, "cal/zen.uv/extra")
    Upload.objects.filter(pk=inner.pk).update(place="cal/zen.uv/extra", committing_name="extra")
    commit_upload(upload_id=deliver_tree(owner, "cal/zen.uv").pk)
    commit_upload(upload_id=inner.pk)
    assert (path_of("zen.uv"), path_of("extra")) == ("cal~2/zen.uv", "cal/zen.uv/extra")


def test_in_place_a_member_of_a_copy_is_no_file_of_its_own(store, owner) -> None:
    commit_upload(upload_id=deliver_tree(owner, "cal/zen.uv").pk)
    report = ingest(bytes_path(store, "cal/zen.uv/header"), in_place=True)[0]
    assert "shares bytes with cal/zen.uv" in report["reason"]
    assert File.objects.count() == 1


def test_in_place_a_directory_that_holds_copies_is_no_product(store, owner) -> None:
    commit_upload(upload_id=deliver(owner, "cal/zen.uv/extra").pk)
    report = ingest(bytes_path(store, "cal/zen.uv"), in_place=True)[0]
    assert "shares bytes with cal/zen.uv/extra" in report["reason"]
    assert [file.name for file in File.objects.all()] == ["extra"]


def test_files_of_one_directory_look_for_its_owner_once(store, owner, django_assert_max_num_queries) -> None:
    commit_upload(upload_id=deliver(owner, "2457561/one").pk)
    upload = Upload(store=store, place="2457561/two")
    with django_assert_max_num_queries(0):
        assert places._holder(upload) == ""


def test_a_delivery_that_cannot_be_finished_holds_up_nobody(store, owner) -> None:
    """A place that no store takes (from a row of an earlier version) is reported; the next delivery is finished."""
    past = timezone.now() - timedelta(seconds=1)
    hopeless, good = deliver(owner, "2457561/a"), deliver(owner, "2457561/b")
    Upload.objects.all().update(commit_asked_at=timezone.now(), claim="elsewhere|1|1|x", claim_until=past)
    Upload.objects.filter(pk=hopeless.pk).update(place=".librarian/a", committing_name="a")
    counts = finish_commits()
    assert (counts["finished"], counts["failed"]) == (1, 1)
    assert [file.name for file in File.objects.all()] == ["b"]
    assert ErrorRecord.objects.filter(code="commit_not_finished").count() == 1
    assert fresh(hopeless).claim == ""
    assert good.pk


@pytest.mark.django_db(transaction=True)
def test_who_fails_to_recover_another_delivery_gives_its_claim_back(store, owner) -> None:
    """Else the next one waits for a living process that is not working on it."""
    hopeless = deliver(owner, "2457561/a")
    Upload.objects.filter(pk=hopeless.pk).update(place=".librarian/a", committing_name="a", claim="")
    second = deliver(owner, "elsewhere/a")
    failures = []

    def commit() -> None:
        try:
            commit_upload(upload_id=second.pk)
        except ValueError as problem:
            failures.append(problem)
        finally:
            connection.close()

    for _ in range(2):
        thread = threading.Thread(target=commit)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    assert len(failures) == 2
    assert fresh(hopeless).claim == ""
    assert verify_events().findings == []
