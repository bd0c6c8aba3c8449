"""Statuses and texts that clients of the protocol match (its reference, table 1.6)."""

import pytest
from django.utils import timezone

from files.models import Upload
from librarian.common.inbox import report_error
from stores.models import Store
from tests.make import make_file
from tests.wire.caller import HELLO_CHECKSUM


def test_no_files_found(wire, cast):
    for body in ({}, {"name": "absent"}, {"max_results": 0}, {"max_results": -5}):
        status, answer = wire.refused("search/file", body, user="readonly")
        assert (status, answer["reason"]) == (404, "No files found.")


def test_no_errors_found(wire, cast):
    status, answer = wire.refused("search/error", {}, user="admin")
    assert (status, answer["reason"]) == (404, "No errors found.")


def test_no_instances_found(wire, cast):
    status, answer = wire.refused("search/instance_local", {}, user="admin")
    assert (status, answer["reason"]) == (404, "No instances found.")


def test_clear_error(wire, cast):
    status, answer = wire.refused("error/clear", {"id": 77}, user="admin")
    assert (status, answer["reason"]) == (404, "No error found with ID 77 to clear.")
    error = report_error(severity="info", category="transfer", code="x", message="x")
    wire.ok("error/clear", {"id": error.pk}, user="admin")
    status, answer = wire.refused("error/clear", {"id": error.pk}, user="admin")
    assert (status, answer["reason"]) == (400, f"Error with ID {error.pk} has already been cleared.")


def test_switching_an_unknown_store(wire, cast):
    status, answer = wire.refused("admin/stores/state_change", {"store_name": "nowhere", "enabled": True}, user="admin")
    assert (status, answer["reason"]) == (400, "Store nowhere does not exist.")


def test_adding_a_file_to_an_unknown_store_or_from_nowhere(wire, store):
    body = {
        "name": "x",
        "create_time": "2026-11-20T12:16:09",
        "size": 1,
        "checksum": "md5:::" + "0" * 32,
        "uploader": "u",
        "source": "s",
        "path": f"{store.configuration['root']}/absent",
        "store_name": "nowhere",
    }
    status, answer = wire.refused("admin/add_file", body, user="admin")
    assert (status, answer["reason"]) == (400, "Store nowhere does not exist.")
    status, answer = wire.refused("admin/add_file", {**body, "store_name": "local_store"}, user="admin")
    assert (status, answer["reason"]) == (400, f"File {body['path']} does not exist.")


@pytest.mark.parametrize("body", [{}, {"delete_file": True}, {"delete_file": None}])
def test_deleting_an_instance_that_does_not_exist(wire, cast, body):
    status, answer = wire.refused("admin/instance/delete_local", {"instance_id": 5, **body}, user="admin")
    assert status == 400
    assert "Instance does not exist" in answer["reason"]
    assert (answer["success"], answer["instance_id"]) == (False, 5)


@pytest.mark.parametrize("delete_file", [False, True, None])
def test_deleting_an_instance_is_refused_with_the_reason_and_changes_nothing(wire, store, delete_file):
    file = make_file(content=b"bytes", store=store, instance={"deletion_policy": 1})
    instance = file.instances.get()
    body = {"instance_id": instance.pk, "delete_file": delete_file}
    status, answer = wire.refused("admin/instance/delete_local", body, user="admin")
    assert status == 400
    assert "does not exist" not in answer["reason"]
    assert (answer["success"], answer["instance_id"]) == (False, instance.pk)
    instance.refresh_from_db()
    assert instance.is_present
    assert b"".join(store.backend.read(instance.path)) == b"bytes"


def test_a_used_name_at_staging(deliver, wire):
    delivery = deliver()
    body = {
        "upload_size": 18,
        "upload_checksum": delivery.upload.checksum,
        "upload_name": "hello.txt",
        "destination_location": "hello.txt",
        "uploader": "u",
    }
    status, answer = wire.refused("upload/stage", body)
    assert status == 409
    assert "already exists on librarian" in answer["reason"]
    assert "nothing needs to be sent" in answer["suggested_remedy"]
    status, answer = wire.refused("upload/stage", {**body, "upload_size": 17})
    assert status == 409
    assert "other bytes" in answer["suggested_remedy"]


def test_only_stores_that_clients_can_share_take_uploads_over_a_shared_disk(wire):
    """The client's one way is to write to the staging location by its path."""
    measured = {"available": True, "measured_at": timezone.now(), "capacity_bytes": 10**15, "free_bytes": 10**15}
    for number, kind in enumerate(("ssh", "s3")):
        configuration = {"host": "hpot1", "root": "/data", "bucket": "night"}
        Store.objects.create(name=f"far{number}", kind=kind, configuration=configuration, **measured)
    body = {"upload_size": 18, "upload_checksum": HELLO_CHECKSUM, "upload_name": "hello.txt"}
    status, answer = wire.refused("upload/stage", {**body, "destination_location": "hello.txt", "uploader": "u"})
    assert status == 413
    assert "far0 is no directory that clients share" in answer["reason"]
    assert "resumable uploads" in answer["suggested_remedy"]
    assert not Upload.objects.exists()


def test_commit_failures(begin, deliver):
    missing = begin("missing")
    wrong = begin("wrong").write(b"other bytes of it\n")
    taken = begin("taken", b"others").write()
    same = begin("taken").write()
    deliver("taken")
    for delivery, status, reason, remedy in (
        (missing, 404, "File not found in staging area.", "staging location"),
        (wrong, 406, "File does not have a valid checksum or size", "was declared"),
        (taken, 409, "File already exists on store.", "other bytes"),
        (same, 409, "File already exists on store.", "nothing needs to be sent"),
    ):
        response = delivery.commit()
        assert (response.status_code, response.json()["reason"]) == (status, reason)
        assert remedy in response.json()["suggested_remedy"]


def test_a_commit_by_another_account_is_401_and_harms_nothing(begin, wire):
    delivery = begin().write()
    for user in ("admin", "readwrite"):
        status, answer = wire.refused("upload/commit", delivery.commit_body(), user=user)
        assert status == 401
        assert "another account" in answer["reason"]
    assert delivery.commit().status_code == 200
