"""Disks that travel: packed and sealed, followed on their way, taken in at the other side, lost and found."""

import ast
import hashlib
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from files.models import FileEvent, Instance, Presence, RemoteInstance
from files.services.event_verification import verify_events
from hera_librarian.features import FEATURES
from librarian.common.errors import Conflict
from librarian.common.models import AuditEntry, ErrorRecord
from network.models import CustodyStep, OutgoingTransfer, Shipment, ShipmentState, TransferState
from network.services.sending.following import follow_transfers
from network.services.shipping import (
    add_note,
    contents_of,
    follow_shipments,
    hand_over,
    manifest_path,
    note_lost,
    note_received,
    pack,
)
from network.services.shipping import packing as packing_module
from network.services.shipping import verify as verifier
from network.services.transfers import complete_outgoing
from tests.make import make_file, make_instance, make_order, make_peer, make_store, make_user
from tests.network.destination import Destination

ODD = 'zen.2457561 it\'s "odd" <ü>.uvh5'
TREE = {"header": b"head", "sub/visdata": b"data" * 100, "empty": None}


@pytest.fixture
def disk(db, tmp_path):
    return make_store(tmp_path, name="disk1", travelling=True, ingestable=False)


@pytest.fixture
def home(db, tmp_path):
    return make_store(tmp_path, name="home")


@pytest.fixture
def south(cast):
    make_user("south", level=3)
    return make_peer("south")


@pytest.fixture
def files(disk, south, cast):
    """A flat file, a directory and one with an odd name, all on the disk."""
    return [
        make_file("zen.2457561.1.uvh5", content=b"one" * 1000, store=disk),
        make_file("zen.2457561.2.uv", content=TREE, store=disk),
        make_file(ODD, content=b"three" * 700, store=disk),
    ]


@pytest.fixture
def packed(cast, disk, files):
    """`packed(hand_over=True)` packs the disk for south."""

    def make(**options):
        wanted = {"store": disk, "peer_name": "south", "begin_transfers": True, "actor": cast["admin"], **options}
        return pack(**wanted)

    return make


def transfers():
    return OutgoingTransfer.objects.order_by("pk")


def states():
    return sorted(transfers().values_list("state", flat=True))


def steps_of(shipment):
    return [each.step for each in shipment.steps.order_by("pk")]


def root_of(store):
    return Path(store.configuration["root"])


def check(folder, *words):
    """Run the verifier as a stranger does."""
    ran = subprocess.run(
        [sys.executable, "-I", str(folder / "verify.py"), *words], capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout + ran.stderr


def events(kind):
    return FileEvent.objects.filter(type=kind).count()


# --- Packing ----------------------------------------------------------------------------------------------------------


def test_packing_begins_a_transfer_for_each_file_and_seals_the_manifest(packed, files, disk):
    shipment = packed()
    assert (shipment.state, shipment.file_count) == (ShipmentState.PACKED, 3)
    assert shipment.size_bytes == sum(file.size_bytes for file in files)
    raw = manifest_path(shipment).read_bytes()
    assert hashlib.sha256(raw).hexdigest() == shipment.seal
    entries = contents_of(shipment)
    assert [entry.name for entry in entries] == [file.name for file in files]
    assert [entry.outgoing_transfer_id for entry in entries] == list(transfers().values_list("pk", flat=True))
    assert contents_of(shipment, start=1, count=1) == entries[1:2]
    for transfer in transfers():
        assert (transfer.state, transfer.queue_item, transfer.shipment) == (TransferState.ONGOING, None, shipment)
        assert transfer.instance.store == disk
    assert steps_of(shipment) == ["packed"]
    assert events("packed") == 3
    assert set(AuditEntry.objects.values_list("action", flat=True)) >= {"pack_disk", "seal_disk"}
    assert verify_events().findings == []


def test_packing_twice_answers_the_same_trip_and_the_same_transfers(packed):
    first, known = packed(), list(transfers().values_list("pk", flat=True))
    again = packed()
    assert (again.pk, again.seal) == (first.pk, first.seal)
    assert list(transfers().values_list("pk", flat=True)) == known
    assert (events("packed"), steps_of(first)) == (3, ["packed"])


def test_what_came_onto_the_disk_since_is_added_as_long_as_it_is_here(packed, disk):
    first = packed()
    make_file("zen.2457561.9.uvh5", content=b"late", store=disk)
    again = packed()
    assert (again.pk, again.file_count) == (first.pk, 4)
    assert again.seal != first.seal
    assert transfers().count() == 4
    hand_over(again, actor=None)
    make_file("zen.2457561.10.uvh5", content=b"later", store=disk)
    assert packed().file_count == 4


class Died(BaseException):
    """What a kill is to the code that it ends."""


@pytest.mark.parametrize("step", ["disk_loaded", "manifest_kept"])
def test_who_died_while_packing_calls_again(packed, monkeypatch, step):
    def die(passed):
        if passed == step:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr("librarian.common.steps.passed", die)
        with pytest.raises(Died):
            packed()
    (shipment,) = Shipment.objects.all()
    Shipment.objects.update(created_at=timezone.now() - timedelta(hours=2))
    follow_shipments()
    assert ErrorRecord.objects.get(cleared_at=None).code == "packing_unfinished"
    assert packed().pk == shipment.pk
    assert (transfers().count(), events("packed"), steps_of(shipment)) == (3, 3, ["packed"])
    follow_shipments()
    assert not ErrorRecord.objects.filter(cleared_at=None).exists()
    assert [path.name for path in manifest_path(shipment).parent.iterdir() if path.name.startswith(".")] == []


def test_what_the_peer_holds_gets_no_transfer(packed, files):
    RemoteInstance.objects.create(file=files[0], peer_name="south", peer_store_id=1, sender="here")
    assert contents_of(packed())[0].outgoing_transfer_id == -1
    assert transfers().count() == 2


def test_a_copy_that_was_found_missing_is_not_carried(packed, files):
    Instance.objects.filter(file=files[0]).update(condition="missing")
    assert [entry.name for entry in contents_of(packed())] == [file.name for file in files[1:]]
    assert transfers().count() == 2


def test_one_that_waits_gives_way_to_the_disk(packed, files):
    waiting = OutgoingTransfer.objects.create(file=files[0], peer_name="south", size_bytes=1)
    shipment = packed()
    waiting.refresh_from_db()
    assert (waiting.state, waiting.is_latest, waiting.code) == (TransferState.CANCELLED, False, "carried")
    (carried,) = transfers().latest().filter(file=files[0])
    assert (carried.shipment, contents_of(shipment)[0].outgoing_transfer_id) == (shipment, carried.pk)


def test_one_that_the_peer_knows_of_keeps_its_id(packed, files):
    sent = OutgoingTransfer.objects.create(
        file=files[0], peer_name="south", size_bytes=1, state=TransferState.STAGED, remote_transfer_id=5
    )
    shipment = packed()
    assert contents_of(shipment)[0].outgoing_transfer_id == sent.pk
    sent.refresh_from_db()
    assert (sent.state, sent.shipment) == (TransferState.STAGED, None)
    assert transfers().count() == 3


def test_a_failed_one_is_tried_again_by_the_disk(packed, files):
    make_failed = {"state": TransferState.FAILED, "reason": "It broke.", "finished_at": timezone.now(), "attempt": 3}
    OutgoingTransfer.objects.create(
        file=files[0], peer_name="south", size_bytes=1, next_try_at=timezone.now(), **make_failed
    )
    packed()
    latest = transfers().latest().get(file=files[0])
    assert (latest.attempt, latest.state) == (4, TransferState.ONGOING)


def test_nothing_is_changed_by_a_refusal(cast, disk, files, tmp_path):
    with pytest.raises(packing_module.NoSuchDestination, match="Librarian nowhere does not exist"):
        pack(store=disk, peer_name="nowhere", begin_transfers=True, disable_store=True, actor=cast["admin"])
    disk.refresh_from_db()
    assert disk.enabled
    assert not Shipment.objects.exists()
    make_peer("west")
    pack(store=disk, peer_name="south", actor=cast["admin"])
    with pytest.raises(packing_module.DiskTravels):
        pack(store=disk, peer_name="west", disable_store=True, actor=cast["admin"])
    disk.refresh_from_db()
    assert disk.enabled


def test_a_bucket_does_not_travel(cast, db):
    from stores.models import Store

    bucket = Store.objects.create(name="bucket", kind="s3", configuration={"bucket": "b", "spool": "/nowhere"})
    with pytest.raises(packing_module.CannotTravel):
        pack(store=bucket, actor=cast["admin"])


def test_a_disk_that_came_back_and_was_filled_anew_makes_another_trip(packed, cast, disk):
    first = packed()
    note_received(first, actor=cast["admin"])
    assert packed().pk == first.pk
    make_file("zen.2457561.11.uvh5", content=b"new", store=disk)
    assert packed().pk != first.pk


# --- Custody ----------------------------------------------------------------------------------------------------------


def test_handing_over_takes_the_copies_along(packed, cast, files, disk):
    shipment = packed(hand_over=True, disable_store=True)
    disk.refresh_from_db()
    assert (shipment.state, shipment.copies_are_handed_over, disk.enabled) == (ShipmentState.HANDED_OVER, True, False)
    assert set(Instance.objects.values_list("presence", flat=True)) == {Presence.HANDED_OVER}
    assert events("handed_over") == 3
    assert steps_of(shipment) == ["packed", "handed_over"]
    assert packed(hand_over=True).seal == shipment.seal
    assert events("handed_over") == 3
    with pytest.raises(Conflict):
        hand_over(shipment, actor=cast["admin"])
    add_note(shipment, actor=cast["admin"], person="a courier", note="Seen at the airport.")
    note_received(shipment, actor=cast["admin"], person="a colleague")
    note_received(shipment, actor=cast["admin"], person="another colleague")
    assert steps_of(shipment) == ["packed", "handed_over", "note", "received", "received"]
    assert shipment.state == ShipmentState.RECEIVED
    assert AuditEntry.objects.filter(action__startswith="disk_").count() == 4


def test_a_hand_over_that_was_cut_is_finished_by_the_job(packed, monkeypatch):
    from network.services.shipping import custody

    shipment = packed()
    monkeypatch.setattr(custody, "let_copies_go", lambda *words, **options: 0)
    hand_over(shipment, actor=None)
    assert events("handed_over") == 0
    monkeypatch.undo()
    follow_shipments()
    assert events("handed_over") == 3
    assert Shipment.objects.get().copies_are_handed_over


def test_what_the_manifest_does_not_list_keeps_the_disk_here(packed, cast, disk):
    shipment = packed()
    make_file("zen.2457561.9.uvh5", content=b"late", store=disk)
    with pytest.raises(Conflict, match="1 copies on store disk1 are not in the manifest"):
        hand_over(shipment, actor=cast["admin"])
    assert (steps_of(shipment), Instance.objects.present().count()) == (["packed"], 4)
    hand_over(packed(), actor=cast["admin"])
    assert not Instance.objects.present().exists()


def test_a_manifest_that_was_written_anew_and_not_sealed_keeps_the_disk_here(packed, cast, disk, monkeypatch):
    shipment = packed()
    make_file("zen.2457561.9.uvh5", content=b"late", store=disk)

    def die(passed):
        if passed == "manifest_kept":
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr("librarian.common.steps.passed", die)
        with pytest.raises(Died):
            packed()
    with pytest.raises(Conflict, match="listed anew and not sealed"):
        hand_over(shipment, actor=cast["admin"])
    packed(hand_over=True)
    assert events("handed_over") == 4


def test_a_disk_that_left_to_nobody_named_does_not_go_elsewhere(packed):
    shipment = packed(peer_name="", begin_transfers=False, hand_over=True)
    with pytest.raises(packing_module.DiskTravels, match="has left already"):
        packed()
    shipment.refresh_from_db()
    assert (shipment.peer_name, transfers().count()) == ("", 0)


# --- The disk's own papers --------------------------------------------------------------------------------------------


def test_a_stranger_checks_the_disk(packed, disk, files):
    shipment, root = packed(), root_of(disk)
    assert (root / "librarian-manifest.json").read_bytes() == manifest_path(shipment).read_bytes()
    page = (root / "index.html").read_text()
    assert shipment.seal in page
    assert "&lt;ü&gt;" in page
    assert "<script" not in page
    assert "http" not in page
    code, said = check(root, "--seal", shipment.seal)
    assert code == 0, said
    assert "3 good, 0 missing, 0 changed, 0 extra" in said
    ran = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=root, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert check(root, "--seal", "0" * 64)[0] == 1


def test_the_checker_names_what_is_not_as_it_was(packed, disk, files):
    packed()
    root = root_of(disk)
    (one, tree, odd) = [root / Instance.objects.get(file=file).path for file in files]
    (root / "left behind.txt").write_bytes(b"x")
    code, said = check(root)
    assert (code, "extra   left behind.txt" in said) == (3, True), said
    flipped = bytearray(one.read_bytes())
    flipped[7] ^= 1
    one.write_bytes(flipped)
    (tree / "sub" / "visdata").write_bytes(b"DATA" * 100)
    odd.unlink()
    code, said = check(root)
    assert code == 1
    assert f"changed {one.relative_to(root)}" in said
    assert f"{tree.relative_to(root)}/sub/visdata has other bytes" in said
    assert "missing" in said
    assert "0 good, 1 missing, 2 changed, 1 extra" in said
    assert check(root, "--quick")[0] == 1
    (root / "librarian-manifest.json").write_bytes(b"{")
    assert check(root)[0] == 2


def test_an_empty_directory_that_went_missing_is_seen(packed, disk, files):
    packed()
    (root_of(disk) / Instance.objects.get(file=files[1]).path / "empty").rmdir()
    code, said = check(root_of(disk))
    assert (code, "its members are others" in said) == (1, True), said


def test_a_manifest_leads_nowhere_else(packed, disk):
    shipment = packed()
    manifest = json.loads(manifest_path(shipment).read_text())
    manifest["store_files"][0]["place"] = "../../etc/passwd"
    (root_of(disk) / "librarian-manifest.json").write_text(json.dumps(manifest))
    code, said = check(root_of(disk))
    assert (code, "is not a place on the disk" in said) == (2, True)


def test_the_checker_speaks_old_python_and_needs_nothing():
    source = Path(verifier.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_lines_of_sha256sum_with_odd_names_are_read_back(tmp_path):
    from network.services.shipping.papers import sum_line

    digest = hashlib.sha256(b"x").hexdigest()
    names = ["plain", "with  two blanks", "back\\slash", "line\nend", "car\rriage", "ü"]
    (tmp_path / "SHA256SUMS").write_bytes(b"".join(sum_line(digest, name) for name in names))
    assert verifier.read_sums(str(tmp_path)) == dict.fromkeys(names, digest)
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    ran = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, capture_output=True)
    assert ran.returncode == 0, ran.stderr


def test_the_checker_reads_no_pipe_and_looks_behind_no_link(packed, disk, files):
    packed()
    root = root_of(disk)
    (one, tree, _) = [root / Instance.objects.get(file=file).path for file in files]
    one.unlink()
    os.mkfifo(one)
    (tree / "header").unlink()
    os.mkfifo(tree / "header")
    (tree / "more").symlink_to(tree / "sub")
    (root / "elsewhere").symlink_to("/usr")
    code, said = check(root)
    assert (code, "2 changed, 1 extra" in said) == (1, True), said
    assert "/header is no file of bytes" in said
    assert "/more is no file of bytes" in said


def test_the_checker_understands_a_manifest_that_is_laid_out_in_another_way(packed, disk, files):
    root = root_of(packed().store)
    paper = root / "librarian-manifest.json"
    paper.write_text(json.dumps(json.loads(paper.read_text()), indent=2))
    assert check(root)[0] == 0
    lines = paper.read_text()
    for text in (lines[:-40], lines.replace('"store_files"', '"files"'), '{"store_files": [7]}', '{"store_files": 7}'):
        paper.write_text(text)
        assert check(root)[0] == 2, text


def test_the_checker_does_not_call_good_what_it_cannot_compare(packed, disk, files):
    root = root_of(packed().store)
    paper = root / "librarian-manifest.json"
    manifest = json.loads(paper.read_text())
    paper.write_text(
        json.dumps({**manifest, "store_files": [{**each, "digest": ""} for each in manifest["store_files"]]})
    )
    (root / "SHA256SUMS").unlink()
    code, said = check(root)
    assert (code, "0 good, 0 missing, 3 changed" in said) == (1, True), said


def test_papers_are_no_archived_files(packed, disk):
    packed()
    listed = {entry.place for entry in disk.backend.list()}
    assert not listed & {"index.html", "SHA256SUMS", "verify.py", "librarian-manifest.json"}
    assert len(listed) == 4  # the directory has two files
    assert disk.backend.place_of(str(root_of(disk) / "index.html")) is None
    assert disk.backend.place_of(str(root_of(disk) / "d" / "index.html")) == "d/index.html"


def test_papers_that_cannot_be_written_are_written_by_the_job(packed, disk, settings):
    disk.hosts = ["another"]
    disk.save()
    shipment = packed()
    assert "not mounted" in shipment.steps.get(step="note").note
    assert not (root_of(disk) / "index.html").exists()
    settings.LIBRARIAN_HOST_NAME = "another"
    follow_shipments()
    assert check(root_of(disk), "--seal", shipment.seal)[0] == 0


def test_a_file_that_lies_where_a_paper_goes_is_not_overwritten(cast, disk, south):
    from network.services.shipping.papers import PlaceOfPaper

    make_file("index.html", content=b"mine", store=disk, place="index.html")
    with pytest.raises(PlaceOfPaper):
        pack(store=disk, actor=cast["admin"])


# --- Over the wire ----------------------------------------------------------------------------------------------------


def manifest_of(wire, **flags):
    response = wire.post("admin/stores/manifest", {"store_name": "disk1", **flags}, user="admin")
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    return json.loads(b"".join(response.streaming_content))


def test_the_manifest_of_the_wire(wire, files, disk):
    answer = manifest_of(wire, create_outgoing_transfers=True, destination_librarian="south")
    assert (answer["librarian_name"], answer["store_name"]) == ("test_librarian", "disk1")
    (transfer, *_) = transfers()
    entry, file = answer["store_files"][0], files[0]
    plain = {
        "name": file.name,
        "create_time": file.registered_at.replace(tzinfo=None).isoformat(),
        "size": 3000,
        "checksum": file.checksum,
        "uploader": file.uploader,
        "source": file.source,
        "instance_path": str(root_of(disk) / "2457561/zen.2457561.1.uvh5"),
        "deletion_policy": 0,
        "instance_create_time": file.instances.get().created_at.replace(tzinfo=None).isoformat(),
        "instance_available": True,
        "outgoing_transfer_id": transfer.pk,
    }
    assert {key: entry[key] for key in plain} == plain
    assert list(entry)[: len(plain)] == list(plain)
    assert answer["file_count"] == 3
    assert manifest_of(wire, create_outgoing_transfers=True, destination_librarian="south") == answer
    assert transfers().count() == 3


def test_a_listing_begins_nothing(wire, files, disk):
    answer = manifest_of(wire)
    assert [entry["outgoing_transfer_id"] for entry in answer["store_files"]] == [-1, -1, -1]
    assert not Shipment.objects.exists()
    manifest_of(wire, disable_store=True)
    disk.refresh_from_db()
    assert not disk.enabled
    Instance.objects.update(presence=Presence.GONE)
    assert manifest_of(wire)["store_files"] == []


def test_refusals_of_the_wire(wire, files, disk):
    status, answer = wire.refused("admin/stores/manifest", {"store_name": "x"}, user="admin")
    assert (status, answer["reason"]) == (400, "Store x does not exist.")
    body = {"store_name": "disk1", "create_outgoing_transfers": True, "disable_store": True}
    for name in ("", "x"):
        status, answer = wire.refused("admin/stores/manifest", {**body, "destination_librarian": name}, user="admin")
        assert (status, answer["reason"]) == (400, f"Librarian {name} does not exist.")
    disk.refresh_from_db()
    assert disk.enabled


def test_copies_leave_with_the_disk(wire, files):
    answer = manifest_of(wire, mark_local_instances_as_unavailable=True)
    assert [entry["instance_available"] for entry in answer["store_files"]] == [True] * 3
    assert not Instance.objects.present().exists()
    assert manifest_of(wire, mark_local_instances_as_unavailable=True) == answer


# --- Arriving ---------------------------------------------------------------------------------------------------------


def complete(wire, transfer, *, user="south", counterpart=77):
    body = {"source_transfer_id": transfer.pk, "destination_transfer_id": counterpart, "store_id": 4}
    return wire.ok("clone/complete", body, user=user)


def test_callbacks_complete_the_trip(wire, packed, files):
    shipment = packed(hand_over=True)
    first, second, third = transfers()
    complete(wire, first, counterpart=77)
    complete(wire, first, counterpart=78)  # told again, by another delivery
    follow_shipments()
    shipment.refresh_from_db()
    assert shipment.state == ShipmentState.RECEIVED
    digest = {"size": files[1].size_bytes, "checksum": files[1].checksum, "digest": files[1].digest}
    said = {"source_transfer_id": second.pk, "destination_transfer_id": 9, "store_id": 4, **digest}
    assert wire.ok("clone/batch_complete", {"completions": [said]}, user="south")["results"][0]["accepted"]
    complete(wire, third, user="admin", counterpart=-1)
    follow_shipments()
    shipment.refresh_from_db()
    assert (shipment.state, states()) == (ShipmentState.VERIFIED, ["completed"] * 3)
    assert steps_of(shipment) == ["packed", "handed_over", "received", "verified"]
    assert set(RemoteInstance.objects.values_list("peer_name", "peer_store_id")) == {("south", 4)}


def test_nobody_else_completes_what_a_disk_carries(wire, packed, cast):
    packed()
    make_user("west", level=3)
    body = {"source_transfer_id": transfers()[0].pk, "destination_transfer_id": 1, "store_id": 4}
    assert wire.refused("clone/complete", body, user="west")[1]["reason"] == "Could not find transfer."
    assert states() == ["ongoing"] * 3


def test_a_vain_attempt_at_the_other_side_ends_nothing(wire, packed):
    packed()
    transfer = transfers()[0]
    body = {"source_transfer_ids": [transfer.pk], "destination_transfer_ids": [], "new_status": 4}
    assert wire.ok("checkin/update", body, user="south")["modified_source_transfer_ids"] == [transfer.pk]
    transfer.refresh_from_db()
    assert transfer.state == TransferState.ONGOING
    assert "could not take it in" in transfer.reason
    assert ErrorRecord.objects.get().code == "disk_file_refused"
    complete(wire, transfer)
    transfer.refresh_from_db()
    assert (transfer.state, transfer.reason) == (TransferState.COMPLETED, "")


def test_a_disk_that_travels_long_is_left_alone(packed, settings):
    packed(hand_over=True)
    OutgoingTransfer.objects.update(changed_at=timezone.now() - timedelta(days=20))
    make_order(name="everything", peer_name="south")
    from network.services.sending.choosing import choose_files

    follow_transfers()
    choose_files()
    assert (states(), transfers().count()) == (["ongoing"] * 3, 3)


def test_people_are_told_of_a_disk_that_takes_long(packed, cast):
    shipment = packed(hand_over=True)
    Shipment.objects.update(changed_at=timezone.now() - timedelta(days=31))
    assert follow_shipments()["late"] == 1
    assert "3 of its files are not confirmed" in ErrorRecord.objects.get(cleared_at=None).message
    shipment.refresh_from_db()
    note_received(shipment, actor=cast["admin"])
    assert not ErrorRecord.objects.filter(cleared_at=None).exists()


def test_people_are_told_of_a_disk_that_was_packed_and_forgotten(packed, cast):
    """Nobody need enter that it left: if it never arrives, that must not stay unsaid."""
    shipment = packed()
    Shipment.objects.update(changed_at=timezone.now() - timedelta(days=31))
    assert follow_shipments()["late"] == 1
    told = ErrorRecord.objects.get(cleared_at=None)
    assert (told.code, "has been packed for more than 30 days" in told.message) == ("shipment_late", True)
    shipment.refresh_from_db()
    hand_over(shipment, actor=cast["admin"])
    assert not ErrorRecord.objects.filter(cleared_at=None).exists()


@pytest.mark.parametrize("features", [FEATURES, ()], ids=["ours", "foreign"])
def test_the_other_site_is_asked_in_the_end(cast, disk, standin, tmp_path, features):
    """One that never calls back: what it holds is complete, the rest waits for the disk."""
    there = Destination(standin, tmp_path, features=features)
    there.make_peer()
    held, other, missing = (make_file(f"{name}.uvh5", content=name.encode(), store=disk) for name in "abc")
    shipment = pack(store=disk, peer_name="south", begin_transfers=True, actor=cast["admin"])
    there.hold(held)
    there.hold(other, content=b"other bytes")
    assert follow_shipments() == {"completed": 0, "moved": 0, "late": 0}
    note_received(shipment, actor=cast["admin"])
    assert follow_shipments() == {"completed": 1, "moved": 0, "late": 0}
    assert [transfer.state for transfer in transfers()] == ["completed", "failed", "ongoing"]
    assert (transfers()[1].code, transfers()[1].next_try_at) == ("other_bytes_at_peer", None)
    assert follow_shipments()["completed"] == 0  # not due again at once
    there.hold(missing)
    OutgoingTransfer.objects.filter(next_check_at__isnull=False).update(next_check_at=timezone.now())
    assert follow_shipments()["completed"] == 1


def test_a_site_that_does_not_answer_changes_nothing(packed, cast):
    shipment = packed()
    note_received(shipment, actor=cast["admin"])
    follow_shipments()
    assert states() == ["ongoing"] * 3
    assert transfers()[0].code == "peer_unreachable"


# --- Lost -------------------------------------------------------------------------------------------------------------


def test_a_lost_disk_has_its_files_sent_over_the_network(packed, home, files, cast):
    for file in files[:2]:
        make_instance(file, home)
    shipment = packed(hand_over=True)
    complete_outgoing(transfers()[0], peer_store_id=4)
    assert note_lost(shipment, actor=cast["admin"], note="The courier lost it.") == 1
    assert (shipment.state, states()) == (ShipmentState.LOST, ["completed", "failed", "failed", "initiated"])
    new = transfers().last()
    assert (new.file, new.shipment, new.asked_by) == (files[1], None, "admin")
    lost = transfers().get(file=files[2])
    assert (lost.code, lost.next_try_at) == ("lost_in_post", None)
    told = ErrorRecord.objects.get(cleared_at=None)
    assert (told.code, told.severity) == ("disk_lost", "error")
    assert "1 of its files are sent over the network; 0 wait for the next disk; 1 have no other copy" in told.message
    assert note_lost(shipment, actor=cast["admin"]) == 0
    assert transfers().count() == 4
    assert steps_of(shipment)[-1] == "lost"


def test_what_an_order_carries_is_put_onto_its_next_disk(packed, home, files, disk, cast, tmp_path):
    from network.services.copying.choosing import choose_copies

    for file in files:
        make_instance(file, home)
    spare = make_store(tmp_path, name="disk2", travelling=True, ingestable=False)
    search = json.dumps({"name-matches": "zen.2457561._.%"})
    make_order(name="carry", peer_name="south", way="carry", targets=[disk.pk, spare.pk], search=search)
    shipment = packed(hand_over=True)
    assert choose_copies()["chosen"] == 0
    assert note_lost(shipment, actor=cast["admin"]) == 3
    assert [each.file for each in transfers().filter(state=TransferState.INITIATED)] == [files[2]]
    assert choose_copies()["chosen"] == 2
    for file in files[:2]:
        make_instance(file, spare)
    again = packed(store=spare)
    assert again.pk != shipment.pk
    assert again.transfers.count() == 2
    assert not transfers().latest().filter(shipment=shipment, file__in=files[:2]).exists()


def test_a_disk_is_lost_although_its_manifest_lies_on_another_host(packed, home, files, cast):
    make_instance(files[0], home)
    shipment = packed()
    manifest_path(shipment).unlink()
    assert note_lost(shipment, actor=cast["admin"]) == 1
    assert list(Instance.objects.present().values_list("store__name", flat=True)) == ["home"]


def test_all_goes_over_the_network_if_a_person_says_so(packed, home, files, cast):
    for file in files:
        make_instance(file, home)
    make_order(name="carry", peer_name="south", way="carry", targets=[1])
    assert note_lost(packed(), actor=cast["admin"], over_network=True) == 3
    assert transfers().filter(state=TransferState.INITIATED).count() == 3


def test_a_disk_that_turns_up_after_all(wire, packed, home, files, cast):
    for file in files:
        make_instance(file, home)
    shipment = packed(hand_over=True)
    note_lost(shipment, actor=cast["admin"])
    note_received(shipment, actor=cast["admin"], person="the courier")
    assert (shipment.state, shipment.finished_at) == (ShipmentState.RECEIVED, None)
    assert not ErrorRecord.objects.filter(code="disk_lost", cleared_at=None).exists()
    for transfer in transfers().filter(shipment=shipment):
        complete(wire, transfer)
    assert RemoteInstance.objects.count() == 3
    follow_shipments()
    shipment.refresh_from_db()
    assert shipment.state == ShipmentState.VERIFIED
    assert CustodyStep.objects.filter(step="lost").count() == 1


@pytest.mark.parametrize("cut", ["noted", "ended"])
def test_a_loss_that_was_cut_is_finished_by_the_job(packed, home, files, cast, monkeypatch, cut):
    from network.services.shipping import losing

    for file in files:
        make_instance(file, home)
    make_order(name="carry", peer_name="south", way="carry", targets=[1])
    shipment = packed(hand_over=True)

    def die(*words, **options):
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(losing, {"noted": "_end_transfers", "ended": "_want_again"}[cut], die)
        with pytest.raises(Died):
            note_lost(shipment, actor=cast["admin"], over_network=True)
    follow_shipments()
    assert transfers().count() == 3  # whoever began it may be at work
    Shipment.objects.update(finished_at=timezone.now() - timedelta(hours=1))
    follow_shipments()
    assert states() == ["failed"] * 3 + ["initiated"] * 3
    assert "3 of its files are sent over the network" in ErrorRecord.objects.get(cleared_at=None).message
    follow_shipments()
    assert (transfers().count(), ErrorRecord.objects.get().count) == (6, 1)


def test_a_lost_disk_without_transfers_says_what_was_on_it_alone(packed, home, files, cast):
    make_instance(files[0], home)
    shipment = packed(peer_name="", begin_transfers=False, hand_over=True)
    assert note_lost(shipment, actor=cast["admin"]) == 0
    told = ErrorRecord.objects.get(cleared_at=None)
    assert (told.severity, "2 have no other copy here" in told.message) == ("error", True), told.message
