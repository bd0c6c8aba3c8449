"""Bad input is answered with a clear error, and nothing is left behind: no file, no live upload, nothing in staging."""

import json
from pathlib import Path

import pytest

from files.models import File, Upload
from stores.models import Store
from tests.make import make_store
from tests.wire.caller import HELLO, HELLO_CHECKSUM

GOOD = {
    "upload_size": 18,
    "upload_checksum": HELLO_CHECKSUM,
    "upload_name": "hello.txt",
    "destination_location": "2459122/hello.txt",
    "uploader": "someone",
}


@pytest.fixture
def refused_stage(wire, store, nothing_left):
    """Stage with changes and expect a refusal that leaves no trace; gives status and answer."""

    def stage(raw=None, **changes):
        answer = wire.refused("upload/stage", None if raw is not None else {**GOOD, **changes}, raw=raw)
        assert not Upload.objects.exists()
        assert not File.objects.exists()
        nothing_left()
        return answer

    return stage


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/hostname",
        "../x",
        "a/../../x",
        "a/..",
        "..",
        "./..",
        "a//b",
        "a/./b",
        "/",
        "new\nline",
        "tab\tname",
        "bell\x07",
        "delete\x7f",
        "x" * 300,
        "é" * 200,
        "a/" + "x" * 256,
    ],
)
@pytest.mark.parametrize("field", ["upload_name", "destination_location"])
def test_bad_names(refused_stage, field, name):
    status, answer = refused_stage(**{field: name})
    assert status in (400, 422)
    assert any(word in answer["reason"] for word in ("name", "component", field))


@pytest.mark.parametrize("mode", ["flat", "path"])
def test_a_destination_longer_than_any_disk_takes(refused_stage, settings, mode):
    settings.LIBRARIAN_FILE_NAMES = mode
    status, answer = refused_stage(destination_location="d/" * 2500 + "x")
    assert status == 422
    assert "destination_location" in answer["reason"]


def test_a_path_longer_than_a_name_may_be(refused_stage, settings):
    settings.LIBRARIAN_FILE_NAMES = "path"
    status, answer = refused_stage(destination_location="directory/" * 30 + "x")
    assert status == 400
    assert "256 are allowed" in answer["reason"]


@pytest.mark.parametrize(("size", "status"), [(-1, 400), (-(2**63), 400), (10**15, 413), (2**63 - 1, 413)])
def test_negative_and_absurd_sizes(refused_stage, size, status):
    found, answer = refused_stage(upload_size=size)
    assert found == status
    assert answer["reason"] in ("Upload size must be positive.", "Upload size is too large.")


@pytest.mark.parametrize(
    "checksum", ["", "crc32:::00000000", "md5:::xyz", "xxh3:::a5c3", "sha256:::" + "0" * 63, "abc", ":::", "x" * 5000]
)
def test_unknown_algorithms_and_digests_that_are_none(refused_stage, checksum):
    status, _ = refused_stage(upload_checksum=checksum)
    assert status in (400, 422)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (json.dumps(GOOD).encode()[:-5], 400),
        (b"", 422),
        (b"[" * 200_000, 400),
        (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, 400),
        (json.dumps({**GOOD, "upload_size": float("nan")}).encode(), 400),
        (json.dumps({**GOOD, "upload_size": float("inf")}).encode(), 400),
        (json.dumps({**GOOD, "upload_size": 2**63}).encode(), 400),
        (json.dumps({**GOOD, "upload_size": -(2**63) - 1}).encode(), 400),
        (json.dumps({**GOOD, "uploader": "\ud800"}).encode(), 400),
        (json.dumps({**GOOD, "destination_location": "x\udfff"}).encode(), 400),
        (json.dumps({**GOOD, "uploader": "a\x00b"}).encode(), 400),
        (b'{"uploader": "\xff\xfe"}', 400),
    ],
)
def test_bodies_that_no_reader_should_meet(refused_stage, raw, status):
    assert refused_stage(raw=raw)[0] == status


def test_fifty_megabytes_of_json(refused_stage):
    status, answer = refused_stage(raw=b'{"uploader": "' + b"x" * 50_000_000 + b'"}')
    assert status == 413
    assert answer["code"] == "too_large"


@pytest.mark.parametrize(
    ("endpoint", "user", "body"),
    [
        ("search/file", "readonly", {"name": "../x"}),
        ("search/file", "readonly", {"name": "x" * 300}),
        ("search/file", "readonly", {"create_time_window": ["2026-01-01"]}),
        ("search/file", "readonly", {"create_time_window": ["yesterday", "today"]}),
        ("search/file", "readonly", {"create_time_window": ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"]}),
        ("search/file", "readonly", {"max_results": "all"}),
        ("search/error", "admin", {"severity": "ERROR"}),
        ("search/error", "admin", {"category": "weather"}),
        ("search/instance_local", "admin", {"deletion_policy": "maybe"}),
        ("search/instance_local", "admin", {"file_name": "/x"}),
        ("error/clear", "admin", {"id": "x"}),
        ("admin/stores/state_change", "admin", {"store_name": "local_store", "enabled": "perhaps"}),
        ("admin/stores/state_change", "admin", {"store_name": "x" * 300, "enabled": True}),
        ("admin/instance/delete_local", "admin", {"instance_id": None}),
    ],
)
def test_bad_questions(wire, store, endpoint, user, body):
    status, answer = wire.refused(endpoint, body, user=user)
    assert status in (400, 422)
    assert answer["code"] in ("invalid_message", "invalid_name")


@pytest.mark.parametrize(
    "window",
    [
        ["0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"],
        ["0001-01-01", "9999-12-31"],
        [0, 4_000_000_000],
        ["2026-01-01 00:00:00", "2030-01-01T00:00:00+02:00"],
    ],
)
def test_any_window_that_can_be_meant_is_searched(deliver, wire, window):
    deliver()
    assert len(wire.ok("search/file", {"create_time_window": window}, user="readonly")) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [(HELLO + b"more", "22 bytes"), (b"", "0 bytes"), (b"Hello, librarian!\n", "xxh3:::")],
)
def test_other_bytes_than_declared(begin, nothing_left, content, said):
    delivery = begin()
    response = delivery.write(content).commit()
    assert response.status_code == 406
    assert said in response.json()["suggested_remedy"]
    assert not File.objects.exists()
    assert delivery.upload.finished_at is not None
    nothing_left()


def test_a_commit_without_bytes(begin, nothing_left):
    assert begin().commit().status_code == 404
    assert not File.objects.exists()
    nothing_left()


def test_a_commit_under_a_bad_name_keeps_the_upload_for_another_try(begin):
    delivery = begin().write()
    for name in ("../x", "", "/etc/x", "x" * 300):
        assert delivery.commit(destination_location=name).status_code in (400, 422)
    assert delivery.commit().status_code == 200


def test_a_commit_of_an_upload_that_does_not_exist(begin, wire):
    delivery = begin()
    status, answer = wire.refused("upload/commit", delivery.commit_body(transfer_id=2**31 - 1))
    assert status == 400
    assert "2147483647" in answer["reason"]


def test_a_commit_with_a_policy_that_is_none(begin):
    response = begin().write().commit(deletion_policy="maybe")
    assert response.status_code == 422
    assert "deletion_policy" in response.json()["reason"]


def test_a_full_store(refused_stage, store):
    Store.objects.update(free_bytes=0)
    status, answer = refused_stage()
    assert status == 413
    assert answer["code"] in ("no_store_available", "store_full")


def test_a_store_that_is_switched_off_or_away(refused_stage):
    for field in ("enabled", "ingestable", "available"):
        Store.objects.update(enabled=True, ingestable=True, available=True)
        Store.objects.update(**{field: False})
        assert refused_stage()[0] == 413


def test_a_store_that_is_gone_although_the_catalogue_does_not_know_yet(wire, db, tmp_path):
    store = make_store(tmp_path, name="gone")
    root = Path(store.configuration["root"])
    root.rename(root.with_name("elsewhere"))
    Path(store.configuration["staging"]).rename(root.with_name("elsewhere too"))
    response = wire.post("upload/stage", GOOD)
    assert response.status_code in (413, 503)
    assert not Upload.objects.live().exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"store_name": "nowhere"}, "Store nowhere does not exist."),
        ({"path": "{root}/2459122/absent"}, "does not exist."),
        ({"path": "/etc/hostname"}, "File /etc/hostname: /etc/hostname does not lie in store local_store"),
        ({"path": "{root}/../../x"}, "does not lie in store local_store"),
        ({"path": "relative"}, "File relative: relative does not lie in store"),
        ({"size": 17}, "File "),
        ({"size": -1}, "File "),
        ({"checksum": "xxh3:::" + "0" * 32}, "File "),
        ({"checksum": "crc32:::0"}, "File "),
        ({"name": "../x"}, "File "),
    ],
)
def test_add_file_believes_nothing(wire, store, changes, said):
    root = store.configuration["root"]
    place = Path(root) / "2459122" / "hello.txt"
    place.parent.mkdir()
    place.write_bytes(HELLO)
    body = {
        "name": "hello.txt",
        "create_time": "2026-11-20T12:16:09",
        "size": 18,
        "checksum": HELLO_CHECKSUM,
        "uploader": "admin",
        "source": "admin",
        "path": str(place),
        "store_name": "local_store",
        **changes,
    }
    body["path"] = body["path"].format(root=root)
    status, answer = wire.refused("admin/add_file", body, user="admin")
    assert status == 400
    assert said in answer["reason"]
    assert not File.objects.exists()
    assert place.read_bytes() == HELLO
