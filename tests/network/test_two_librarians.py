"""Two real sites that push files to each other, and what may happen to either meanwhile: nothing is lost or doubled."""

import subprocess
import urllib.error
from pathlib import Path

import pytest

from tests.network.members import (
    Member,
    assert_arrived,
    assert_bytes,
    assert_failed,
    introduce,
    network,
    settle,
)
from tests.wire.caller import checksum, sha256

TREE = {"header": b"head", "vartable": b"vars", "sub/visdata": b"data" * 5000, "empty": None}
BYTES = b"a night" * 1000
MIB = 2**20


@pytest.fixture
def start(tmp_path):
    """`start("north")` starts a site of one test."""
    with network(tmp_path) as starter:
        yield starter


@pytest.fixture(scope="module")
def shared_duo(tmp_path_factory):
    with network(tmp_path_factory.mktemp("two")) as starter:
        north, south = (starter(name, spoilable=True) for name in ("north", "south"))
        introduce(north, south)
        north.order(south)
        yield north, south


@pytest.fixture
def duo(shared_duo):
    """North, which sends every file to south: the same two for all tests, at rest between them."""
    yield shared_duo
    settle(*shared_duo)


def waiting_for(sender: Member, receiver: Member, name: str) -> dict[str, str]:
    """What the sender says about a file that is not there yet."""
    found = sender.audit("sent", receiver.name)[name]
    assert found["copies"] == 0
    return found


def facts_of(member: Member, name: str) -> dict[str, object]:
    columns = "'checksum', 'digest', 'size_bytes', 'uploader', 'obsid', 'first_registered_at'"
    return member.jobs.evaluate(f"File.objects.values({columns}).get(name={name!r})")


# --- The usual --------------------------------------------------------------------------------------------------------


def test_files_arrive_with_all_that_is_known_of_them(duo):
    north, south = duo
    north.deliver("zen.2457561.1.uvh5", BYTES)
    north.deliver("zen.2457561.1.uv", TREE)
    north.deliver("zen.2457561.1.empty", b"")
    settle(north, south)
    assert_arrived(north, south)
    for name in north.given:
        assert facts_of(south, name) == facts_of(north, name)
    assert (Path(south.audit("held")["zen.2457561.1.uv"][0]) / "empty").is_dir()


def test_taking_the_receiver_down_and_up_loses_nothing(duo):
    north, south = duo
    south.site.kill()
    north.deliver("zen.2457561.2.uvh5", BYTES)
    for _ in range(3):
        north.run(check=False)
        north.audit("pass_time")
    waiting = waiting_for(north, south, "zen.2457561.2.uvh5")
    assert waiting["code"] == "peer_unreachable"
    assert waiting["reason"]
    south.site.start()
    settle(north, south)
    assert_arrived(north, south, "zen.2457561.2.uvh5")


def test_taking_the_sender_down_while_the_receiver_works_loses_nothing(duo):
    north, south = duo
    north.deliver("zen.2457561.3.uvh5", BYTES)
    north.run()
    north.site.kill()
    for _ in range(3):
        south.run(check=False)
        south.audit("pass_time")
    north.site.start()
    settle(north, south)
    assert_arrived(north, south, "zen.2457561.3.uvh5")


def test_nothing_is_sent_to_a_peer_that_is_switched_off_in_the_middle(duo):
    north, south = duo
    north.deliver("zen.2457561.4.uvh5", BYTES)
    north.run("choose_files", "offer_files")
    north.ask("admin/librarians/transfer_status/change", {"librarian_name": "south", "transfers_enabled": False})
    for _ in range(2):
        north.run(check=False)
        south.run(check=False)
        north.audit("pass_time")
    assert "zen.2457561.4.uvh5" not in south.audit("held")
    north.ask("admin/librarians/transfer_status/set", {"librarian_name": "south", "transfers_enabled": True})
    settle(north, south)
    assert_arrived(north, south, "zen.2457561.4.uvh5")


def test_a_peer_that_is_removed_in_the_middle_and_added_again_has_lost_nothing(duo):
    north, south = duo
    known = north.jobs.evaluate("RemoteInstance.objects.filter(peer_name='south').count()")
    north.deliver("zen.2457561.5.uvh5", BYTES)
    north.run("choose_files", "offer_files")
    north.ask("admin/librarians/remove", {"librarian_name": "south", "remove_outgoing_transfers": True})
    for _ in range(2):
        north.run(check=False)
        south.run(check=False)
        for member in duo:
            member.audit("pass_time")
    assert north.jobs.evaluate("RemoteInstance.objects.filter(peer_name='south').count()") == known
    north.know("south", south.port, "north:the secret of north")
    settle(north, south)
    assert_arrived(north, south, "zen.2457561.5.uvh5")


def test_a_lie_about_a_digest_completes_nothing(duo):
    """South's account tells a digest of other bytes; north believes it nothing and sends again."""
    north, south = duo
    name = "zen.2457561.7.uvh5"
    north.deliver(name, BYTES)
    north.run()
    transfer = north.jobs.evaluate(f"OutgoingTransfer.objects.filter(file__name={name!r}).values().get()")
    said = {
        "source_transfer_id": transfer["id"],
        "destination_transfer_id": transfer["remote_transfer_id"],
        "store_id": 1,
        "size": len(BYTES),
        "checksum": checksum(BYTES),
        "digest": sha256(b"other bytes"),
    }
    answer = north.ask("clone/batch_complete", {"completions": [said]}, "south:the secret of south")
    assert answer["results"][0]["accepted"] is False
    refused = waiting_for(north, south, name)
    assert (refused["state"], sha256(BYTES) in refused["reason"]) == ("failed", True)
    settle(north, south)
    assert_arrived(north, south, name)


def test_a_sender_that_lies_about_a_digest_brings_nothing_in(duo):
    north, south = duo
    name = "zen.2457561.8.uvh5"
    offer = {
        "upload_size": len(BYTES),
        "upload_checksum": checksum(BYTES),
        "upload_name": name,
        "destination_location": name,
        "uploader": "pipeline",
        "source_transfer_id": 9_000_001,
        "facts": {"kind": "flat", "digest": sha256(b"other bytes")},
    }
    features = ["partial_batch", "facts", "local"]
    batch = {"uploads": [offer], "source": "north", "total_size": len(BYTES), "librarian_features": features}
    taken = south.ask("clone/batch_stage", batch, "north:the secret of north")["uploads"][0]
    Path(taken["staging_location"]).write_bytes(BYTES)
    ids = [taken["destination_transfer_id"]]
    for status in (1, 2):
        told = {"source_transfer_ids": [], "destination_transfer_ids": ids, "new_status": status}
        south.ask("checkin/update", told, "north:the secret of north")
    south.run("receive_transfers")
    (row,) = south.jobs.evaluate(f"list(IncomingTransfer.objects.filter(name={name!r}).values())")
    assert row["state"] == "failed"
    assert sha256(BYTES) in row["reason"]
    assert sha256(b"other bytes") in row["reason"]
    assert row["kept_aside_at"]
    assert name not in south.audit("held")
    south.audit("pass_time")
    settle(north, south)


def test_nobody_else_moves_a_transfer(duo):
    north, south = duo
    name = "zen.2457561.9.uvh5"
    stranger = south.admit("stranger")
    north.deliver(name, BYTES)
    north.run("choose_files", "offer_files")
    row = north.jobs.evaluate(f"OutgoingTransfer.objects.filter(file__name={name!r}).values().get()")
    theirs = row["remote_transfer_id"]
    ids = {"source_transfer_id": row["id"], "destination_transfer_id": theirs}
    for status in (1, 2, 4, 5):
        told = {"source_transfer_ids": [], "destination_transfer_ids": [theirs], "new_status": status}
        assert south.ask("checkin/update", told, stranger)["unmodified_destination_transfer_ids"] == [theirs]
    for endpoint, more in (("clone/ongoing", {}), ("clone/staged", {}), ("clone/fail", {"reason": "mine"})):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            south.ask(endpoint, {**ids, **more}, stranger)
    asked = {"source_transfer_ids": [], "destination_transfer_ids": [theirs]}
    assert south.ask("checkin/status", asked, stranger)["destination_transfer_status"] == {str(theirs): None}
    settle(north, south)
    assert_arrived(north, south, name)


# --- Room and disks ---------------------------------------------------------------------------------------------------


def test_a_receiver_without_room_says_so_and_takes_it_later(duo):
    north, south = duo
    name = "zen.2457561.10.uvh5"
    south.jobs.execute("Store.objects.update(fullness_limit=0.01)")
    south.jobs.run("measure_stores")
    north.deliver(name, BYTES)
    for _ in range(3):
        north.run(check=False)
        north.audit("pass_time")
    waiting = waiting_for(north, south, name)
    assert "room" in waiting["reason"]
    assert waiting["remedy"]
    assert waiting["next_try_at"]
    south.jobs.execute("Store.objects.update(fullness_limit=1)")
    south.jobs.run("measure_stores")
    settle(north, south)
    assert_arrived(north, south, name)


def test_a_disk_that_fills_up_on_the_way_is_waited_for(start, tmp_path):
    """8 MiB at the receiver: one file fits nowhere, another writer takes the room of the second."""
    north, south = start("north"), Member("south", tmp_path)
    place = south.site.store_path
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=True)
    try:
        south.site.prepare(store=False)
        south.site.manage("add_store", "store", "--kind", "posix", "--path", str(place))
        south.site.start()
        introduce(north, south)
        north.order(south)
        too_large, large = "zen.2457561.1.uvh5", "zen.2457561.2.uvh5"
        north.deliver(too_large, b"x" * 12 * MIB)
        north.deliver(large, b"y" * 5 * MIB)
        north.run("choose_files", "offer_files")
        (place / "hog").write_bytes(b"z" * 6 * MIB)
        for _ in range(3):
            north.run(check=False)
            south.run(check=False)
            for member in (north, south):
                member.audit("pass_time")
        assert large not in south.audit("held")
        (place / "hog").unlink()
        south.jobs.run("measure_stores")
        for _ in range(8):
            north.run(check=False)
            south.run(check=False)
            for member in (north, south):
                member.audit("pass_time")
        assert north.audit("sent", "south")[large]["copies"] == 1
        assert_bytes(Path(south.audit("held")[large][0]), north.given[large])
        waiting = waiting_for(north, south, too_large)
        assert "room" in waiting["reason"]
    finally:
        south.stop()
        while subprocess.run(["umount", "-l", place], capture_output=True).returncode == 0:
            pass


def test_a_store_that_is_unmounted_on_the_way_is_waited_for(duo):
    north, south = duo
    name = "zen.2457561.11.uvh5"
    store, away = south.site.store_path, south.site.folder / "away"
    north.deliver(name, BYTES)
    north.run()
    store.rename(away)
    store.mkdir()  # the empty mount point
    try:
        for _ in range(2):
            south.run(check=False)
            south.audit("pass_time")
            north.run(check=False)
        (row,) = south.jobs.evaluate(f"list(IncomingTransfer.objects.filter(name={name!r}).values('state', 'reason'))")
        assert row["state"] == "staged"
        assert row["reason"]
        assert list(store.iterdir()) == []
    finally:
        store.rmdir()
        away.rename(store)
    south.jobs.run("measure_stores")
    settle(north, south)
    assert_arrived(north, south, name)


def test_new_credentials_in_the_middle_are_asked_for_and_then_it_goes_on(duo):
    north, south = duo
    north.deliver("zen.2457561.6.uvh5", BYTES)
    north.run("choose_files", "offer_files")
    south.ask("users/update", {"username": "north", "password": "another secret of north"})
    for _ in range(3):
        north.run(check=False)
        north.audit("pass_time")
    (said,) = north.jobs.evaluate("list(SendQueueItem.objects.live().values('reason', 'remedy'))")
    assert "refuses our account" in said["reason"]
    assert said["remedy"]
    north.ask("admin/librarians/remove", {"librarian_name": "south"})
    north.know("south", south.port, "north:another secret of north")
    settle(north, south)
    assert_arrived(north, south, "zen.2457561.6.uvh5")


# --- Time and the past ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_seconds", [3600, -3600])
def test_a_receiver_whose_clock_is_an_hour_off_is_no_trouble(start, ahead_seconds):
    other_clock = {
        "PYTHONPATH": "tests/rig/other_clock",
        "PYTHONHASHSEED": "0",  # unlike ours: a new interpreter, which reads the path (tests/rig/forks.py)
        "OTHER_CLOCK_SECONDS": str(ahead_seconds),
    }
    north, south = start("north", spoilable=True), start("south", spoilable=True, **other_clock)
    introduce(north, south)
    introduce_back(north, south)
    north.deliver("zen.2457561.1.uvh5", BYTES)
    south.deliver("zen.2457561.2.uvh5", BYTES)
    settle(north, south)
    assert_arrived(north, south, "zen.2457561.1.uvh5")
    assert_arrived(south, north, "zen.2457561.2.uvh5")


def introduce_back(north: Member, south: Member) -> None:
    """Orders in both directions between two that know each other."""
    north.order(south)
    south.order(north)


def test_two_sites_that_push_to_each_other_come_to_rest(start):
    north, south = start("north"), start("south")
    introduce(north, south)
    introduce_back(north, south)
    north.deliver("zen.2457561.1.uvh5", BYTES)
    north.deliver("zen.2457561.1.uv", TREE)
    south.deliver("zen.2457561.2.uvh5", BYTES[::-1])
    same = "zen.2457561.3.uvh5"
    for member in (north, south):
        member.deliver(same, BYTES)
    settle(north, south)
    assert_arrived(north, south)
    assert_arrived(south, north)
    for member, other in ((north, south), (south, north)):
        sent = member.audit("sent", other.name)
        assert {name: row["copies"] for name, row in sent.items()} == dict.fromkeys(sent, 1)
        assert len(sent) == 4
    before = [member.jobs.evaluate("OutgoingTransfer.objects.count()") for member in (north, south)]
    for member in (north, south):
        member.audit("pass_time")
        member.run()
    assert [member.jobs.evaluate("OutgoingTransfer.objects.count()") for member in (north, south)] == before


def test_one_name_with_two_contents_is_a_conflict_that_people_learn_of(start):
    north, south = start("north"), start("south")
    introduce(north, south)
    north.order(south)
    name = "zen.2457561.1.uvh5"
    north.deliver(name, BYTES)
    south.deliver(name, BYTES[::-1])
    north.deliver("zen.2457561.2.uvh5", BYTES)
    settle(north, south)
    said = assert_failed(north, south, name)
    assert said["next_try_at"] is None
    assert_arrived(north, south, "zen.2457561.2.uvh5")
    assert_bytes(Path(south.audit("held")[name][0]), BYTES[::-1])
    assert north.jobs.evaluate(f"ErrorRecord.objects.filter(message__contains={name!r}).count()") >= 1


def test_a_receiver_restored_from_an_older_backup_is_healed(start):
    """South forgets what arrived since, what was on its way, and gives its numbers out anew."""
    north, south = start("north"), start("south")
    introduce(north, south)
    north.order(south)
    north.deliver("zen.2457561.1.uvh5", BYTES)
    settle(north, south)
    restore = south.back_up()
    north.deliver("zen.2457561.2.uvh5", b"arrived after the backup" * 100)
    settle(north, south)
    north.deliver("zen.2457561.3.uvh5", b"on its way at the restore" * 100)
    north.run()
    with south.stopped():
        restore()
    assert sorted(south.audit("held")) == ["zen.2457561.1.uvh5"]
    north.deliver("zen.2457561.4.uvh5", b"sent after the restore" * 100)
    settle(north, south)
    age = "from datetime import timedelta; from django.db.models import F; "
    north.jobs.execute(age + "RemoteInstance.objects.update(confirmed_at=F('confirmed_at') - timedelta(days=400))")
    north.jobs.run("confirm_remote_instances")
    settle(north, south)
    sent, held = north.audit("sent", "south"), south.audit("held")
    for name, content in north.given.items():
        assert sent[name]["copies"] == 1, (name, sent[name])
        assert len(held[name]) == 1
        assert_bytes(Path(held[name][0]), content)
    assert north.audit("left_over") == {}
    assert south.audit("left_over") == {}


def test_bytes_go_by_a_shared_disk_where_there_is_one(start):
    north, south = start("north"), start("south", spoilable=True)
    introduce(north, south, shared=True)
    north.order(south)
    north.deliver("zen.2457561.1.uvh5", BYTES)
    north.deliver("zen.2457561.1.uv", TREE)
    settle(north, south)
    assert_arrived(north, south)
    assert not [call for call in south.line.calls if call.method in ("PATCH", "PUT")]
    assert north.jobs.evaluate("list(SendQueueItem.objects.values_list('provider', flat=True).distinct())") == ["local"]
