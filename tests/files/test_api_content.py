"""`/api/v3/files/{name}/content`: whole files, ranges, conditions, tar streams, members, copies that are not good."""

import base64
import errno
import hashlib
import io
import os
import shutil
import tarfile

import pytest

from files.models import Condition, FileEvent, Instance, Presence
from files.services.download import BrokenRead
from files.services.findings import Finding, record_bad_copy
from librarian.common.models import ErrorRecord
from tests.asking import Api, body_of
from tests.make import bytes_path, make_cast, make_file, make_instance, make_remote_instance, make_store

CONTENT = bytes(range(256)) * 40
SHA = hashlib.sha256(CONTENT).hexdigest()
LONG = "d" * 90 + "/" + "ü" * 60
PRODUCT = {"header": b"hhh", "visdata": b"v" * 70_000, "empty": None, "sub/flags": b"", LONG: b"far away"}


@pytest.fixture
def api(db):
    make_cast()
    return Api("readonly")


@pytest.fixture
def first(db, tmp_path):
    return make_store(tmp_path, name="first")


@pytest.fixture
def second(db, tmp_path):
    return make_store(tmp_path, name="second")


@pytest.fixture
def file(first):
    return make_file("zen.x.uvh5", content=CONTENT, store=first)


@pytest.fixture
def product(first):
    return make_file("zen.x.uv", content=PRODUCT, store=first)


# --- Flat files -------------------------------------------------------------------------------------------------------


def test_a_flat_file_comes_whole_with_what_checks_it(api, file):
    response = api.get("files/zen.x.uvh5/content")
    assert response.status_code == 200
    assert body_of(response) == CONTENT
    assert response["Content-Length"] == str(len(CONTENT))
    assert response["ETag"] == f'"{SHA}"'
    assert response["Repr-Digest"] == f"sha-256=:{base64.b64encode(bytes.fromhex(SHA)).decode()}:"
    assert response["Content-Type"] == "application/octet-stream"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Accept-Ranges"] == "bytes"
    assert response["Content-Disposition"] == 'attachment; filename="zen.x.uvh5"'


def test_head_tells_the_same_without_the_bytes(api, file):
    whole, head = api.get("files/zen.x.uvh5/content"), api.head("files/zen.x.uvh5/content")
    body_of(whole)
    assert head.status_code == 200
    assert body_of(head) == b""
    for name in ("Content-Length", "ETag", "Repr-Digest", "Content-Type", "Accept-Ranges", "Content-Disposition"):
        assert head[name] == whole[name]


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=10000-", 10000, 10239),
        ("bytes=-5", 10235, 10239),
        ("bytes=-99999", 0, 10239),
        ("bytes=10239-99999", 10239, 10239),
        (f"bytes=1-{'9' * 4000}", 1, 10239),
        ("Bytes = 3 - 4", 3, 4),
    ],
)
def test_one_range_is_answered_in_part(api, file, asked, begin, end):
    response = api.get("files/zen.x.uvh5/content", headers={"Range": asked})
    assert response.status_code == 206
    assert response["Content-Range"] == f"bytes {begin}-{end}/10240"
    assert response["Content-Length"] == str(end - begin + 1)
    assert body_of(response) == CONTENT[begin : end + 1]
    assert response["Repr-Digest"].startswith("sha-256=:")


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,4-5", "bytes=5-4", "bytes=-", "lines=0-1", "bytes=a-b", "bytes 0-1", "", "٣"]
)
def test_what_is_not_one_range_is_answered_in_whole(api, file, asked):
    response = api.get("files/zen.x.uvh5/content", headers={"Range": asked})
    assert response.status_code == 200
    assert body_of(response) == CONTENT


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=-0", f"bytes={'9' * 5000}-"])
def test_a_range_behind_the_end_is_refused_with_the_size(api, file, asked):
    response = api.get("files/zen.x.uvh5/content", headers={"Range": asked})
    assert response.status_code == 416
    assert response["Content-Range"] == "bytes */10240"
    assert response.json()["code"] == "range_not_satisfiable"


def test_an_empty_file_comes_and_has_no_ranges(api, first):
    make_file("empty", content=b"", store=first)
    assert body_of(api.get("files/empty/content")) == b""
    assert api.get("files/empty/content", headers={"Range": "bytes=0-"}).status_code == 416


def test_if_range_of_other_bytes_brings_the_whole(api, file):
    def status(tag):
        return api.get("files/zen.x.uvh5/content", headers={"Range": "bytes=0-1", "If-Range": tag}).status_code

    assert status(f'"{SHA}"') == 206
    assert status('"other"') == 200
    assert status(f'W/"{SHA}"') == 200
    assert status("Fri, 20 Nov 2026 12:00:00 GMT") == 200


def test_bytes_that_the_caller_has_are_not_sent_again(api, file):
    for known in (f'"{SHA}"', f'"a", W/"{SHA}"', "*"):
        response = api.get("files/zen.x.uvh5/content", headers={"If-None-Match": known})
        assert response.status_code == 304
        assert body_of(response) == b""
        assert response["ETag"] == f'"{SHA}"'
    assert api.get("files/zen.x.uvh5/content", headers={"If-None-Match": '"a"'}).status_code == 200
    assert api.get("files/zen.x.uvh5/content", headers={"If-Match": '"a"'}).status_code == 412
    assert api.get("files/zen.x.uvh5/content", headers={"If-Match": f'"{SHA}"'}).status_code == 200


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ('a "quoted" \\ name', 'attachment; filename="a \\"quoted\\" \\\\ name"'),
        ("a;b=c.txt", 'attachment; filename="a;b=c.txt"'),
        ("ü.txt", "attachment; filename*=utf-8''%C3%BC.txt"),
    ],
)
def test_any_name_makes_a_safe_header(api, first, name, header):
    from urllib.parse import quote

    make_file(name, store=first)
    response = api.get(f"files/{quote(name)}/content")
    assert response["Content-Disposition"] == header


def test_any_accept_header_brings_the_bytes_and_errors_are_json(api, file):
    assert body_of(api.get("files/zen.x.uvh5/content", headers={"Accept": "image/png"})) == CONTENT
    response = api.get("files/none/content", headers={"Accept": "image/png"})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_downloads_need_readonly_and_know_only_their_parameter(api, file):
    assert Api("none").get("files/zen.x.uvh5/content").status_code == 403
    assert Api("stranger").get("files/zen.x.uvh5/content").status_code == 401
    assert "members" in api.refusal("files/zen.x.uvh5/content", members="x")["reason"]


def test_a_download_costs_few_queries(api, file, django_assert_max_num_queries):
    api.get("files/zen.x.uvh5/content")
    with django_assert_max_num_queries(3):  # account; file; its copies with stores
        body_of(api.get("files/zen.x.uvh5/content"))


# --- Directory products -----------------------------------------------------------------------------------------------


def test_a_directory_product_comes_as_a_tar_of_the_announced_length(api, product):
    response = api.get("files/zen.x.uv/content")
    body = body_of(response)
    assert response.status_code == 200
    assert len(body) == int(response["Content-Length"])
    assert response["Content-Type"] == "application/x-tar"
    assert 'filename="zen.x.uv.tar"' in response["Content-Disposition"]
    assert "Repr-Digest" not in response
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        found = {
            entry.name: archive.extractfile(entry).read() if entry.isfile() else None for entry in archive.getmembers()
        }
        assert all((entry.uid, entry.gid, entry.uname) == (0, 0, "") for entry in archive)
    assert found == {"zen.x.uv": None, **{f"zen.x.uv/{path}": content for path, content in PRODUCT.items()}}


def test_the_tar_is_the_same_from_every_copy_and_head_knows_its_length(api, product, first, second):
    once = body_of(api.get("files/zen.x.uv/content"))
    make_instance(product, second, content=PRODUCT, place="elsewhere/p")
    Instance.objects.filter(store=first).update(presence=Presence.GONE)
    response = api.get("files/zen.x.uv/content")
    assert body_of(response) == once
    head = api.head("files/zen.x.uv/content")
    assert (body_of(head), head["Content-Length"], head["ETag"]) == (b"", str(len(once)), response["ETag"])
    assert api.get("files/zen.x.uv/content", headers={"If-None-Match": response["ETag"]}).status_code == 304


def test_tar_reads_members_in_batches(api, first, monkeypatch):
    monkeypatch.setattr("files.services.tar_stream._BATCH_MEMBERS", 3)
    content = {f"f{number:02}": str(number).encode() for number in range(10)}
    make_file("many", content=content, store=first)
    with tarfile.open(fileobj=io.BytesIO(body_of(api.get("files/many/content")))) as archive:
        assert len(archive.getmembers()) == 11


def test_one_member_comes_like_a_flat_file(api, product):
    response = api.get("files/zen.x.uv/content", member=LONG)
    assert body_of(response) == b"far away"
    assert response["ETag"] == f'"{hashlib.sha256(b"far away").hexdigest()}"'
    part = api.get("files/zen.x.uv/content", member="visdata", headers={"Range": "bytes=-10"})
    assert (part.status_code, body_of(part)) == (206, b"v" * 10)
    assert api.head("files/zen.x.uv/content", member="visdata")["Content-Length"] == "70000"


@pytest.mark.parametrize(
    "member", ["../zen.x.uvh5", "/etc/passwd", "empty", "sub", "sub/../header", "a\x00b", "x" * 5000]
)
def test_a_member_that_the_catalogue_does_not_know_never_reaches_the_disk(api, product, member):
    assert "no member" in api.refusal("files/zen.x.uv/content", 404, member=member)["reason"]


def test_a_flat_file_has_no_members(api, file):
    assert "flat file" in api.refusal("files/zen.x.uvh5/content", 404, member="x")["reason"]


# --- Copies that are not what their rows say --------------------------------------------------------------------------


def damage_missing(path):
    path.unlink()


def damage_short(path):
    os.truncate(path, 100)


def damage_longer(path):
    with path.open("ab") as stream:
        stream.write(b"more")


def damage_kind(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "condition", "category"),
    [
        (damage_missing, "missing", "data_availability"),
        (damage_short, "short", "data_integrity"),
        (damage_longer, "different", "data_integrity"),
        (damage_kind, "different", "data_integrity"),
    ],
)
def test_a_wrong_copy_is_never_served_and_another_is(api, file, first, second, damage, condition, category):
    Instance.objects.filter(store=first).update(condition_at="2099-01-01T00:00:00Z")  # tried first
    make_instance(file, second, content=CONTENT, place="elsewhere/x")
    damage(bytes_path(first, "2457561/zen.x.uvh5"))
    assert body_of(api.get("files/zen.x.uvh5/content")) == CONTENT
    bad = Instance.objects.get(store=first)
    assert (bad.condition, bad.presence) == (condition, Presence.PRESENT)
    assert Instance.objects.get(store=second).condition == Condition.GOOD
    event = FileEvent.objects.get(file=file, type="copy_found_bad")
    assert f'"condition":"{condition}"' in event.text
    error = ErrorRecord.objects.get()
    assert (error.category, error.code, error.count) == (category, f"copy_{condition}", 1)
    assert "first" in error.message


def test_without_another_copy_the_reasons_are_told(api, file, first):
    damage_short(bytes_path(first, "2457561/zen.x.uvh5"))
    for method in (api.get, api.head):
        response = method("files/zen.x.uvh5/content")
        assert response.status_code == 503
    body = api.refusal("files/zen.x.uvh5/content", 503)
    assert body["code"] == "no_readable_copy"
    assert "first: the copy is short" in body["copies"]


def test_a_store_that_is_away_proves_nothing(api, file, first):
    shutil.move(first.configuration["root"], first.configuration["root"] + ".away")
    body = api.refusal("files/zen.x.uvh5/content", 503)
    assert body["copies"][0].startswith("first: ")
    assert Instance.objects.get().condition == Condition.GOOD
    assert not ErrorRecord.objects.filter(code__startswith="copy_").exists()


def test_an_empty_mount_point_proves_nothing(api, file, first):
    root = bytes_path(first, "")
    shutil.move(root, f"{root}.away")
    root.mkdir()
    api.refusal("files/zen.x.uvh5/content", 503)
    assert Instance.objects.get().condition == Condition.GOOD


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"enabled": False}, "switched off"),
        ({"available": False, "availability_reason": "not mounted"}, "not mounted"),
        ({"hosts": ["another-host"]}, "another-host"),
    ],
)
def test_a_store_that_this_host_cannot_read_is_left_alone(api, file, first, second, changes, said):
    type(first).objects.filter(pk=first.pk).update(**changes)
    assert said in api.refusal("files/zen.x.uvh5/content", 503)["copies"][0]
    make_instance(file, second, content=CONTENT)
    assert body_of(api.get("files/zen.x.uvh5/content")) == CONTENT


def test_a_copy_seen_good_is_read_before_one_that_could_not_be_looked_at(api, file, first, second):
    Instance.objects.update(condition=Condition.UNKNOWN, condition_at="2099-01-01T00:00:00Z")
    make_instance(file, second, content=CONTENT)
    damage_missing(bytes_path(first, "2457561/zen.x.uvh5"))
    assert body_of(api.get("files/zen.x.uvh5/content")) == CONTENT
    assert Instance.objects.get(store=first).condition == Condition.UNKNOWN  # nobody had to look at it


def test_a_finding_counts_only_while_the_store_is_there_and_the_row_as_it_was(file, first):
    finding = Finding(Condition.MISSING, "nothing lies there.")
    seen = Instance.objects.get()
    Instance.objects.update(presence=Presence.LEAVING)
    assert not record_bad_copy(instance=seen, finding=finding, actor="a test")
    Instance.objects.update(presence=Presence.PRESENT)
    root = first.configuration["root"]
    shutil.move(root, f"{root}.away")
    assert not record_bad_copy(instance=seen, finding=finding, actor="a test")
    assert Instance.objects.get().condition == Condition.GOOD
    assert not ErrorRecord.objects.exists()
    shutil.move(f"{root}.away", root)
    assert record_bad_copy(instance=seen, finding=finding, actor="a test")
    assert Instance.objects.get().condition == Condition.MISSING


def test_a_file_without_copies_here_says_where_they_are(api, file):
    Instance.objects.update(presence=Presence.GONE)
    assert api.refusal("files/zen.x.uvh5/content", 404)["code"] == "no_copy_here"
    make_remote_instance(file, peer="north")
    body = api.refusal("files/zen.x.uvh5/content", 404)
    assert "north" in body["suggested_remedy"]
    assert body["remote_copies"] == ["north"]


def test_a_copy_set_aside_is_not_served(api, file):
    Instance.objects.update(presence=Presence.SET_ASIDE)
    assert "set aside" in api.refusal("files/zen.x.uvh5/content", 503)["copies"][0]


def test_a_read_that_ends_early_breaks_the_stream(api, first, second):
    big = b"z" * 9_000_000
    file = make_file("big", content=big, store=first)
    response = api.get("files/big/content")
    blocks = iter(response.streaming_content)
    next(blocks)
    damage_short(bytes_path(first, "2457561/big"))
    with pytest.raises(BrokenRead):
        for _ in blocks:
            pass
    assert Instance.objects.get(file=file).condition == Condition.SHORT


def test_a_disk_that_does_not_give_the_bytes_makes_a_copy_unreadable(api, file, first, second, monkeypatch):
    Instance.objects.filter(store=first).update(condition_at="2099-01-01T00:00:00Z")  # tried first
    make_instance(file, second, content=CONTENT)
    pread = os.pread
    bad = bytes_path(first, "2457561/zen.x.uvh5").stat().st_ino

    def failing(fd, length, offset):
        if os.fstat(fd).st_ino == bad:
            raise OSError(errno.EIO, "Input/output error")
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", failing)
    assert body_of(api.get("files/zen.x.uvh5/content")) == CONTENT
    assert Instance.objects.get(store=first).condition == Condition.UNREADABLE
    assert ErrorRecord.objects.get().code == "copy_unreadable"


def test_a_disk_that_does_not_give_a_member_makes_its_copy_unreadable(api, product, first, monkeypatch):
    def failing(fd, length, offset):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    assert api.head("files/zen.x.uv/content", member="header").status_code == 503
    assert Instance.objects.get().condition == Condition.UNREADABLE


def test_a_member_that_links_to_another_member_is_sent_as_its_bytes(api, product, first):
    folder = bytes_path(first, "2457561/zen.x.uv")
    (folder / "header").rename(folder / "header.real")
    (folder / "header").symlink_to("header.real")
    assert body_of(api.get("files/zen.x.uv/content", member="header")) == b"hhh"


@pytest.mark.parametrize(
    ("content", "condition"), [(b"h", "short"), (b"hhhh", "different"), (None, "missing"), (b"", "short")]
)
def test_a_wrong_member_is_not_served(api, product, first, content, condition):
    member = bytes_path(first, "2457561/zen.x.uv/header")
    member.unlink()
    if content is not None:
        member.write_bytes(content)
    api.refusal("files/zen.x.uv/content", 503, member="header")
    assert Instance.objects.get().condition == condition


def test_an_empty_member_comes_and_one_that_should_be_empty_does_not(api, product, first):
    assert body_of(api.get("files/zen.x.uv/content", member="sub/flags")) == b""
    bytes_path(first, "2457561/zen.x.uv/sub/flags").write_bytes(b"x")
    api.refusal("files/zen.x.uv/content", 503, member="sub/flags")
    assert Instance.objects.get().condition == Condition.DIFFERENT


def test_a_member_that_leads_out_of_the_product_is_not_served(api, product, first, file):
    member = bytes_path(first, "2457561/zen.x.uv/header")
    member.unlink()
    member.symlink_to("../zen.x.uvh5")
    api.refusal("files/zen.x.uv/content", 503, member="header")


def test_a_member_that_vanished_breaks_the_tar(api, product, first):
    response = api.get("files/zen.x.uv/content")
    bytes_path(first, "2457561/zen.x.uv/visdata").unlink()
    with pytest.raises(BrokenRead):
        body_of(response)
    assert Instance.objects.get().condition == Condition.MISSING


# --- Behind nginx -----------------------------------------------------------------------------------------------------


def test_behind_nginx_the_bytes_are_handed_over_by_path(api, first, settings):
    settings.LIBRARIAN_ACCEL_PREFIX = "/accel/"
    make_file("a b?#%ü", content=CONTENT, store=first)
    response = api.get("files/a b%3F%23%25%C3%BC/content")
    assert response.status_code == 200
    assert response["X-Accel-Redirect"] == "/accel/first/2457561/a%20b%3F%23%25%C3%BC"
    assert response["ETag"] == f'"{SHA}"'
    assert body_of(response) == b""


def test_behind_nginx_a_wrong_copy_is_not_served_either(api, file, first, settings):
    settings.LIBRARIAN_ACCEL_PREFIX = "/accel"
    damage_short(bytes_path(first, "2457561/zen.x.uvh5"))
    assert api.get("files/zen.x.uvh5/content").status_code == 503


def test_behind_nginx_tar_streams_still_come_from_here(api, product, settings):
    settings.LIBRARIAN_ACCEL_PREFIX = "/accel"
    response = api.get("files/zen.x.uv/content")
    assert "X-Accel-Redirect" not in response
    assert len(body_of(response)) == int(response["Content-Length"])
    member = api.get("files/zen.x.uv/content", member="sub/flags")
    assert member["X-Accel-Redirect"] == "/accel/first/2457561/zen.x.uv/sub/flags"
