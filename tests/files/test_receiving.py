"""What peers have brought into staging: read back from disk, compared, taken in; each product answered for itself."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from django.utils import timezone

from accounts.levels import Level
from files.models import File, Instance, Upload, UploadState
from files.services.claims import claimed_until, new_claim
from files.services.receiving import receive_staged
from files.services.registration import Outcome
from files.services.uploads import CloneOffer, reserved_bytes_by_store, stage_clones, staging_location
from hera_librarian.checksums import new_hasher
from librarian.common.errors import Busy, ContentMismatch, NameTaken, NoStore
from tests.make import bytes_path, make_file, make_store, make_user, tree_digest, write_bytes

pytestmark = pytest.mark.django_db
TREE = {"header": b"a header", "visdata": b"x" * 5000, "empty": None}


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def peer():
    return make_user("north", level=Level.READAPPEND)


def xxh3(content: bytes) -> str:
    hasher = new_hasher("xxh3")
    hasher.update(content)
    return f"xxh3:::{hasher.hexdigest()}"


def offer(name: str, content: bytes, **changes: object) -> CloneOffer:
    fields = {"size_bytes": len(content), "checksum": xxh3(content), "digest": hashlib.sha256(content).hexdigest()}
    return CloneOffer(destination=name, uploader="ann", source="north", kind="flat", **{**fields, **changes})


def stage(peer, *offers: CloneOffer) -> list[Upload]:
    return stage_clones(owner=peer, offers=offers, deletion_policy=0)[1]


def bring(upload: Upload, content) -> None:
    write_bytes(Path(staging_location(upload)), content)


def test_a_batch_is_taken_in_with_what_its_sender_told(peer, store) -> None:
    told = timezone.now() - timezone.timedelta(days=9)
    contents = {f"zen.{n}.uvh5": os.urandom(100 + n) for n in range(20)}
    offers = [offer(name, content, obsid=1192201262, first_registered_at=told) for name, content in contents.items()]
    uploads = stage(peer, *offers)
    for upload, content in zip(uploads, contents.values(), strict=True):
        bring(upload, content)
    answers = receive_staged([upload.pk for upload in uploads])
    for upload, (name, content) in zip(uploads, contents.items(), strict=True):
        file = answers[upload.pk].file
        assert (file.name, file.uploader, file.source, file.obsid) == (name, "ann", "north", 1192201262)
        assert file.first_registered_at == told
        assert answers[upload.pk].store_id == store.pk
        assert bytes_path(store, file.instances.get().path).read_bytes() == content
    assert list(store.backend.list_staging()) == []
    assert reserved_bytes_by_store() == {}


def test_repeating_it_gives_the_same_answers(peer, store) -> None:
    (upload,) = stage(peer, offer("a.uvh5", b"bytes"))
    bring(upload, b"bytes")
    first = receive_staged([upload.pk])[upload.pk]
    again = receive_staged([upload.pk])[upload.pk]
    assert (again.file, again.store_id) == (first.file, first.store_id)
    assert File.objects.count() == Instance.objects.count() == 1


def test_other_bytes_are_kept_aside_and_their_neighbours_go_on(peer, store) -> None:
    uploads = stage(peer, offer("bad.uvh5", b"right bytes"), offer("good.uvh5", b"good"))
    bring(uploads[0], b"wrong bytes")
    bring(uploads[1], b"good")
    answers = receive_staged([upload.pk for upload in uploads])
    bad = answers[uploads[0].pk]
    assert isinstance(bad.error, ContentMismatch)
    assert xxh3(b"right bytes") in bad.error.reason
    assert xxh3(b"wrong bytes") in bad.error.reason
    assert bytes_path(store, bad.kept_aside_at).read_bytes() == b"wrong bytes"
    assert answers[uploads[1].pk].file.name == "good.uvh5"
    assert set(File.objects.values_list("name", flat=True)) == {"good.uvh5"}
    assert Upload.objects.get(pk=uploads[0].pk).state == UploadState.FAILED


def test_the_digest_counts_beside_the_checksum(peer, store) -> None:
    """The wire's checksum of a directory binds no names: two trees may share it."""
    swapped = {"a": b"1", "b": b"2"}
    (upload,) = stage(
        peer,
        CloneOffer(
            destination="n.uv",
            size_bytes=2,
            checksum="md5:::" + _tree_checksum({"a": b"2", "b": b"1"}),
            digest=tree_digest({"a": b"2", "b": b"1"}),
            uploader="ann",
            source="north",
            kind="directory",
        ),
    )
    bring(upload, swapped)
    assert isinstance(receive_staged([upload.pk])[upload.pk].error, ContentMismatch)


def _tree_checksum(members) -> str:
    """md5 of a directory by the wire's rule (reference 3.4), as our own reader of trees finds it."""
    from hera_librarian.checksums import new_hasher as hasher_of

    whole = hasher_of("md5")
    for content in sorted(hashlib.md5(part).hexdigest() for part in members.values()):
        whole.update(content.encode())
    return whole.hexdigest()


def test_bytes_are_read_from_the_disk_after_they_were_synced(peer, store, monkeypatch) -> None:
    """A page cache that lies must not be believed: it is told to forget before every byte is read."""
    (upload,) = stage(peer, offer("a.uvh5", b"bytes"))
    bring(upload, b"bytes")
    order: list[str] = []
    forget, read = os.posix_fadvise, os.read
    monkeypatch.setattr(os, "posix_fadvise", lambda *a: (order.append("forget") if a[3] == 4 else None, forget(*a))[1])
    monkeypatch.setattr(os, "read", lambda *a: (order.append("read"), read(*a))[1])
    receive_staged([upload.pk])
    assert "forget" in order
    assert order.index("forget") < order.index("read")


def test_what_did_not_come_fails_alone(peer, store) -> None:
    uploads = stage(peer, offer("a.uvh5", b"a"), offer("b.uvh5", b"b"))
    bring(uploads[1], b"b")
    answers = receive_staged([upload.pk for upload in uploads])
    assert answers[uploads[0].pk].error.code == "nothing_staged"
    assert answers[uploads[1].pk].file is not None


def test_bytes_that_are_here_already_are_a_success(peer, store) -> None:
    held = make_file("a.uvh5", content=b"bytes", store=store)
    (upload,) = stage(peer, offer("a.uvh5", b"bytes"))
    bring(upload, b"bytes")
    received = receive_staged([upload.pk])[upload.pk]
    assert (received.file, received.store_id) == (held, store.pk)
    assert Upload.objects.get(pk=upload.pk).outcome == Outcome.ALREADY_HERE
    assert list(store.backend.list_staging()) == []


def test_another_content_under_the_name_is_refused(peer, store) -> None:
    make_file("a.uvh5", content=b"other", store=store)
    (upload,) = stage(peer, offer("a.uvh5", b"bytes"))
    bring(upload, b"bytes")
    assert isinstance(receive_staged([upload.pk])[upload.pk].error, NameTaken)


def test_a_store_that_is_away_keeps_what_it_has(peer, store) -> None:
    (upload,) = stage(peer, offer("a.uvh5", b"bytes"))
    bring(upload, b"bytes")
    marker = Path(store.configuration["root"], ".librarian/store.json")
    hidden = marker.rename(marker.with_suffix(".hidden"))
    received = receive_staged([upload.pk])[upload.pk]
    assert received.error.passing
    row = Upload.objects.get(pk=upload.pk)
    assert (row.state, row.claim) == (UploadState.STAGED, "")
    hidden.rename(marker)
    assert receive_staged([upload.pk])[upload.pk].file is not None


def test_who_commits_it_already_is_left_alone(peer, store) -> None:
    (upload,) = stage(peer, offer("a.uvh5", b"bytes"))
    bring(upload, b"bytes")
    Upload.objects.filter(pk=upload.pk).update(claim=new_claim(), claim_until=claimed_until())
    assert isinstance(receive_staged([upload.pk])[upload.pk].error, Busy)
    Upload.objects.filter(pk=upload.pk).update(claim_until=timezone.now() - timezone.timedelta(seconds=1))
    assert receive_staged([upload.pk])[upload.pk].file is not None


def test_a_directory_may_come_as_itself_or_as_a_stream(peer, store) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in TREE.items():
            info = tarfile.TarInfo(f"n1.uv/{name}")
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
    size = sum(len(part or b"") for part in TREE.values())
    offers = [
        CloneOffer(
            destination=f"n{n}.uv",
            size_bytes=size,
            checksum="",
            digest=tree_digest(TREE),
            uploader="ann",
            source="north",
            kind="directory",
            stream_bytes=len(stream.getvalue()),
        )
        for n in (1, 2)
    ]
    streamed, copied = stage(peer, *offers)
    Path(staging_location(streamed)).with_name("received").write_bytes(stream.getvalue())
    bring(copied, TREE)
    answers = receive_staged([streamed.pk, copied.pk])
    for upload in (streamed, copied):
        assert answers[upload.pk].file.digest == tree_digest(TREE), answers[upload.pk].error


def test_room_for_a_batch_is_reserved_or_nothing_is(peer, store) -> None:
    with pytest.raises(NoStore):
        stage(peer, offer("a.uvh5", b"a"), offer("b.uvh5", b"b", size_bytes=10**12))
    assert not Upload.objects.exists()
    stage(peer, offer("a.uvh5", b"a" * 50), offer("b.uvh5", b"b" * 70))
    assert reserved_bytes_by_store() == {store.pk: 120}


def test_many_files_cost_few_queries(peer, store, django_assert_max_num_queries) -> None:
    uploads = stage(peer, *[offer(f"zen.{n}.uvh5", b"%d" % n) for n in range(100)])
    for n, upload in enumerate(uploads):
        bring(upload, b"%d" % n)
    with django_assert_max_num_queries(100 * 3 + 40):  # a savepoint and an update per claimed name, the rest in bulk
        receive_staged([upload.pk for upload in uploads])
    assert File.objects.count() == 100
