"""A night on two disks between two real sites: one is carried and taken in by the real command, one is lost."""

import hashlib
import json
import shutil
import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest

from tests.hera_librarian.cli.running import command_line, environment_of, run_command
from tests.network.members import ALL, assert_bytes, introduce, network, settle
from tests.rig.processes import wait_for
from tests.rig.servers import ADMIN, ADMIN_PASSWORD

KIB = 1024
FIRST = {
    "zen.2457561.10.uvh5": b"first" * 50 * KIB,
    'zen.2457561.11 it\'s "odd" ü.uvh5': b"second" * 50 * KIB,
    "zen.2457561.12.uv": {"header": b"head", "sub/visdata": b"data" * 20 * KIB, "empty": None},
    "zen.2457561.13.empty": b"",
}
SECOND = {"zen.2457562.20.uvh5": b"third" * KIB, "zen.2457562.21.uvh5": b"fourth" * KIB}
SHIPPING = "__import__('network.services.shipping', fromlist=['x'])"
FILL = """
from network.services.copying.choosing import choose_copies
from files.services.copying import copy_files
choose_copies()
copy_files()
"""
COURIER = "courier"


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    with network(tmp_path_factory.mktemp("disks")) as start:
        north, south = start("north"), start("south")
        introduce(north, south)
        south.admit(COURIER)
        yield north, south


@pytest.fixture
def librarian(sites, tmp_path):
    """Run the real command: `librarian("ingest-manifest", "south", …)`."""
    north, south = sites
    accounts = {
        "north": {"url": north.site.url, "authenticator": f"{ADMIN}:{ADMIN_PASSWORD}"},
        "south": {"url": south.site.url, "authenticator": f"{COURIER}:the secret of {COURIER}"},
    }
    home = tmp_path / "home"
    home.mkdir()
    env = environment_of(home, accounts)

    def run(*words):
        return run_command(*words, cwd=tmp_path, env=env)

    run.env, run.home = env, home
    return run


def add_disk(north, name, search, *, peer="south"):
    """A travelling store and the order that fills it."""
    path = north.site.folder / name
    north.site.manage("add_store", name, "--kind", "posix", "--path", str(path), "--travelling", "--not-ingestable")
    fields = {"name": f"fill {name}", "search": search, "peer_name": peer, "way": "carry"}
    north.jobs.execute(f"StandingOrder.objects.create(targets=[Store.objects.get(name={name!r}).pk], **{fields!r})")
    return path


def pack(librarian, tmp_path, name, *, peer="south"):
    output = tmp_path / f"{name}.json"
    words = ["--destination-librarian", peer, "--disable-store", "--mark-instances-as-unavailable"]
    ran = librarian("get-store-manifest", "north", "--store", name, *words, "--output", output)
    assert ran.code == 0, ran.err
    return output


def check(folder, *words):
    ran = subprocess.run([sys.executable, "-I", folder / "verify.py", *words], capture_output=True, text=True)
    return ran.returncode, ran.stdout + ran.stderr


def sent(north):
    return {name: (facts["state"], facts["copies"]) for name, facts in north.audit("sent", "south").items()}


def follow(north):
    return north.jobs.evaluate(f"{SHIPPING}.follow_shipments()")


def trips(north):
    return dict(north.jobs.evaluate("list(Shipment.objects.values_list('store__name', 'state'))"))


def interrupt(librarian, *words, at):
    """Start the command and kill it once its journal has noted `at`."""
    process = subprocess.Popen(command_line(*words), env=librarian.env, stdout=subprocess.DEVNULL)
    folder = librarian.home / ".local/state/librarian/disks"

    def is_there():
        assert process.poll() is None, "it ended before it was interrupted"
        return any(f'"step": "{at}"' in path.read_text() for path in folder.glob("*.jsonl"))

    try:
        wait_for(is_there, timeout_seconds=60, what=f"the journal to note {at}")
    finally:
        process.kill()
        process.wait()


def test_a_night_on_two_disks_of_which_one_is_lost(sites, librarian, tmp_path):
    north, south = sites
    for name, content in {**FIRST, **SECOND}.items():
        north.deliver(name, content)
    first = add_disk(north, "disk1", '{"name-matches": "zen.2457561.%"}')
    add_disk(north, "disk2", '{"name-matches": "zen.2457562.%"}')
    north.jobs.execute(FILL)
    manifest = pack(librarian, tmp_path, "disk1")
    pack(librarian, tmp_path, "disk2")
    north.run(*ALL)
    assert set(sent(north).values()) == {("ongoing", 0)}
    assert trips(north) == {"disk1": "handed_over", "disk2": "handed_over"}

    # The first is carried, checked by a stranger, and taken in by somebody who is interrupted.
    carried = tmp_path / "media" / "a disk"
    shutil.move(first, carried)
    seal = hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert check(carried, "--seal", seal)[0] == 0
    words = ["ingest-manifest", "south", "--store-root", str(carried), "--seal", seal]
    interrupt(librarian, *words, "--bandwidth", "150kB", at="copied")
    assert south.audit("moving")["incoming"]
    for _ in range(2):
        ran = librarian(*words, "--json")
        assert ran.code == 0, ran.out + ran.err
    assert {each["outcome"] for each in ran.records} == {"already here"}
    settle_first(north, south)
    assert {name: sent(north)[name] for name in FIRST} == dict.fromkeys(FIRST, ("completed", 1))
    assert trips(north) == {"disk1": "verified", "disk2": "handed_over"}
    held = south.audit("held")
    for name, content in FIRST.items():
        assert len(held[name]) == 1
        assert_bytes(Path(held[name][0]), content)
    told = south.jobs.evaluate("list(File.objects.values_list('source', 'uploader').order_by().distinct())")
    assert told == [["north", "pipeline"]]

    # The second never arrives.
    lost = f"{SHIPPING}.note_lost(Shipment.objects.get(store__name='disk2'), actor=None, over_network=True)"
    assert north.jobs.evaluate(lost) == 2
    settle(north, south)
    assert {name: sent(north)[name] for name in SECOND} == dict.fromkeys(SECOND, ("completed", 1))
    for name, content in SECOND.items():
        assert_bytes(Path(south.audit("held")[name][0]), content)
    assert south.audit("left_over") == {}

    # Whoever keeps the disk in a drawer learns of a flipped bit.
    (spoilt,) = carried.rglob("zen.2457561.10.uvh5")
    spoilt.chmod(0o644)
    content = bytearray(spoilt.read_bytes())
    content[77] ^= 4
    spoilt.write_bytes(content)
    code, said = check(carried, "--seal", seal)
    assert (code, "changed " in said) == (1, True), said


def settle_first(north, south):
    south.run("receive_transfers", "report_transfers")
    assert follow(north)["moved"] == 1


def test_who_sees_no_shared_disk_brings_it_over_http(sites, librarian, tmp_path):
    north, south = sites
    files = {"zen.2457563.1.uvh5": b"web" * 40 * KIB, "zen.2457563.2.uv": {"a": b"x" * KIB, "b/c": b"", "empty": None}}
    for name, content in files.items():
        north.deliver(name, content)
    disk = add_disk(north, "disk3", '{"name-matches": "zen.2457563.%"}')
    north.jobs.execute(FILL)
    pack(librarian, tmp_path, "disk3")
    ran = librarian("ingest-manifest", "south", "--store-root", disk, "--way", "http")
    assert ran.out == "Successfully ingested 2/2 files, 0/2 already existed.\n", ran.err
    settle_first(north, south)
    for name, content in files.items():
        assert_bytes(Path(south.audit("held")[name][0]), content)
    assert trips(north)["disk3"] == "verified"


def test_one_bad_file_stops_no_other_and_what_is_there_is_closed_by_hand(sites, librarian, tmp_path):
    north, south = sites
    names = [f"zen.2457564.{number}.uvh5" for number in range(4)]
    for name in names:
        north.deliver(name, name.encode() * 100)
    disk = add_disk(north, "disk4", '{"name-matches": "zen.2457564.%"}')
    north.jobs.execute(FILL)
    pack(librarian, tmp_path, "disk4")
    south.deliver(names[0], names[0].encode() * 100)
    spoilt, missing = (next(disk.rglob(name)) for name in names[1:3])
    spoilt.chmod(0o644)
    spoilt.write_bytes(names[1].encode()[::-1] * 100)
    missing.unlink()
    words = ["ingest-manifest", "south", "--store-root", disk, "--source-connection", "north"]
    ran = librarian(*words, "--json")
    assert ran.code == 5
    told = {each["name"]: (each["outcome"], each.get("code")) for each in ran.records}
    assert told == {
        names[0]: ("already here", None),
        names[1]: ("failed", "content_mismatch"),
        names[2]: ("failed", "missing_bytes"),
        names[3]: ("new", None),
    }
    assert sent(north)[names[0]] == ("completed", 1)
    south.run("receive_transfers", "report_transfers")
    follow(north)
    assert [sent(north)[name][0] for name in names] == ["completed", "ongoing", "ongoing", "completed"]
    assert "could not take it in from the disk" in north.audit("sent", "south")[names[1]]["reason"]
    assert trips(north)["disk4"] == "received"


def test_a_manifest_cannot_reach_around_the_disk(sites, librarian, tmp_path):
    north, _ = sites
    north.deliver("zen.2457565.1.uvh5", b"harmless")
    disk = add_disk(north, "disk5", '{"name-matches": "zen.2457565.%"}')
    north.jobs.execute(FILL)
    manifest = json.loads(pack(librarian, tmp_path, "disk5").read_text())
    secret = tmp_path / "secret"
    secret.write_bytes(b"harmless")
    (disk / "link").symlink_to(secret)
    for number, trick in enumerate(["../secret", str(secret), "link", "a/../../secret"]):
        entry = {**manifest["store_files"][0], "place": trick, "name": trick, "instance_path": f"/{trick}"}
        manifest["store_files"] = [entry]
        forged = tmp_path / f"forged{number}.json"
        forged.write_text(json.dumps({**manifest, "size_bytes": 8}))
        ran = librarian("ingest-manifest", "south", "--manifest", forged, "--store-root", disk, "--json")
        assert (ran.code, [each["outcome"] for each in ran.records]) == (1, ["failed"]), ran.out + ran.err
        assert ran.records[0]["code"] in ("unsafe_place", "missing_bytes")
    ran = librarian("ingest-manifest", "south", "--manifest", forged, "--store-root", disk, "--seal", "0" * 64)
    assert (ran.code, "nothing was taken in" in ran.err) == (1, True)


def test_a_courier_closes_nothing_that_is_not_on_the_disk(sites, librarian, tmp_path):
    """A forged manifest names another transfer: the digests are compared, and it stays open."""
    north, south = sites
    north.deliver("zen.2457566.1.uvh5", b"the true bytes")
    disk = add_disk(north, "disk6", '{"name-matches": "zen.2457566.%"}')
    north.jobs.execute(FILL)
    manifest = json.loads(pack(librarian, tmp_path, "disk6").read_text())
    content = b"other bytes!!!"
    (disk / "forged.uvh5").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    forgery = {"name": "zen.forged.uvh5", "place": "forged.uvh5", "digest": digest, "checksum": f"sha256:::{digest}"}
    manifest["store_files"][0] |= forgery
    (tmp_path / "forged.json").write_text(json.dumps(manifest))
    ran = librarian("ingest-manifest", "south", "--manifest", "forged.json", "--store-root", disk)
    assert ran.code == 0, ran.err
    south.run("receive_transfers", "report_transfers")
    assert sent(north)["zen.2457566.1.uvh5"] == ("ongoing", 0)
    assert "peer_holds_other_bytes" in north.jobs.evaluate("list(ErrorRecord.objects.values_list('code', flat=True))")
    body = {"source_transfer_id": 1, "destination_transfer_id": 1, "store_id": 1}
    with pytest.raises(urllib.error.HTTPError):
        north.ask("clone/complete", body, f"{COURIER}:the secret of {COURIER}")
