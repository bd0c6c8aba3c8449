"""Offers of a site of our kind: an answer for each file."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from files.models import Upload, UploadState
from hera_librarian.features import FEATURES
from network.models import IncomingTransfer, TransferState
from network.services.receiving.ways_in import ways_in
from stores.models import Store
from tests.make import make_file, make_store, make_user
from tests.network.clones import BYTES, NAME, batch, bring, item, make_incoming, make_site, state_of
from tests.wire.caller import Wire

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path, name="main")


@pytest.fixture
def north(cast):
    return make_site("north")


@pytest.fixture
def offer(wire, north, store):
    """`offer(item(...), ...)` offers a batch as north and returns the answer."""

    def send(*items, user="north", **changes):
        return wire.ok("clone/batch_stage", batch(*items, **changes), 201, user=user)

    return send


def only(refused):
    assert len(refused) == 1
    return refused[0]


def test_a_batch_is_answered_in_its_order_with_everything_a_sender_needs(offer, store):
    answer = offer(item("one.uvh5", source_id=11), item("two.uvh5", b"other", source_id=12))
    assert [each["source_transfer_id"] for each in answer["uploads"]] == [11, 12]
    assert answer["store_name"] == "main"
    assert answer["refused"] == []
    assert set(answer["librarian_features"]) == set(FEATURES)
    assert list(answer["async_transfer_providers"]) == ["local", "http"]
    assert answer["async_transfer_providers"]["http"] == {"upload_path": "v3/uploads/"}
    for each in answer["uploads"]:
        transfer = IncomingTransfer.objects.get(pk=each["destination_transfer_id"])
        assert transfer.upload_id == each["upload_id"]
        assert (transfer.account_name, transfer.peer_name, transfer.state) == ("north", "north", "initiated")
        assert transfer.features == list(FEATURES)
        location = Path(each["staging_location"])
        assert location.parent.is_dir()
        assert not location.exists()
        assert len(each["staging_location"]) <= 256


def test_facts_go_to_the_upload_and_the_origin_is_the_account(offer):
    told = {"kind": "flat", "digest": "ab" * 32, "obsid": 1234567890, "first_registered_at": "2026-01-02T03:04:05"}
    offer(item(facts=None) | {"facts": told})
    upload = Upload.objects.get()
    assert (upload.obsid, upload.digest, upload.uploader, upload.source) == (
        1234567890,
        "ab" * 32,
        "an instrument",
        "north",
    )
    assert upload.first_registered_at.isoformat() == "2026-01-02T03:04:05+00:00"


def test_a_file_that_is_here_is_held_and_says_on_which_stores(offer, store):
    make_file(NAME, content=BYTES, store=store)
    answer = offer(item(source_id=5), item("new.uvh5", source_id=6))
    refusal = only(answer["refused"])
    assert (refusal["source_transfer_id"], refusal["code"], refusal["held"]) == (5, "already_held", True)
    assert refusal["store_ids"] == [store.pk]
    assert [each["source_transfer_id"] for each in answer["uploads"]] == [6]


def test_other_bytes_under_the_name_are_no_copy(offer, store):
    file = make_file(NAME, content=b"other", store=store)
    refusal = only(offer(item())["refused"])
    assert (refusal["code"], refusal["held"], refusal["passing"]) == ("name_taken", False, False)
    assert refusal["checksum"] == file.checksum
    assert refusal["suggested_remedy"]


def test_a_file_without_any_copy_may_come_back_with_the_same_bytes_only(offer, store):
    make_file(NAME, content=BYTES)
    make_file("lost.uvh5", content=b"lost")
    answer = offer(item(source_id=1), item("lost.uvh5", b"LOST", source_id=2))
    assert [each["source_transfer_id"] for each in answer["uploads"]] == [1]
    assert only(answer["refused"])["code"] == "name_taken"


def test_what_another_site_is_bringing_is_refused_for_now_and_left_alone(offer, store):
    make_site("west")
    other = make_incoming(store, account="west")
    refusal = only(offer(item())["refused"])
    assert (refusal["code"], refusal["passing"], refusal["held"]) == ("being_received", True, False)
    assert state_of(other) == TransferState.INITIATED


def test_a_site_that_died_on_the_way_keeps_nobody_waiting(wire, offer, store):
    long_ago = timezone.now() - timedelta(days=2)
    make_incoming(store, account="west", state=TransferState.ONGOING, changed_at=long_ago)
    assert offer(item())["uploads"]
    IncomingTransfer.objects.filter(account_name="north").delete()
    assert offer(item(facts=False), features=())["uploads"]
    IncomingTransfer.objects.filter(account_name="north").delete()
    IncomingTransfer.objects.update(state=TransferState.STAGED)
    assert only(offer(item())["refused"])["passing"]


@pytest.mark.parametrize("state", [TransferState.INITIATED, TransferState.ONGOING])
def test_a_repeated_offer_is_answered_with_the_same_transfer(offer, state):
    first = offer(item(source_id=3))
    IncomingTransfer.objects.update(state=state)
    again = offer(item(source_id=3))
    assert again["uploads"] == first["uploads"]
    assert again["store_name"] == first["store_name"]
    assert again["async_transfer_providers"] == first["async_transfer_providers"]
    assert Upload.objects.count() == IncomingTransfer.objects.count() == 1


def test_a_repeated_offer_whose_room_expired_gets_new_room(offer):
    first = offer(item(source_id=3))
    Upload.objects.update(state=UploadState.EXPIRED, reserved_bytes=0, finished_at="2026-01-01T00:00Z")
    again = offer(item(source_id=3))
    assert again["uploads"][0]["destination_transfer_id"] != first["uploads"][0]["destination_transfer_id"]


def test_a_new_attempt_takes_the_place_of_the_older_one_without_a_report(offer):
    first = offer(item(source_id=3))
    bring(first["uploads"][0])
    second = offer(item(source_id=4))
    older = IncomingTransfer.objects.get(pk=first["uploads"][0]["destination_transfer_id"])
    assert (older.state, older.code, older.report) == ("failed", "superseded", "done")
    assert older.upload.state == UploadState.FAILED
    assert not Path(first["uploads"][0]["staging_location"]).exists()
    assert Path(second["uploads"][0]["staging_location"]).parent.is_dir()


def test_an_arrived_one_is_not_superseded(offer, store):
    staged = make_incoming(store, state=TransferState.STAGED, written=BYTES)
    for source_id in (1, 2):
        refusal = only(offer(item(source_id=source_id))["refused"])
        assert (refusal["code"], refusal["passing"]) == ("being_received", True)
    assert state_of(staged) == TransferState.STAGED


def test_a_file_offered_twice_in_a_batch_is_taken_once(offer):
    answer = offer(item(source_id=1), item(source_id=2), item("dir/" + NAME, source_id=3))
    assert [each["source_transfer_id"] for each in answer["uploads"]] == [1]
    assert [each["code"] for each in answer["refused"]] == ["offered_twice", "offered_twice"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"destination_location": "../up.uvh5"}, "invalid_name"),
        ({"destination_location": "/absolute.uvh5"}, "invalid_name"),
        ({"upload_name": "../up.uvh5"}, "invalid_name"),
        ({"upload_checksum": "no checksum"}, "invalid_checksum"),
        ({"upload_size": -1}, "invalid_request"),
        ({"uploader": "a\nb"}, "invalid_request"),
    ],
)
def test_a_bad_item_fails_alone(offer, changes, code):
    answer = offer(item(source_id=1) | changes, item("good.uvh5", source_id=2), total_size=1)
    assert only(answer["refused"])["code"] == code
    assert only(answer["refused"])["passing"] is False
    assert [each["source_transfer_id"] for each in answer["uploads"]] == [2]


def test_too_large_and_no_room_are_told_apart(offer, store, settings):
    settings.LIBRARIAN_MAX_UPLOAD_SIZE_BYTES = 2**43
    answer = offer(
        item("huge.uvh5", source_id=1, upload_size=2**44),
        item("big.uvh5", source_id=2, upload_size=2**42),
        item("small.uvh5", source_id=3),
    )
    assert {each["source_transfer_id"]: (each["code"], each["passing"]) for each in answer["refused"]} == {
        1: ("too_large", False),
        2: ("no_store_available", True),
    }
    assert [each["source_transfer_id"] for each in answer["uploads"]] == [3]


def test_without_a_store_every_file_waits(wire, north):
    answer = wire.ok("clone/batch_stage", batch(item()), 201, user="north")
    assert (answer["uploads"], answer["async_transfer_providers"]) == ([], {})
    assert (only(answer["refused"])["code"], answer["refused"][0]["passing"]) == ("no_store_available", True)


def test_the_claimed_total_is_not_believed(offer, store, settings):
    settings.LIBRARIAN_MAX_UPLOAD_SIZE_BYTES = 2**60
    answer = offer(item("big.uvh5", upload_size=10**12), total_size=1)
    assert only(answer["refused"])["code"] == "no_store_available"


def test_only_ways_that_the_sender_understands_and_the_store_allows_are_offered(offer, store):
    def ways(features):
        made = offer(item(f"{len(features)}{features[-1]}.uvh5"), features=("partial_batch", *features))
        return made["async_transfer_providers"]

    store.ssh_host = "store.example.org"
    store.save()
    assert list(ways(FEATURES)) == ["local", "rsync", "http"]
    assert ways(("rsync", "ssh_host"))["rsync"]["ssh_host"] == "store.example.org"
    assert ways(("rsync",)) == {}
    assert list(ways(("http",))) == ["http"]
    store.globus_endpoint = "0f0e0d0c-1111-4222-8333-444455556666"
    store.save()
    assert list(ways((*FEATURES, "x", "y"))) == ["local", "rsync", "globus", "http"]
    assert "globus" not in ways(("http", "local"))
    store.providers = ["http"]
    store.save()
    assert list(ways((*FEATURES, "x"))) == ["http"]


@pytest.mark.parametrize(("features", "is_open"), [(("http",), False), (("http", "globus"), True)])
def test_others_reach_the_staging_area_only_where_they_bring_the_bytes(offer, features, is_open):
    answer = offer(item("one.uvh5"), features=("partial_batch", *features))
    staged = Path(answer["uploads"][0]["staging_location"]).parent
    assert bool(staged.stat().st_mode & 0o020) == is_open


def test_a_store_that_forbids_local_offers_a_foreign_sender_nothing(wire, north, store):
    store.providers = ["http"]
    store.save()
    answer = wire.ok("clone/batch_stage", batch(item(facts=False), features=()), 201, user="north")
    assert answer["async_transfer_providers"] == {}


def test_a_forged_source_gets_nowhere(offer):
    make_site("west")
    offer(item(), source="west")
    transfer = IncomingTransfer.objects.get()
    assert (transfer.account_name, transfer.peer_name, transfer.upload.source) == ("north", "north", "north")


@pytest.mark.parametrize(
    ("source", "uploader", "told"),
    [("north", "x", "north"), ("a person", "north", "north"), ("a person", "x", ""), ("admin", "x", "admin")],
)
def test_an_administrator_who_carries_a_disk_names_whom_to_tell(offer, source, uploader, told):
    offer(item(uploader=uploader), user="admin", source=source)
    assert IncomingTransfer.objects.get().peer_name == told


@pytest.mark.parametrize(
    ("source", "uploader", "told"), [("north", "x", "north"), ("a person", "north", "north"), ("x", "y", "readappend")]
)
def test_a_person_who_is_no_site_carries_a_disk_as_well(offer, north, source, uploader, told):
    offer(item(uploader=uploader), user="readappend", source=source)
    assert IncomingTransfer.objects.get().peer_name == told


def test_a_thousand_files_take_few_queries(offer, store):
    held = [make_file(f"held{number}.uvh5", content=BYTES, store=store, place=f"d/h{number}") for number in range(3)]
    items = [item(f"zen.{number}.uvh5", source_id=number) for number in range(1000)]
    items += [item(file.name, source_id=2000 + file.pk) for file in held]
    with CaptureQueriesContext(connection) as queries:
        answer = offer(*items)
    assert (len(answer["uploads"]), len(answer["refused"])) == (1000, 3)
    asked = [query["sql"][:60] for query in queries]
    # who asks 3, our name 5, files, copies, transfers, room 2, store's lock, uploads, transfers; savepoints around
    assert len(asked) <= 26, asked


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("features", [FEATURES, ()])
def test_one_offer_that_comes_twice_at_once_is_accepted_once(north, wire, store, features):
    answers, together = [], threading.Barrier(2)

    def send():
        together.wait(10)
        body = batch(
            *(item(f"{number}.uvh5", source_id=number, facts=False) for number in range(20)), features=features
        )
        try:
            answers.append(Wire().post("clone/batch_stage", body, user="north"))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    statuses = sorted(answer.status_code for answer in answers)
    if features:
        assert statuses == [201, 201]
        assert answers[0].json()["uploads"] == answers[1].json()["uploads"]
    else:  # each counts as a new offer to a foreign sender: the second ends the first
        assert statuses in ([201, 201], [201, 406])
    live = IncomingTransfer.objects.live()
    assert live.count() in ((20,) if features else (0, 20))
    assert Upload.objects.live().count() == live.count()


def test_accounts_do_not_meet(wire, north, store):
    make_user("person", level=3)
    wire.ok("clone/batch_stage", batch(item(source_id=1)), 201, user="north")
    answer = wire.ok("clone/batch_stage", batch(item(source_id=1), source="north"), 201, user="person")
    assert only(answer["refused"])["code"] == "being_received"


# --- Stores of other kinds --------------------------------------------------------------------------------------------


@pytest.fixture
def pot(store):
    """The store with the most room is a directory of another machine."""
    measured = {"available": True, "measured_at": timezone.now(), "capacity_bytes": 10**15, "free_bytes": 10**15}
    configuration = {"host": "hpot1", "root": "/data"}
    return Store.objects.create(name="pot", kind="ssh", configuration=configuration, **measured)


def test_who_must_share_the_disk_is_given_a_store_that_can_be_shared(wire, north, store, pot):
    foreign = wire.ok("clone/batch_stage", batch(item(), features=()), 201, user="north")
    assert (foreign["store_name"], list(foreign["async_transfer_providers"])) == ("main", ["local"])
    one = wire.ok("clone/stage", {**item("two.uvh5"), "source": "north"}, 201, user="north")
    assert one["store_name"] == "main"
    ours = batch(item("three.uvh5"), features=("partial_batch", "local"))
    assert wire.ok("clone/batch_stage", ours, 201, user="north")["store_name"] == "main"


def test_who_finds_no_way_in_is_told_so_for_each_file(wire, north, store, pot):
    store.ingestable = False
    store.save()
    ours = batch(item(), features=("partial_batch", "local"))
    refused = only(wire.ok("clone/batch_stage", ours, 201, user="north")["refused"])
    assert refused["code"] == "no_store_available"
    assert "pot is no directory that the sender could share" in refused["reason"]
    assert "rsync" in refused["suggested_remedy"]


@pytest.mark.parametrize("kind", ["ssh", "s3"])
def test_ways_into_stores_of_other_kinds(kind, pot):
    pot.kind, pot.ssh_host = kind, "hpot1.example.org"
    ways = ways_in(pot, FEATURES)
    assert list(ways) == (["rsync", "http"] if kind == "ssh" else ["http"])
    assert ways_in(pot, ()) == {}
    if kind == "ssh":
        assert ways["rsync"].ssh_host == "hpot1.example.org"
