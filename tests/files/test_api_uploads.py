"""Resumable uploads as the protocol has them: every call, every refusal, and what is left after each."""

import base64
import hashlib
import io
import os
import tarfile

import pytest
import xxhash
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.levels import Level
from accounts.models import User
from accounts.services import issue_token
from files.models import File, Upload, UploadState
from files.services import arrived, arriving_digests, batches, commit, ingest
from files.services.arrivals import CutShort, OffsetMismatch, UploadOver, cancel_upload, receive_piece, take_over
from files.services.claims import Claim
from files.services.sweeping import expire_uploads, finish_commits
from librarian.common.errors import LostRace, StoreUnavailable
from stores.backends import staging as staging_area
from stores.backends.posix import PosixBackend
from stores.models import Store
from tests.make import make_cast, make_file, make_store, make_user
from tests.tus import InProcess, make_tar

pytestmark = pytest.mark.django_db

CONTENT = os.urandom(100_000)
XXH3 = f"xxh3:::{xxhash.xxh3_128(CONTENT).hexdigest()}"


@pytest.fixture(autouse=True)
def store(tmp_path) -> Store:
    make_cast()
    return make_store(tmp_path)


@pytest.fixture
def tus() -> InProcess:
    return InProcess()


@pytest.fixture
def store_goes_away_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next delivery meets an error of the store when its bytes have their place but no row tells of them."""
    write, failures = PosixBackend.append_record, [StoreUnavailable("The disk is away for a moment.")]

    def fail_once(backend: PosixBackend, lines) -> None:
        if failures:
            raise failures.pop()
        write(backend, lines)

    monkeypatch.setattr(PosixBackend, "append_record", fail_once)


def bytes_of(name: str) -> bytes:
    instance = File.objects.get(name=name).instances.present().get()
    return b"".join(instance.store.backend.read(instance.path))


def staging(store: Store) -> list[str]:
    return [token for token, _ in store.backend.list_staging()]


def refused(response, status: int, code: str) -> dict:
    assert response.status_code == status, response.content
    body = response.json()
    assert body["code"] == code
    assert body["reason"]
    assert body["suggested_remedy"]
    assert response.headers["Tus-Resumable"] == "1.0.0"
    return body


# --- What goes well ---------------------------------------------------------------------------------------------------


def test_the_server_says_what_it_can_to_anybody(client) -> None:
    response = client.options("/api/v3/uploads/")
    assert response.status_code == 204
    assert response.headers["Tus-Version"] == "1.0.0"
    assert "creation-with-upload" in response.headers["Tus-Extension"]
    assert "sha1" in response.headers["Tus-Checksum-Algorithm"]
    assert int(response.headers["Tus-Max-Size"]) > 0


def test_a_file_comes_in_pieces_and_is_committed_with_the_last(tus: InProcess, store: Store) -> None:
    begun = tus.begin(len(CONTENT), filename="2457561/night.uvh5", checksum=XXH3, uploader="Ada", obsid="1181073618")
    assert begun.status_code == 201
    location = begun.headers["Location"]
    assert begun.headers["Upload-Offset"] == "0"
    assert "GMT" in begun.headers["Upload-Expires"]
    assert tus.send(location, 0, CONTENT[:40_000]).headers["Upload-Offset"] == "40000"
    head = tus.head(location)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("40000", "100000")
    assert head.headers["Cache-Control"] == "no-store"
    assert "filename" in head.headers["Upload-Metadata"]
    last = tus.send(location, 40_000, CONTENT[40_000:])
    assert last.status_code == 204
    assert last.headers["Librarian-Outcome"] == "new"
    assert last.headers["Librarian-Name"] == "night.uvh5"
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert last.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    file = File.objects.get(name="night.uvh5")
    assert (file.checksum, file.uploader, file.source, file.obsid) == (XXH3, "Ada", "readappend", 1181073618)
    assert bytes_of("night.uvh5") == CONTENT
    assert staging(store) == []
    assert tus.show(location)["file"] == "night.uvh5"


def test_a_small_file_needs_one_request(tus: InProcess) -> None:
    response = tus.whole(b"hello", filename="hello.txt")
    assert (response.status_code, response.headers["Upload-Offset"]) == (201, "5")
    assert response.headers["Librarian-Outcome"] == "new"
    assert bytes_of("hello.txt") == b"hello"


@pytest.mark.parametrize("with_body", [True, False])
def test_an_empty_file_is_a_file(tus: InProcess, with_body: bool) -> None:
    response = tus.begin(0, b"" if with_body else None, filename="empty.log")
    assert response.headers["Librarian-Outcome"] == "new", response.content
    assert bytes_of("empty.log") == b""


def test_a_commit_that_is_asked_for_brings_the_digest(tus: InProcess) -> None:
    location = tus.whole(CONTENT, filename="a", commit="asked").headers["Location"]
    assert not File.objects.exists(), "nobody asked yet"
    assert tus.show(location)["state"] == "staged"
    for _ in range(2):
        answer = tus.commit(location, checksum=XXH3)
        assert answer.status_code == 200
        assert (answer.json()["outcome"], answer.json()["checksum"]) == ("new", XXH3)
    assert tus.send(location, 0, b"again").headers["Upload-Offset"] == "100000", "a repeated last piece is harmless"
    assert File.objects.count() == 1


def test_a_digest_of_another_algorithm_than_was_hashed_is_compared_all_the_same(tus: InProcess) -> None:
    location = tus.whole(CONTENT, filename="a", commit="asked").headers["Location"]
    sha512 = f"sha512:::{hashlib.sha512(CONTENT).hexdigest()}"
    assert tus.commit(location, checksum=sha512).json()["checksum"] == sha512


def test_pieces_that_different_processes_saw_are_read_once_at_the_end(tus: InProcess, monkeypatch) -> None:
    location = tus.begin(len(CONTENT), filename="a", checksum=XXH3).headers["Location"]
    tus.send(location, 0, CONTENT[:1000])
    arriving_digests._kept._by_upload.clear()  # as in a process that saw no piece of it yet
    assert tus.send(location, 1000, CONTENT[1000:]).headers["Librarian-Outcome"] == "new"
    assert File.objects.get().digest == hashlib.sha256(CONTENT).hexdigest()


def test_the_same_bytes_again_are_a_success(tus: InProcess) -> None:
    tus.whole(CONTENT, filename="a", checksum=XXH3)
    sent = tus.whole(CONTENT, filename="other/a")
    assert sent.headers["Librarian-Outcome"] == "already here"
    known = tus.begin(len(CONTENT), filename="a", checksum=XXH3)
    assert (known.status_code, known.headers["Upload-Offset"]) == (201, "100000"), "nothing has to be sent"
    assert known.headers["Librarian-Outcome"] == "already here"
    assert tus.send(known.headers["Location"], 0, CONTENT).status_code == 204
    assert File.objects.count() == 1


def test_a_file_whose_last_copy_is_gone_may_come_again(tus: InProcess) -> None:
    make_file("a", content=CONTENT)
    assert tus.whole(CONTENT, filename="a").headers["Librarian-Outcome"] == "restored"


def test_a_directory_product_comes_as_a_tar(tus: InProcess) -> None:
    members = {"obs.uv/header": b"head", "obs.uv/sub/visdata": b"v" * 9000, "obs.uv/empty": None}
    tar = make_tar(members)
    response = tus.whole(tar, filename="2457561/obs.uv", content="directory")
    assert response.headers["Librarian-Outcome"] == "new"
    file = File.objects.get(name="obs.uv")
    assert (file.kind, file.size_bytes) == ("directory", 9004)
    assert {member.path for member in file.members.all()} == {"header", "sub/visdata", "empty"}
    upload = tus.show(response.headers["Location"])
    assert (upload["size_bytes"], upload["length_bytes"]) == (9004, len(tar))


def test_a_batch_answers_for_each_product(tus: InProcess, store: Store) -> None:
    make_file("taken", content=b"other bytes", store=store)
    members = {f"n/f{n}": os.urandom(100 + n) for n in range(300)}
    tar = make_tar({**members, "taken": b"not those", "n/obs.uv/header": b"h", "n/obs.uv/visdata": b"v", "n/f0x": b""})
    response = tus.whole(tar, content="batch", null_obsid="true", deletion_policy="allowed")
    assert response.status_code == 201, response.content
    products = tus.show(response.headers["Location"])["products"]
    assert [p["outcome"] for p in products] == ["new"] * 300 + ["failed", "new", "new"]
    assert products[300]["code"] == "name_taken"
    assert products[301] | {"checksum": ""} == {
        "path": "n/obs.uv", "name": "obs.uv", "outcome": "new", "size_bytes": 2, "checksum": "",
    }  # fmt: skip
    assert bytes_of("f7") == members["n/f7"]
    assert File.objects.get(name="f7").instances.get().deletion_policy == 1
    assert staging(store) == []
    assert not Upload.objects.live().exists()
    again = tus.whole(tar, content="batch")
    repeated = tus.show(again.headers["Location"])["products"]
    assert [p["outcome"] for p in repeated] == ["already here"] * 300 + ["failed", "already here", "already here"]
    assert [p["checksum"] for p in repeated[:300]] == [p["checksum"] for p in products[:300]]


def test_a_long_look_at_a_tar_keeps_its_claim(tus: InProcess, monkeypatch) -> None:
    """Going through a million entries, or reading one large product, takes longer than a claim is believed."""
    renewed, seen = [], {}

    def counted(name: str, function):
        def call(*args, **options):
            before = len(renewed)
            result = function(*args, **options)
            seen[name] = len(renewed) - before
            return result

        return call

    renew = Claim.renew_if_due
    monkeypatch.setattr(Claim, "renew_if_due", lambda claim, size=0: (renewed.append(claim.upload.pk), renew(claim)))
    monkeypatch.setattr(batches, "batch_products", counted("sorting", batches.batch_products))
    monkeypatch.setattr(ingest, "_compare", counted("comparing", ingest._compare))
    monkeypatch.setattr(staging_area, "write_tree", counted("unpacking", staging_area.write_tree))
    monkeypatch.setattr(staging_area, "adopt", counted("reading", staging_area.adopt))
    tus.whole(b"flat", filename="flat")
    tus.whole(make_tar({"obs.uv/a": b"1", "obs.uv/b": b"2", "flat": b"flat"}), content="batch")
    assert all(seen.values()), seen
    assert seen.keys() == {"sorting", "comparing", "unpacking", "reading"}
    monkeypatch.setattr(arrived, "directory_entries", counted("looking", arrived.directory_entries))
    seen.clear()
    tus.whole(make_tar({"cal.uv/a": b"1"}), filename="cal.uv", content="directory")
    assert all(seen.values()), seen
    assert seen.keys() == {"looking", "unpacking", "reading"}


def test_the_sweeper_finishes_the_batch_of_somebody_who_is_gone(tus: InProcess) -> None:
    tus.whole(make_tar({"a": b"1"}), content="batch", commit="asked")
    Upload.objects.update(owner=None, commit_asked_at=timezone.now())
    assert finish_commits()["finished"] == 1
    assert File.objects.get().events.get(type="instance_created").actor == "readappend"


def test_the_stream_of_a_batch_is_checked_as_a_whole(tus: InProcess, store: Store) -> None:
    tar = make_tar({"a": b"1"})
    location = tus.whole(tar, content="batch", commit="asked").headers["Location"]
    body = refused_plain(tus.commit(location, stream_checksum=f"xxh3:::{'0' * 32}"), 406, "content_mismatch")
    assert xxhash.xxh3_128(tar).hexdigest() in body["reason"]
    assert not File.objects.exists()
    assert staging(store) == []
    location = tus.whole(tar, content="batch", commit="asked").headers["Location"]
    assert tus.commit(location, stream_checksum=f"xxh3:::{xxhash.xxh3_128(tar).hexdigest()}").status_code == 200
    location = tus.whole(tar, content="batch", commit="asked").headers["Location"]
    assert tus.commit(location, stream_checksum=f"md5:::{hashlib.md5(tar).hexdigest()}").status_code == 200


def refused_plain(response, status: int, code: str) -> dict:
    assert (response.status_code, response.json()["code"]) == (status, code), response.content
    return response.json()


def test_giving_up_stops_the_request_that_still_writes(tus: InProcess, store: Store) -> None:
    tus.begin(9 * 2**20, filename="a")
    upload = Upload.objects.get()

    class GivenUp(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 4 * 2**20 and Upload.objects.live().exists():
                cancel_upload(upload, by="its owner")
            return super().read(size)

    with pytest.raises(LostRace):
        receive_piece(upload, source=GivenUp(bytes(9 * 2**20)), offset_bytes=0, piece_bytes=9 * 2**20)
    assert staging(store) == []


def test_what_has_its_place_already_is_finished_and_not_given_up(
    tus: InProcess, store: Store, store_goes_away_once, settings
) -> None:
    refused(tus.whole(b"1", filename="a"), 503, "store_unavailable")
    location = f"uploads/{Upload.objects.get().pk}/"
    refused(tus.call("DELETE", location), 409, "conflict")
    Upload.objects.update(expires_at=timezone.now())
    settings.LIBRARIAN_UPLOAD_EXPIRES_DAYS = 0
    assert expire_uploads() == 0
    assert finish_commits()["finished"] == 1
    assert tus.show(location)["outcome"] == "new"
    assert [entry.place for entry in store.backend.list()] == [File.objects.get().instances.get().path]


def test_a_batch_that_its_store_cut_short_leaves_nothing_that_nobody_knows(
    tus: InProcess, store: Store, store_goes_away_once
) -> None:
    tar = make_tar({"a": b"1", "b": b"2", "c.uv/x": b"3"})
    first = tus.show(tus.whole(tar, content="batch").headers["Location"])
    assert [product["code"] for product in first["products"]] == ["store_unavailable"] * 3
    assert finish_commits()["finished"] == 3
    second = tus.show(tus.whole(tar, content="batch").headers["Location"])
    assert [product["outcome"] for product in second["products"]] == ["already here"] * 3
    assert len(list(store.backend.list())) == File.objects.count() == 3
    assert staging(store) == []
    assert not Upload.objects.live().exists()


def test_an_upload_can_be_given_up(tus: InProcess, store: Store) -> None:
    location = tus.begin(10, b"12345", filename="a").headers["Location"]
    assert tus.call("DELETE", location).status_code == 204
    assert staging(store) == []
    refused(tus.send(location, 5, b"67890"), 410, "upload_over")
    assert tus.head(location).status_code == 410
    assert tus.show(location)["code"] == "upload_cancelled"


@pytest.mark.parametrize("end", ["committed", "given up"])
def test_a_request_that_read_the_row_before_the_end_is_told_of_the_end(tus: InProcess, end: str) -> None:
    location = tus.begin(5, b"12", filename="a").headers["Location"]
    seen, also_seen = Upload.objects.get(), Upload.objects.get()
    if end == "committed":
        tus.send(location, 2, b"345")
        assert take_over(seen) == 5
        with pytest.raises(OffsetMismatch):
            receive_piece(also_seen, source=io.BytesIO(b"345"), offset_bytes=2, piece_bytes=3)
    else:
        tus.call("DELETE", location)
        with pytest.raises(UploadOver):
            take_over(seen)


def test_what_nobody_comes_back_to_expires(tus: InProcess, store: Store) -> None:
    tus.begin(10, b"12345", filename="a")
    Upload.objects.update(expires_at=timezone.now() - timezone.timedelta(days=1))
    for token, _ in store.backend.list_staging():
        path = store.backend.item_location(token)
        os.utime(path.rpartition("/")[0])
    assert expire_uploads() == 0, "its staging changed a moment ago"


def test_methods_may_come_under_another_name(tus: InProcess) -> None:
    location = tus.begin(3, filename="a").headers["Location"]
    sent = tus.call(
        "POST", location, b"abc", "application/offset+octet-stream",
        Upload_Offset="0", X_HTTP_Method_Override="PATCH",
    )  # fmt: skip
    assert (sent.status_code, sent.headers["Librarian-Outcome"]) == (204, "new")


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "status", "code"),
    [
        ({}, 400, "invalid_request"),
        ({"filename": ""}, 400, "invalid_request"),
        ({"filename": "../../etc/passwd"}, 400, "invalid_name"),
        ({"filename": "/etc/passwd"}, 400, "invalid_name"),
        ({"filename": "n" * 257}, 400, "invalid_name"),
        ({"filename": "a\nb"}, 400, "invalid_name"),
        ({"filename": "a\0b"}, 400, "invalid_request"),
        ({"filename": ".librarian/record/x"}, 400, "invalid_name"),
        ({"filename": "a", "checksum": "crc:::1"}, 400, "invalid_checksum"),
        ({"filename": "a", "content": "zip"}, 400, "invalid_request"),
        ({"filename": "a", "commit": "never"}, 400, "invalid_request"),
        ({"filename": "a", "obsid": "-1"}, 400, "invalid_request"),
        ({"filename": "a", "obsid": "1e9"}, 400, "invalid_request"),
        ({"filename": "a", "null_obsid": "maybe"}, 400, "invalid_request"),
        ({"filename": "a", "deletion_policy": "always"}, 400, "invalid_request"),
        ({"filename": "a", "uploader": "u" * 300}, 400, "invalid_request"),
    ],
)
def test_bad_metadata_is_refused(tus: InProcess, store: Store, values: dict, status: int, code: str) -> None:
    refused(tus.whole(b"x", **values), status, code)
    assert not Upload.objects.exists()
    assert staging(store) == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Upload_Length": "-1"}, 400, "invalid_request"),
        ({"Upload_Length": "1e3"}, 400, "invalid_request"),
        ({"Upload_Length": "9" * 30}, 400, "invalid_request"),
        ({"Upload_Length": str(10**17)}, 413, "too_large"),
        ({"Upload_Length": "5", "Upload_Defer_Length": "1"}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
        ({"Upload_Length": "5", "Upload_Metadata": "filename !!"}, 400, "invalid_request"),
        ({"Upload_Length": "5", "Upload_Metadata": "filename YQ==,filename YQ=="}, 400, "invalid_request"),
        ({"Upload_Length": "5", "Upload_Metadata": "filename /w=="}, 400, "invalid_request"),
        ({"Upload_Length": "5", "Upload_Metadata": "k " + "A" * 20_000}, 400, "invalid_request"),
        ({"Upload_Length": "5", "Tus_Resumable": "0.2.2"}, 412, "unsupported_tus_version"),
    ],
)
def test_bad_headers_are_refused(tus: InProcess, headers: dict, status: int, code: str) -> None:
    refused(tus.call("POST", "uploads/", **{"Upload_Metadata": "filename YQ==", **headers}), status, code)
    assert not Upload.objects.exists()


def test_a_piece_must_begin_where_the_upload_stands(tus: InProcess) -> None:
    location = tus.begin(10, b"12345", filename="a").headers["Location"]
    for offset in (0, 4, 6, 10):
        assert refused(tus.send(location, offset, b"x"), 409, "offset_mismatch")["offset_bytes"] == 5
    refused(tus.send(location, 5, b"123456"), 400, "too_many_bytes")
    refused(tus.begin(5, b"123456", filename="b"), 400, "too_many_bytes")
    refused(tus.call("PATCH", location, b"x", "text/plain", Upload_Offset="5"), 415, "unsupported_media_type")
    refused(tus.call("PATCH", location, b"x", "application/offset+octet-stream"), 400, "invalid_request")
    refused(tus.call("PATCH", location, Upload_Offset="5"), 411, "length_required")
    assert tus.head(location).headers["Upload-Offset"] == "5"


def test_a_piece_with_a_wrong_checksum_is_dropped(tus: InProcess) -> None:
    location = tus.begin(10, b"12345", filename="a").headers["Location"]
    wrong = f"sha1 {base64.b64encode(hashlib.sha1(b'other').digest()).decode()}"
    assert refused(tus.send(location, 5, b"67890", Upload_Checksum=wrong), 460, "piece_mismatch")
    assert tus.head(location).headers["Upload-Offset"] == "5"
    refused(tus.send(location, 5, b"67890", Upload_Checksum="crc32 AAAA"), 400, "invalid_request")
    refused(tus.send(location, 5, b"67890", Upload_Checksum="sha1 ?"), 400, "invalid_request")
    right = f"sha1 {base64.b64encode(hashlib.sha1(b'67890').digest()).decode()}"
    assert tus.send(location, 5, b"67890", Upload_Checksum=right).headers["Librarian-Outcome"] == "new"
    assert bytes_of("a") == b"1234567890"


def test_a_piece_that_is_cut_before_it_could_be_checked_is_dropped(tus: InProcess) -> None:
    location = tus.begin(5, filename="a").headers["Location"]
    upload, declared = Upload.objects.get(), ("sha1", hashlib.sha1(b"12345").digest())
    with pytest.raises(CutShort) as cut:
        receive_piece(upload, source=io.BytesIO(b"xx"), offset_bytes=0, piece_bytes=5, piece_checksum=declared)
    assert cut.value.extra["offset_bytes"] == 0
    assert tus.head(location).headers["Upload-Offset"] == "0"
    assert arriving_digests.take_digests(upload.pk, at_bytes=2, algorithms=["sha256"]) is None, "of other bytes"


def test_bytes_are_on_disk_before_a_row_says_that_all_have_come(tus: InProcess, monkeypatch) -> None:
    """Else a power cut leaves an upload that looks complete and a digest of bytes that are not there."""
    synced, known = [], []
    sync, claim = os.fdatasync, commit.take_claim
    monkeypatch.setattr(os, "fdatasync", lambda fd: (sync(fd), synced.append(os.fstat(fd).st_size)))
    monkeypatch.setattr(commit, "take_claim", lambda *args, **rows: (known.append(synced[-1]), claim(*args, **rows))[1])
    tus.whole(CONTENT, filename="a")
    assert known == [len(CONTENT)]


def test_a_checksum_that_is_declared_after_the_commit_is_compared(tus: InProcess) -> None:
    location = tus.whole(CONTENT, filename="a").headers["Location"]
    assert tus.commit(location, checksum=XXH3).status_code == 200
    for wrong in ({"checksum": f"xxh3:::{'0' * 32}"}, {"stream_checksum": f"sha256:::{'0' * 64}"}):
        refused_plain(tus.commit(location, **wrong), 406, "content_mismatch")
    assert tus.show(location)["state"] == "committed"


def test_bytes_that_are_not_those_declared_are_refused(tus: InProcess, store: Store) -> None:
    response = tus.whole(b"x" * len(CONTENT), filename="a", checksum=XXH3)
    body = refused(response, 406, "content_mismatch")
    assert body["expected_checksum"] == XXH3
    assert not File.objects.exists()
    assert staging(store) == []
    assert tus.head(body["location"]).status_code == 410


def test_other_bytes_under_a_used_name_are_a_conflict(tus: InProcess, store: Store) -> None:
    tus.whole(CONTENT, filename="a")
    refused(tus.begin(5, filename="a"), 409, "name_taken")
    assert refused(tus.begin(len(CONTENT), filename="a", checksum=f"xxh3:::{'0' * 32}"), 409, "name_taken")
    body = refused(tus.whole(os.urandom(len(CONTENT)), filename="a"), 409, "name_taken")
    assert body["same_content"] is False
    assert staging(store) == []
    assert bytes_of("a") == CONTENT


def test_the_checksum_of_a_directory_does_not_bind_its_names(tus: InProcess) -> None:
    tus.whole(make_tar({"a": b"1", "b": b"2"}), filename="obs.uv", content="directory")
    other = make_tar({"b": b"1", "a": b"2"})
    begun = tus.begin(len(other), filename="obs.uv", content="directory", checksum=File.objects.get().checksum)
    assert begun.headers["Upload-Offset"] == "0", "only its bytes tell"
    refused(tus.send(begun.headers["Location"], 0, other), 409, "name_taken")


@pytest.mark.parametrize("content", ["directory", "batch"])
@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_links_cannot_multiply_what_was_sent(tus: InProcess, store: Store, content: str, kind: bytes) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        members = [tarfile.TarInfo(f"obs.uv/{n}") for n in range(50)]
        members[0].size = len(CONTENT)
        tar.addfile(members[0], io.BytesIO(CONTENT))
        for link in members[1:]:
            link.type, link.linkname = kind, "obs.uv/0" if kind == tarfile.LNKTYPE else "0"
            tar.addfile(link)
    answer = tus.whole(file.getvalue(), filename="obs.uv", content=content)
    if content == "batch":
        assert [product["code"] for product in tus.show(answer.headers["Location"])["products"]] == ["unsafe_product"]
    else:
        refused(answer, 400, "unsafe_product")
    assert not File.objects.exists()
    assert staging(store) == []


def test_a_commit_before_the_last_byte_is_refused(tus: InProcess) -> None:
    location = tus.begin(10, b"12345", filename="a", commit="asked").headers["Location"]
    refused_plain(tus.commit(location), 409, "upload_incomplete")
    refused_plain(tus.client.post(f"{location}commit", {"checksum": 5, "x": 1}, content_type="text/plain"), 415,
                  "unsupported_media_type")  # fmt: skip
    tus.send(location, 5, b"67890")
    refused_plain(tus.commit(location, checksum="nonsense"), 400, "invalid_checksum")
    assert tus.commit(location).json()["outcome"] == "new"


def test_a_tar_that_tries_something_leaves_nothing(tus: InProcess, store: Store) -> None:
    for content, member in (("batch", "../../etc/passwd"), ("directory", "obs.uv/../../x"), ("batch", "/abs")):
        tar = make_tar({"good": b"1", member: b"x"}) if content == "batch" else make_tar({member: b"x"})
        response = tus.whole(tar, filename="obs.uv", content=content)
        assert response.status_code == 400, response.content
        assert response.json()["code"] in ("bad_tar", "unsafe_product")
    refused(tus.whole(b"no tar at all" * 100, filename="obs.uv", content="directory"), 400, "bad_tar")
    refused(tus.whole(make_tar({}), filename="obs.uv", content="directory"), 400, "bad_tar")
    refused(tus.whole(make_tar({}), content="batch"), 400, "bad_tar")
    assert not File.objects.exists()
    assert staging(store) == []
    assert not Upload.objects.live().exists()


def test_a_full_store_takes_nothing(tus: InProcess, store: Store) -> None:
    Store.objects.update(free_bytes=1000, capacity_bytes=1000)
    refused(tus.begin(2000, filename="a"), 413, "no_store_available")
    refused(tus.begin(600, filename="a.uv", content="directory"), 413, "no_store_available")
    assert tus.begin(600, filename="a").status_code == 201
    refused(tus.begin(600, filename="b"), 413, "no_store_available"), "room is held for the first"


def test_a_disk_that_fills_up_half_way_keeps_what_came(tus: InProcess, store: Store, mounted) -> None:
    Store.objects.all().delete()
    make_store(mounted)
    content = os.urandom(5 * 2**20)
    location = tus.begin(len(content), content[: 2**20], filename="a").headers["Location"]
    filler = mounted / "filler"
    filler.write_bytes(bytes(5 * 2**20))
    refused(tus.send(location, 2**20, content[2**20 :]), 413, "store_full")
    arrived = int(tus.head(location).headers["Upload-Offset"])
    assert 2**20 < arrived < len(content)
    filler.unlink()
    assert tus.send(location, arrived, content[arrived:]).headers["Librarian-Outcome"] == "new"
    assert bytes_of("a") == content


# --- Who may ----------------------------------------------------------------------------------------------------------


def test_an_upload_is_its_owners(tus: InProcess) -> None:
    make_user("stranger", level=Level.READAPPEND)
    location = tus.begin(10, b"12345", filename="a", commit="asked").headers["Location"]
    stranger, admin = InProcess("stranger"), InProcess("admin")
    assert stranger.head(location).status_code == 404
    refused(stranger.send(location, 5, b"67890"), 404, "not_found")
    refused(stranger.call("DELETE", location), 404, "not_found")
    refused_plain(stranger.commit(location), 404, "not_found")
    assert stranger.call("GET", "uploads/").json()["results"] == []
    assert admin.show(location)["offset_bytes"] == 5
    refused(admin.send(location, 5, b"67890"), 403, "level_too_low")
    assert len(admin.call("GET", "uploads/").json()["results"]) == 1
    assert admin.call("DELETE", location).status_code == 204


def test_a_token_that_ends_half_way_stops_the_upload_and_another_goes_on(tus: InProcess) -> None:
    user = User.objects.get(username="readappend")
    issued, text = issue_token(user=user, name="t", actor=user, level=Level.READAPPEND, expires_at=None)
    first = InProcess(authorization=f"Bearer {text}")
    location = first.begin(10, b"12345", filename="a").headers["Location"]
    issued.revoked_at = timezone.now()
    issued.save()
    refused(first.send(location, 5, b"67890"), 401, "authentication_required")
    assert tus.send(location, 5, b"67890").headers["Librarian-Outcome"] == "new"


@pytest.mark.parametrize("change", [{"is_active": False}, {"level": Level.READONLY}])
def test_who_may_no_longer_write_when_the_last_byte_comes_commits_nothing(tus: InProcess, change, monkeypatch) -> None:
    location = tus.begin(10, b"12345", filename="a").headers["Location"]
    from files.api import uploads

    def receive_and_change(*args, **kwargs):
        User.objects.filter(username="readappend").update(**change)  # while the piece is on its way
        return original(*args, **kwargs)

    original = uploads.receive_piece
    monkeypatch.setattr(uploads, "receive_piece", receive_and_change)
    assert tus.send(location, 5, b"67890").status_code in (401, 403)
    assert not File.objects.exists()


def test_half_of_the_threads_take_uploads_and_no_more(tus: InProcess, settings) -> None:
    from files.api.slots import _slots

    held = 0
    while _slots.acquire(blocking=False):
        held += 1
    try:
        assert held == settings.LIBRARIAN_WEB_THREADS // 2
        response = tus.whole(b"x", filename="a")
        body = refused(response, 503, "uploads_busy")
        assert response.headers["Retry-After"]
        assert tus.call("GET", "files/").status_code == 200, "the other half answers"
    finally:
        for _ in range(held):
            _slots.release()
    assert tus.send(body["location"], 0, b"x").headers["Librarian-Outcome"] == "new"


def test_states_of_uploads_are_listed(tus: InProcess) -> None:
    tus.whole(b"1", filename="a")
    tus.begin(5, filename="b")
    results = tus.call("GET", "uploads/?state=staged").json()["results"]
    assert [row["destination"] for row in results] == ["b"]
    assert Upload.objects.filter(state=UploadState.COMMITTED).get().outcome == "new"


def test_a_list_of_uploads_leaves_the_answers_of_batches_where_they_are(tus: InProcess) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert tus.call("GET", "uploads/").status_code == 200
    assert not [query["sql"] for query in queries if '"products"' in query["sql"]]
