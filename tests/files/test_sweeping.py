"""The sweepers: what cannot go on now keeps nobody else waiting, and nothing is looked at more often than needed."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from accounts.levels import Level
from files.models import Upload, UploadState
from files.services.sweeping import expire_uploads, finish_commits, sweep_staging
from files.services.uploads import stage_upload, staging_location
from hera_librarian.checksums import new_hasher
from stores.backends.posix import PosixBackend
from tests.make import make_store, make_user, write_bytes

pytestmark = pytest.mark.django_db
PAST = timezone.now() - timedelta(seconds=1)


@pytest.fixture
def owner():
    return make_user("correlator", level=Level.READAPPEND)


def deliver(owner, name: str, *, store: str | None = None) -> Upload:
    """A delivery whose bytes lie in staging."""
    hasher = new_hasher("xxh3")
    hasher.update(b"bytes")
    upload = stage_upload(
        owner=owner,
        upload_name=name,
        destination=name,
        size_bytes=5,
        checksum=f"xxh3:::{hasher.hexdigest()}",
        uploader="correlator",
        source="correlator",
        store_name=store,
    )
    write_bytes(Path(staging_location(upload)), b"bytes")
    return upload


def cut_short(*uploads: Upload) -> None:
    """As if the process that committed them had died."""
    Upload.objects.filter(pk__in=[upload.pk for upload in uploads]).update(
        commit_asked_at=timezone.now(), claim="elsewhere:1:b.n.s|x", claim_until=PAST
    )


def state_of(upload: Upload) -> str:
    return Upload.objects.get(pk=upload.pk).state


def test_a_commit_on_a_store_that_is_away_takes_nobodys_turn(tmp_path, owner) -> None:
    away, _ = make_store(tmp_path, name="away"), make_store(tmp_path, name="here")
    first, second = deliver(owner, "a.txt", store="away"), deliver(owner, "b.txt", store="here")
    cut_short(first, second)
    type(away).objects.filter(pk=away.pk).update(available=False)
    assert finish_commits(limit=1)["finished"] == 1
    assert (state_of(first), state_of(second)) == (UploadState.STAGED, UploadState.COMMITTED)


def test_a_commit_that_has_to_wait_takes_nobodys_turn(tmp_path, owner) -> None:
    gone, _ = make_store(tmp_path, name="gone"), make_store(tmp_path, name="here")
    first, second = deliver(owner, "a.txt", store="gone"), deliver(owner, "b.txt", store="here")
    cut_short(first, second)
    shutil.rmtree(gone.configuration["root"])  # not measured since: the row says available
    assert finish_commits(limit=1) == {"finished": 1, "undone": 0, "waiting": 1, "failed": 0}
    assert (state_of(first), state_of(second)) == (UploadState.STAGED, UploadState.COMMITTED)


def test_a_store_that_went_away_does_not_keep_its_neighbours_from_being_swept(tmp_path, owner) -> None:
    gone, _ = make_store(tmp_path, name="gone"), make_store(tmp_path, name="here")
    first, second = deliver(owner, "a.txt", store="gone"), deliver(owner, "b.txt", store="here")
    shutil.rmtree(Path(staging_location(second)).parent)
    Upload.objects.update(expires_at=PAST)
    shutil.rmtree(gone.configuration["root"])
    assert sweep_staging() == {"expired": 1, "orphans": 0, "stores": 1}
    assert (state_of(first), state_of(second)) == (UploadState.STAGED, UploadState.EXPIRED)


def test_staging_is_looked_through_once_however_many_uploads_are_overdue(tmp_path, owner, monkeypatch) -> None:
    make_store(tmp_path)
    for number in range(3):
        deliver(owner, f"{number}.txt")
    Upload.objects.update(expires_at=PAST)
    looks = []
    look = PosixBackend.list_staging
    monkeypatch.setattr(PosixBackend, "list_staging", lambda self: looks.append(1) or look(self))
    assert expire_uploads() == 0  # their staging changed a moment ago
    assert len(looks) == 1
    assert not Upload.objects.filter(expires_at__lt=timezone.now()).exists()
