"""The success samples of the protocol's reference, replayed: in `path` mode as they are, in `flat` mode as filed."""

import re
from datetime import datetime
from pathlib import Path

import pytest

from files.models import File, RemoteInstance
from librarian.common.inbox import report_error
from tests.wire.caller import HELLO, TREE, Delivery, write_tree

NAIVE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?")


@pytest.fixture(params=["path", "flat"])
def filed(request, settings):
    """How a name handed over is filed."""
    settings.LIBRARIAN_FILE_NAMES = request.param
    return (lambda name: name) if request.param == "path" else (lambda name: name.rpartition("/")[2])


def is_naive_utc(text):
    return bool(NAIVE.fullmatch(text)) and abs((datetime.utcnow() - datetime.fromisoformat(text)).total_seconds()) < 60


def test_ping(wire, settings):
    settings.LIBRARIAN_NAME, settings.LIBRARIAN_DISPLAYED_NAME = "site_a", "Site A"
    settings.LIBRARIAN_DESCRIPTION = "test rig"
    expected = {"name": "site_a", "description": "Site A: test rig"}
    assert wire.ok("ping/", {}) == expected
    assert wire.ok("ping/logged", {}, user="readonly") == expected
    assert wire.ok("ping/admin", {}, user="admin") == expected


def test_stage_and_commit(wire, store, filed, settings):
    settings.LIBRARIAN_HOST_NAME = "host01"
    body = {
        "upload_size": 18,
        "upload_checksum": "xxh3:::a5c359431560fd3482bcbc435e9e275c",
        "upload_name": "hello.txt",
        "destination_location": "2459122/hello.txt",
        "uploader": "admin",
    }
    staged = wire.ok("upload/stage", body, 201, user="admin")
    assert staged.keys() == {
        "available_bytes_on_store",
        "store_name",
        "staging_name",
        "staging_location",
        "upload_name",
        "destination_location",
        "transfer_providers",
        "transfer_id",
    }
    assert staged["store_name"] == "local_store"
    assert (staged["upload_name"], staged["destination_location"]) == ("hello.txt", "2459122/hello.txt")
    assert staged["transfer_providers"] == {"local": {"hostnames": ["host01"]}}
    assert 0 < staged["available_bytes_on_store"] < 2**63
    assert staged["staging_name"] in staged["staging_location"]
    assert Path(staged["staging_location"]).parent.is_dir()
    Path(staged["staging_location"]).write_bytes(HELLO)
    response = wire.post(
        "upload/commit",
        {
            "store_name": "local_store",
            "staging_name": staged["staging_name"],
            "staging_location": staged["staging_location"],
            "upload_name": "hello.txt",
            "destination_location": "2459122/hello.txt",
            "transfer_provider_name": "local",
            "transfer_provider": {"hostnames": ["host01"]},
            "meta_mode": "infer",
            "deletion_policy": "0",
            "uploader": "admin",
            "null_obsid": True,
            "transfer_id": staged["transfer_id"],
        },
        user="admin",
    )
    assert (response.status_code, response.content) == (200, b"")
    assert "Content-Type" not in response.headers
    assert File.objects.get().name == filed("2459122/hello.txt")
    assert (Path(store.configuration["root"]) / "2459122/hello.txt").read_bytes() == HELLO
    status, answer = wire.refused("upload/stage", body, user="admin")
    assert status == 409
    assert "already exists on librarian" in answer["reason"]


def test_search_of_a_directory_product(deliver, wire, store, filed):
    deliver("2459122/obs", TREE, user="admin")
    file = File.objects.get()
    RemoteInstance.objects.create(file=file, peer_name="destination_librarian", peer_store_id=1)
    body = {"name": "2459122/obs", "create_time_window": None, "uploader": None, "source": None, "max_results": 64}
    (found,) = wire.ok("search/file", body, user="readonly")
    assert is_naive_utc(found.pop("create_time"))
    assert is_naive_utc(found["instances"][0].pop("created_time"))
    assert is_naive_utc(found["remote_instances"][0].pop("copy_time"))
    assert found == {
        "name": filed("2459122/obs"),
        "size": 268,
        "checksum": "xxh3:::08aca7d8835b35675d24e9d7346392f5",
        "uploader": "admin",
        "source": "admin",
        "instances": [
            {
                "path": f"{store.configuration['root']}/2459122/obs",
                "deletion_policy": 0,
                "available": True,
                "id": None,
                "file_name": None,
                "store_id": store.pk,
            }
        ],
        "remote_instances": [
            {
                "librarian_name": "destination_librarian",
                "id": None,
                "file_name": None,
                "store_id": None,
                "sender": None,
            }
        ],
    }


def test_search_of_local_instances(deliver, wire, store, filed):
    deliver("2459122/obs", TREE)
    path = f"{store.configuration['root']}/2459122/obs"
    (found,) = wire.ok("search/instance_local", {"file_name": "2459122/obs"}, user="admin")
    created = found.pop("created_time")
    assert is_naive_utc(created)
    instance = File.objects.get().instances.get()
    assert found == {
        "path": path,
        "deletion_policy": 0,
        "available": True,
        "id": instance.pk,
        "file_name": filed("2459122/obs"),
        "store_id": store.pk,
    }
    for condition in (
        {"id": instance.pk},
        {"path": path},
        {"store_id": store.pk},
        {"available": True},
        {"deletion_policy": "DISALLOWED"},
        {"deletion_policy": 0},
        {"created_time": created},
        {"created_time": f"{created}Z"},
    ):
        assert len(wire.ok("search/instance_local", condition, user="admin")) == 1
    for condition in (
        {"id": instance.pk + 1},
        {"path": path + "x"},
        {"path": "/etc/hostname"},
        {"store_id": store.pk + 1},
        {"available": False},
        {"deletion_policy": "allowed"},
        {"created_time": "2020-01-01"},
        {"file_name": "other"},
    ):
        status, answer = wire.refused("search/instance_local", condition, user="admin")
        assert (status, answer["reason"]) == (404, "No instances found.")


def test_search_and_clear_errors(wire, cast):
    error = report_error(
        severity="error",
        category="store_full",
        code="store_full",
        message="Store local_clone is full",
        caller="create_clone",
    )
    (found,) = wire.ok("search/error", {"category": "store_full"}, user="admin")
    assert is_naive_utc(found.pop("raised_time"))
    assert found == {
        "id": error.pk,
        "severity": "error",
        "category": "store_full",
        "message": "Store local_clone is full",
        "cleared_time": None,
        "cleared": False,
        "caller": "create_clone",
    }
    answer = wire.ok("error/clear", {"id": error.pk}, user="admin")
    assert is_naive_utc(answer.pop("cleared_time"))
    assert answer == {"id": error.pk, "cleared": True}
    assert wire.refused("search/error", {}, user="admin")[1]["reason"] == "No errors found."
    assert wire.ok("search/error", {"include_resolved": True}, user="admin")[0]["cleared"] is True


def test_list_and_switch_stores(wire, store):
    expected = {
        "name": "local_store",
        "store_type": "local",
        "free_space": store.usable_bytes,
        "ingestable": True,
        "available": True,
        "enabled": True,
    }
    assert wire.ok("admin/stores/list", user="admin") == [expected]
    for enabled in (False, False, True):
        answer = wire.ok("admin/stores/state_change", {"store_name": "local_store", "enabled": enabled}, user="admin")
        assert answer == {"store_name": "local_store", "enabled": enabled, "success": True}
        assert wire.ok("admin/stores/list", user="admin")[0]["enabled"] is enabled
    type(store).objects.update(available=False)
    assert wire.ok("admin/stores/list", user="admin")[0]["free_space"] == -1


def test_add_a_file_that_lies_on_a_store_already(wire, store, filed):
    place = Path(store.configuration["root"]) / "2459122" / "hello.txt"
    place.parent.mkdir()
    write_tree(place, HELLO)
    body = {
        "name": "2459122/hello.txt",
        "create_time": "2026-11-20T12:16:09.281204",
        "size": 18,
        "checksum": "xxh3:::a5c359431560fd3482bcbc435e9e275c",
        "uploader": "admin",
        "source": "admin",
        "path": str(place),
        "store_name": "local_store",
    }
    assert wire.ok("admin/add_file", body, user="admin") == {
        "already_exists": False,
        "file_exists": True,
        "success": True,
    }
    assert wire.ok("admin/add_file", body, user="admin") == {
        "already_exists": True,
        "file_exists": True,
        "success": True,
    }
    assert File.objects.get().name == filed("2459122/hello.txt")
    assert place.read_bytes() == HELLO


def test_files_of_one_name_in_two_directories_are_one_in_flat_mode_and_two_in_path_mode(deliver, wire, filed):
    deliver("2459122/x", HELLO)
    delivery = Delivery(wire, "2459123/x", b"other")
    if filed("a/b") == "a/b":
        assert delivery.stage().write().commit().status_code == 200
    else:
        assert wire.refused("upload/stage", _stage_body(delivery))[0] == 409


def _stage_body(delivery):
    return {
        "upload_size": len(delivery.content),
        "upload_checksum": "md5:::" + "0" * 32,
        "upload_name": "x",
        "destination_location": delivery.name,
        "uploader": "someone",
    }
