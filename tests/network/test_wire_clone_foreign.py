"""`clone/stage` and `clone/batch_stage` as the protocol always was: all or nothing, in its statuses and words."""

import re
from pathlib import Path

import pytest

from files.models import Upload, UploadState
from librarian.common.models import ErrorRecord
from network.models import IncomingTransfer, TransferState
from tests.make import make_file, make_store, make_user
from tests.network.clones import NAME, batch, item, make_incoming, make_site, state_of
from tests.wire.caller import TREE_CHECKSUM

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path, name="local_store")


@pytest.fixture
def north(cast):
    return make_site("north")


@pytest.fixture
def refused(wire, north, store):
    """`refused(item(...), ...)` offers a batch as a foreign Librarian; status and answer of the refusal."""
    return lambda *items, **changes: wire.refused(
        "clone/batch_stage", batch(*items, features=(), **changes), user="north"
    )


@pytest.fixture
def accepted(wire, north, store):
    return lambda *items, **changes: wire.ok(
        "clone/batch_stage", batch(*items, features=(), **changes), 201, user="north"
    )


def single(**changes):
    said = item(facts=False)
    return {**said, "source": "north", **changes}


# --- The samples of the reference -------------------------------------------------------------------------------------


def test_one_file_as_in_the_reference(wire, north, store, settings):
    settings.LIBRARIAN_HOST_NAME, settings.LIBRARIAN_FILE_NAMES = "host01", "path"
    body = {
        "upload_size": 9,
        "upload_checksum": "xxh3:::" + "d" * 32,
        "upload_name": "d/single.txt",
        "destination_location": "d/single.txt",
        "uploader": "admin",
        "source_transfer_id": 109,
        "source": "north",
    }
    answer = wire.ok("clone/stage", body, 201, user="north")
    assert set(answer) == {
        "available_bytes_on_store",
        "store_name",
        "staging_name",
        "staging_location",
        "upload_name",
        "destination_location",
        "transfer_providers",
        "source_transfer_id",
        "destination_transfer_id",
    }
    assert (answer["store_name"], answer["upload_name"]) == ("local_store", "d/single.txt")
    assert answer["destination_location"] == "d/single.txt"
    assert answer["transfer_providers"] == {"local": {"hostnames": ["host01"]}}
    assert answer["source_transfer_id"] == 109
    assert 0 < answer["available_bytes_on_store"] < 2**63
    transfer = IncomingTransfer.objects.get(pk=answer["destination_transfer_id"])
    assert (transfer.state, transfer.name, transfer.is_foreign) == ("initiated", "d/single.txt", True)
    assert Path(answer["staging_location"]).parent.is_dir()


def test_a_batch_as_in_the_reference(wire, north, store, settings):
    settings.LIBRARIAN_HOST_NAME, settings.LIBRARIAN_FILE_NAMES = "host01", "path"
    hello = {
        "upload_size": 18,
        "upload_checksum": "xxh3:::a5c359431560fd3482bcbc435e9e275c",
        "upload_name": "2459122/hello.txt",
        "destination_location": "2459122/hello.txt",
        "uploader": "admin",
        "source_transfer_id": 1,
    }
    tree = {
        "upload_size": 268,
        "upload_checksum": TREE_CHECKSUM,
        "upload_name": "2459122/obs",
        "destination_location": "2459122/obs",
        "uploader": "admin",
        "source_transfer_id": 2,
    }
    body = {"uploads": [hello, tree], "source": "north", "total_size": 286}
    answer = wire.ok("clone/batch_stage", body, 201, user="north")
    assert answer["store_name"] == "local_store"
    assert answer["async_transfer_providers"] == {
        "local": {
            "hostnames": ["host01"],
            "transfer_attempted": False,
            "transfer_complete": False,
            "start_time_transfer": None,
            "bytes_transfer": None,
        }
    }
    names = [(each["upload_name"], each["destination_location"]) for each in answer["uploads"]]
    assert names == [("2459122/hello.txt",) * 2, ("2459122/obs",) * 2]
    assert [each["source_transfer_id"] for each in answer["uploads"]] == [1, 2]
    assert len({each["staging_name"] for each in answer["uploads"]}) == 2


def test_a_file_that_exists_as_in_the_reference(wire, north, store):
    make_file(NAME, store=store)
    status, answer = wire.refused("clone/stage", single(source_transfer_id=107), user="north")
    assert (status, answer["reason"]) == (409, "File already exists on librarian.")
    assert (answer["source_transfer_id"], answer["destination_transfer_id"]) == (107, -1)
    assert re.search("already exists on librarian", answer["reason"])


def test_a_batch_with_a_file_that_exists_as_in_the_reference(refused, store):
    make_file(NAME, content=b"whatever", store=store)
    status, answer = refused(item(source_id=3, facts=False), item("new.uvh5", source_id=4, facts=False))
    assert (status, answer["reason"]) == (409, "File already exists on librarian.")
    assert (answer["source_transfer_ids"], answer["destination_transfer_ids"]) == ([3], [-1])
    assert not IncomingTransfer.objects.exists()
    assert not Upload.objects.exists()


# --- What is refused --------------------------------------------------------------------------------------------------


def test_an_empty_batch_is_accepted(accepted):
    assert accepted()["uploads"] == []


def test_ongoing_comes_before_existing_before_older(refused, store):
    make_file("held.uvh5", store=store)
    ongoing = make_incoming(store, name="ongoing.uvh5", state=TransferState.ONGOING, source_id=91)
    older = make_incoming(store, name="older.uvh5", source_id=92)
    items = [
        item(f"{name}.uvh5", source_id=n, facts=False) for n, name in enumerate(("held", "ongoing", "older", "new"))
    ]
    status, answer = refused(*items)
    assert (status, answer["reason"]) == (425, "Transfer is ongoing.")
    assert (answer["source_transfer_ids"], answer["destination_transfer_ids"]) == ([1], [-1])
    assert state_of(older) == TransferState.FAILED  # so that the next offer is taken
    assert state_of(ongoing) == TransferState.ONGOING
    IncomingTransfer.objects.filter(pk=ongoing.pk).delete()
    assert refused(*items)[0] == 409
    status, answer = refused(item("held.uvh5", source_id=0, facts=False))
    assert answer["source_transfer_ids"] == [0]


@pytest.mark.parametrize("state", [TransferState.INITIATED, TransferState.STAGED])
def test_an_older_transfer_is_failed_and_the_next_offer_taken(refused, accepted, store, state):
    older = make_incoming(store, state=state, source_id=8)
    status, answer = refused(item(source_id=9, facts=False), item("new.uvh5", source_id=10, facts=False))
    assert (status, answer["reason"]) == (406, "Transfer was already initiated or staged.")
    assert (answer["source_transfer_ids"], answer["destination_transfer_ids"]) == ([9], [-1])
    older.refresh_from_db()
    assert (older.state, older.report, older.upload.state) == ("failed", "done", UploadState.FAILED)
    assert accepted(item(source_id=9, facts=False))["uploads"]


def test_one_file_names_the_transfer_it_conflicts_with(wire, north, store):
    older = make_incoming(store)
    status, answer = wire.refused("clone/stage", single(source_transfer_id=5), user="north")
    assert (status, answer["source_transfer_id"], answer["destination_transfer_id"]) == (406, 5, older.pk)
    ongoing = make_incoming(store, state=TransferState.ONGOING)
    status, answer = wire.refused("clone/stage", single(), user="north")
    assert (status, answer["destination_transfer_id"]) == (425, ongoing.pk)


def test_nobody_fails_the_transfer_of_another_account(wire, refused, store):
    make_user("person", level=3)
    other = make_incoming(store, account="person")
    assert refused(item(facts=False))[0] == 425
    assert wire.refused("clone/stage", single(source="person"), user="north")[0] == 425
    assert state_of(other) == TransferState.INITIATED
    assert other.upload.state == UploadState.STAGED


def test_an_offer_of_what_is_ongoing_has_its_sender_asked_soon(refused, store):
    ongoing = make_incoming(store, state=TransferState.ONGOING)
    refused(item(source_id=2, facts=False))
    ongoing.refresh_from_db()
    assert ongoing.next_check_at is not None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"destination_location": "a/../b"}, "component '..'"),
        ({"upload_name": "/etc/hostname"}, "absolute"),
        ({"upload_size": -1}, "Upload size must be positive."),
        ({"upload_checksum": "nothing"}, "digest"),
    ],
)
def test_what_cannot_be_taken_is_a_400_with_the_ids_of_none(wire, refused, changes, reason):
    status, answer = refused(item(facts=False), item("b.uvh5", source_id=2, facts=False) | changes, total_size=1)
    assert status == 400
    assert reason in answer["reason"]
    assert (answer["source_transfer_id"], answer["destination_transfer_id"]) == (-1, -1)
    status, answer = wire.refused("clone/stage", single(**changes), user="north")
    assert status == 400
    assert (answer["source_transfer_id"], answer["destination_transfer_id"]) == (1, -1)
    assert not IncomingTransfer.objects.exists()


def test_a_negative_total_is_a_400(refused):
    status, answer = refused(item(facts=False), total_size=-1)
    assert (status, answer["reason"]) == (400, "Upload size must be positive.")
    assert (answer["source_transfer_id"], answer["destination_transfer_id"]) == (-1, -1)


@pytest.mark.parametrize("size", [9 * 10**11, 2**62])
def test_no_room_is_a_413_in_the_words_of_the_protocol_whatever_total_is_claimed(wire, refused, size):
    status, answer = refused(item(facts=False, upload_size=size), total_size=1)
    assert (status, answer["reason"]) == (413, "No stores available for upload. Your upload is too large.")
    assert (answer["source_transfer_id"], answer["destination_transfer_id"]) == (-1, -1)
    assert wire.refused("clone/stage", single(upload_size=size), user="north")[0] == 413
    assert not Upload.objects.exists()


def test_one_name_twice_in_a_batch_is_refused_with_the_reason(refused):
    status, answer = refused(item("a/x.uvh5", source_id=1, facts=False), item("b/x.uvh5", source_id=2, facts=False))
    assert (status, answer["code"]) == (400, "offered_twice")
    assert "north" in ErrorRecord.objects.get(code="offered_twice").message  # who repeats it for ever, unread
    assert "x.uvh5" in answer["reason"]


def test_a_foreign_sender_is_never_offered_rsync_or_http(accepted, store):
    store.ssh_host, store.providers = "store.example.org", ["rsync", "http", "local"]
    store.save()
    assert list(accepted(item(facts=False))["async_transfer_providers"]) == ["local"]


@pytest.mark.parametrize(
    ("providers", "offered"),
    [
        ([], ["local"]),
        (["globus"], ["globus"]),
        (["http", "globus", "local"], ["globus", "local"]),
        (["local", "globus"], ["local", "globus"]),
    ],
)
def test_globus_is_offered_to_a_foreign_sender_where_a_person_named_it(accepted, store, providers, offered):
    store.globus_endpoint, store.providers = "0f0e0d0c-1111-4222-8333-444455556666", providers
    store.save()
    ways = accepted(item(facts=False))["async_transfer_providers"]
    assert list(ways) == offered
    if "globus" in ways:
        assert ways["globus"] == {
            "destination_endpoint": store.globus_endpoint,
            "native_app": False,
            "transfer_attempted": False,
            "transfer_complete": False,
            "task_id": "",
        }


def test_the_file_of_a_foreign_sender_comes_from_its_account(accepted):
    accepted(item())  # with facts that nobody has agreed on
    upload = Upload.objects.get()
    assert (upload.uploader, upload.source, upload.owner_name) == ("north", "north", "north")
    assert (upload.obsid, upload.digest, upload.first_registered_at) == (None, "", None)
