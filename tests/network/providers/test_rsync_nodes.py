"""rsync between storage nodes: two sshd stand for two hosts, and only the first, our node, knows the second."""

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from hera_librarian.uploading.pace import Pace
from network.providers import rsync_node, rsync_run
from network.providers.base import CouldNotStart, Parcel, SourceCopy
from network.providers.local import LocalProvider
from network.providers.rsync import RsyncProvider
from network.providers.rsync_runner import PARTIAL
from network.providers.streams import members_of_product
from network.services.sending.carrying import send_batches
from network.services.sending.offering import offer_files
from stores.models import Store
from tests.hera_librarian.proxy import Proxy
from tests.make import make_file, make_instance, make_outgoing, make_peer, write_bytes
from tests.network.destination import Destination
from tests.network.providers.checks import ODD_NAMES, everything_below, tree_at
from tests.rig.processes import free_port, wait_for
from tests.rig.sshd import Sshd

RSYNC = RsyncProvider()
NODE, FAR = "our-node", "their-node"
OFFER = {"hostname": "their web host", "ssh_host": FAR}
BIG = os.urandom(2**20) * 16
HOST_KEY, REFUSED_KEY, UNKNOWN, NOBODY = "host key", "refused key", "unknown", "nobody listens"


class Hosts:
    """Our node and the peer's host, with a line to each that can be counted, slowed and cut."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node, self.far = Sshd(folder / "node"), Sshd(folder / "far")
        for server in (self.node, self.far):
            server.start()
        self.line, self.beyond = Proxy(self.node.port), Proxy(self.far.port)
        self.to_node = self.config("to-node", NODE, self.node, port=self.line.port)
        self.to_far = self.config("to-far", FAR, self.far, port=self.beyond.port)

    def config(
        self, name: str, alias: str, server: Sshd, *, port: int, key: str = "user_key", host_key: str = "host_key"
    ) -> str:
        known, config = self.folder / f"{name}.known_hosts", self.folder / name
        known.write_text(server.known_host(port=port, host_key=host_key))
        config.write_text(server.host_section(alias, known, port=port, key=key))
        config.chmod(0o600)
        return str(config)

    def spoilt(self, how: str, alias: str, server: Sshd, port: int) -> str:
        """A configuration that does not lead there."""
        if how == UNKNOWN:
            config = self.folder / "unknown"
            config.write_text(f"Host {alias}\n  HostName no-such-host.invalid\n")
            return str(config)
        options = {HOST_KEY: {"host_key": "other_key"}, REFUSED_KEY: {"key": "other_key"}}.get(how, {})
        return self.config("spoilt", alias, server, port=free_port() if how == NOBODY else port, **options)

    def start_again(self) -> None:
        """As every test finds them."""
        for line in (self.line, self.beyond):
            line.bytes_per_second = None
            line.refuse(False)
        for server in (self.node, self.far):
            if server._process is None or server._process.poll() is not None:
                server.start()
            wait_for(lambda server=server: _answers(server.port), timeout_seconds=20, what="sshd")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Any:
    hosts = Hosts(tmp_path_factory.mktemp("hosts"))
    with hosts.line, hosts.beyond:
        yield hosts
    hosts.node.stop()  # which ends the connections that are shared
    hosts.far.stop()


@pytest.fixture
def hosts(both: Hosts, settings: Any) -> Hosts:
    """Both hosts up; our own configuration knows neither."""
    nothing = both.folder / "nothing"
    nothing.touch()
    settings.LIBRARIAN_SSH_CONFIG = str(nothing)
    both.start_again()
    return both


@pytest.fixture
def peer(db: None) -> Any:
    return make_peer("north", ssh_hosts=[FAR])


@pytest.fixture
def make_node_store(db: None, hosts: Hosts, tmp_path: Path) -> Any:
    """An ssh store whose bytes lie on this machine, as that of our node."""

    def make(name: str = "pot", **configuration: Any) -> Store:
        root = tmp_path / name
        (root / ".librarian").mkdir(parents=True)
        defaults = {"host": NODE, "root": str(root), "python": sys.executable}
        defaults |= {"ssh_config": hosts.to_node, "node_ssh_config": hosts.to_far}
        measured = {"available": True, "measured_at": timezone.now()}
        return Store.objects.create(name=name, kind="ssh", configuration={**defaults, **configuration}, **measured)

    return make


@pytest.fixture
def store(make_node_store: Any) -> Store:
    return make_node_store()


@pytest.fixture
def parcel_on(staging: Path) -> Any:
    """`parcel_on(store, content, name=, destination=)`: a parcel of a file whose copy lies on an ssh store."""
    numbers = iter(range(1, 100_000))

    def make(store: Store, content: Any = b"some bytes", *, name: str = "", destination: str = "") -> Parcel:
        number, file = next(numbers), make_file(name, content=content)
        place = f"2457561/{file.base_name}"
        write_bytes(Path(store.configuration["root"]) / place, content)
        if not destination:
            (staging / f"token{number}").mkdir()
            destination = str(staging / f"token{number}" / "item")
        source = SourceCopy(store.backend, place, None)
        members = members_of_product(file) if file.is_directory else ()
        return Parcel(number, file.name, source, destination, None, file.size_bytes, file.kind, members)

    return make


@pytest.fixture
def send(peer: Any, watched: Any) -> Any:
    return lambda *parcels, by=watched: list(RSYNC.send(peer, OFFER, parcels, by.sending))


def source_of(parcel: Parcel) -> Path:
    return Path(parcel.source.backend.store.configuration["root"], parcel.source.place)


def links_on(store: Store) -> list[Path]:
    return list(Path(store.configuration["root"], ".librarian", "tmp").glob("*"))


def running(part: str) -> list[str]:
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if line.startswith("rsync -e") and part in line]


def gone(part: str) -> None:
    wait_for(lambda: not running(part), timeout_seconds=20, what="the end of rsync at the node")


@pytest.fixture
def without_rsync(tmp_path: Path, monkeypatch: Any) -> None:
    """This machine has ssh and no rsync, as far as our process can tell."""
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "ssh").symlink_to(shutil.which("ssh") or "")
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))


def test_the_node_sends_and_no_byte_passes_through_here(
    send, peer, store, parcel_on, hosts, staging, watched, without_rsync
):
    flat, empty = parcel_on(store, BIG), parcel_on(store, b"")
    tree = parcel_on(store, {**ODD_NAMES, "emptiness": None}, name="a.uvh")
    (source_of(tree) / "new\nline\\#013").write_bytes(b"control characters")
    named = [
        parcel_on(store, name=name, destination=f"{staging}/{number} x/item")
        for number, name in enumerate(["with space.txt", "qu\"o'te$(id).txt", "höhe 日本.txt", "back\\slash"])
    ]
    assert RSYNC.why_not(peer, OFFER) is None
    before, beyond = hosts.line.sent, hosts.beyond.sent
    outcomes = send(flat, empty, tree, *named)
    assert all(outcome.ok for outcome in outcomes), outcomes
    assert len(outcomes) == 7
    assert Path(flat.destination_path).read_bytes() == BIG
    assert Path(empty.destination_path).read_bytes() == b""
    assert tree_at(Path(tree.destination_path)) == tree_at(source_of(tree))
    assert [Path(each.destination_path).read_bytes() for each in named] == [b"some bytes"] * 4
    assert not [path for path in everything_below(staging) if PARTIAL in path]
    assert hosts.beyond.sent - beyond > len(BIG)
    assert hosts.line.sent - before < 200_000  # the program and its plan
    assert {key: told[-1] for key, told in watched.told.items()}[flat.transfer_id] == len(BIG)
    assert links_on(store) == []


def test_progress_is_told_in_bytes_and_the_limit_of_bandwidth_holds(send, store, parcel_on, make_watched):
    watched, parcel = make_watched(pace=Pace(5 * 2**20)), parcel_on(store, BIG)
    assert send(parcel, by=watched)[0].ok
    told = watched.told[parcel.transfer_id]
    assert len(told) >= 3, told
    assert told == sorted(told)
    assert told[-1] == len(BIG)


def test_what_has_arrived_is_not_sent_again(send, store, parcel_on, hosts):
    parcels = [parcel_on(store, BIG), parcel_on(store, ODD_NAMES, name="a.uvh")]
    send(*parcels)
    before = hosts.beyond.sent
    assert all(outcome.ok for outcome in send(*parcels))
    assert hosts.beyond.sent - before < 64 * 1024


# --- Cuts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["node", "far"])
def test_a_killed_sshd_is_passing_and_then_it_goes_on(which, send, store, parcel_on, make_watched, hosts):
    """The rsync that receives must live to put its part aside; of one that is killed too, nothing is left."""
    parcel, watched, server = parcel_on(store, BIG), make_watched(), getattr(hosts, which)
    hosts.beyond.bytes_per_second = 8 * 2**20
    kill = partial(server.kill, with_programs=which == "node")
    watched.on_progress = lambda _, count: kill() if count > 6 * 2**20 else None
    (outcome,) = send(parcel, by=watched)
    assert (outcome.code, outcome.passing) == ("connection_cut", True)
    assert ("The connection to our storage node" in outcome.reason) == (which == "node")
    folder = Path(parcel.destination_path).parent
    gone(str(folder))
    wait_for(lambda: (folder / PARTIAL / "item").exists(), timeout_seconds=20, what="the part at the far end")
    assert not (folder / "item").exists()
    hosts.start_again()
    before = hosts.beyond.sent
    assert send(parcel, by=make_watched())[0].ok
    assert hosts.beyond.sent - before < 0.9 * len(BIG)
    assert (folder / "item").read_bytes() == BIG


@pytest.mark.parametrize("how", ["told to", "line cut"])
def test_it_ends_at_the_node_when_nobody_wants_it_here(how, send, store, parcel_on, make_watched, hosts):
    """Also while the peer takes no bytes, so that rsync there has nothing to say and would not see that we are gone."""
    hosts.beyond.bytes_per_second = 2**20
    watched, parcels = make_watched(), [parcel_on(store, BIG), parcel_on(store)]

    def stall(_: int, count: int) -> None:
        if count > 2**20 and watched.going:
            hosts.beyond.bytes_per_second = 64
            watched.going = how != "told to"
            hosts.line.refuse(how == "line cut")

    watched.on_progress = stall
    outcomes = send(*parcels, by=watched)
    code = "sending_stopped" if how == "told to" else "connection_cut"
    assert {(outcome.code, outcome.passing) for outcome in outcomes} == {(code, True)}
    gone(str(Path(parcels[0].destination_path).parent.parent))
    wait_for(lambda: links_on(store) == [], timeout_seconds=20, what="the removal of the links")


@pytest.mark.parametrize(("life", "codes"), [(600.0, ["connection_cut"]), (1.0, [""])])
def test_a_node_that_hears_nothing_more_ends_by_itself(
    life, codes, send, store, parcel_on, hosts, tmp_path, monkeypatch
):
    """A line may die without a word; while it lives, there is one now and then."""
    program = tmp_path / "program.py"
    text = rsync_node._PROGRAM.read_text()
    program.write_text(text.replace("SILENCE_SECONDS = 300", "SILENCE_SECONDS = 6"))
    assert program.read_text() != text
    monkeypatch.setattr(rsync_node, "_PROGRAM", program)
    monkeypatch.setattr(rsync_run, "LIFE_SECONDS", life)
    hosts.beyond.bytes_per_second = 1.2 * 2**20  # more than twice as long
    assert [outcome.code for outcome in send(parcel_on(store, BIG))] == codes


# --- Some of a batch --------------------------------------------------------------------------------------------------


def test_the_node_looks_at_its_copies_first(send, store, parcel_on):
    parcels = [parcel_on(store) for _ in range(5)]
    source_of(parcels[0]).unlink()
    source_of(parcels[1]).write_bytes(b"short")
    source_of(parcels[2]).unlink()
    source_of(parcels[2]).symlink_to("/etc/passwd")
    source_of(parcels[3]).write_bytes(b"longer than it was")
    outcomes = {outcome.transfer_id: outcome.code for outcome in send(*parcels)}
    assert [outcomes[parcel.transfer_id] for parcel in parcels] == [
        "copy_missing",
        "copy_short",
        "copy_different",
        "copy_different",
        "",
    ]
    assert not any(Path(parcel.destination_path).exists() for parcel in parcels[:4])


def test_a_full_disk_over_there_is_said_and_gone_on_with_later(send, store, parcel_on, mounted):
    small = parcel_on(store, destination=f"{mounted}/a/item")
    big = parcel_on(store, BIG, destination=f"{mounted}/b/item")
    outcomes = {outcome.transfer_id: outcome for outcome in send(small, big)}
    assert outcomes[small.transfer_id].ok
    assert (outcomes[big.transfer_id].code, outcomes[big.transfer_id].passing) == ("destination_full", True)
    assert not (mounted / "b/item").exists()


def test_copies_of_several_machines_go_in_one_batch(send, store, make_node_store, parcel_on, tmp_path, hosts, settings):
    """Copies of this machine, of two nodes, of one that cannot be reached, and of a bucket."""
    settings.LIBRARIAN_SSH_CONFIG = hosts.to_far
    other = make_node_store("other")
    away = make_node_store("away", ssh_config=hosts.spoilt(NOBODY, NODE, hosts.node, 0))
    at = {"bucket": "night", "spool": str(tmp_path / "spool"), "endpoint_url": "http://127.0.0.1:1", "region": "here"}
    bucket = Store.objects.create(name="bucket", kind="s3", configuration=at)
    elsewhere = Store.objects.create(name="elsewhere", kind="ssh", configuration=store.configuration, hosts=["gpu7"])
    on_nodes = [parcel_on(store), parcel_on(other), parcel_on(away)]
    (tmp_path / "here").write_bytes(b"some bytes")
    others = []
    for owner, location in ((store, str(tmp_path / "here")), (bucket, None), (elsewhere, None)):
        parcel = parcel_on(store)
        source = SourceCopy(owner.backend, parcel.source.place, location)
        others.append(replace(parcel, source=source))
    outcomes = {outcome.transfer_id: outcome for outcome in send(*on_nodes, *others)}
    found = [outcomes[parcel.transfer_id] for parcel in (*on_nodes, *others)]
    assert [each.code for each in found] == [
        "",
        "",
        "storage_node_unreachable",
        "",
        "copy_not_on_this_machine",
        "copy_not_on_this_machine",
    ]
    assert found[2].passing


# --- What keeps it from starting --------------------------------------------------------------------------------------


def refusal(send: Any, parcel: Any) -> CouldNotStart:
    with pytest.raises(CouldNotStart) as refused:
        send(parcel)
    assert refused.value.suggested_remedy
    assert not Path(parcel.destination_path).exists()
    return refused.value


WAYS = [
    (HOST_KEY, "ssh_host_key_refused", False),
    (REFUSED_KEY, "ssh_key_refused", False),
    (UNKNOWN, "ssh_unknown_host", False),
    (NOBODY, "ssh_unreachable", True),
]


@pytest.mark.parametrize(("how", "code", "passing"), WAYS)
def test_what_the_node_meets_at_the_peers_host_is_told_as_that(
    how, code, passing, send, make_node_store, parcel_on, hosts
):
    config = hosts.spoilt(how, FAR, hosts.far, hosts.beyond.port)
    found = refusal(send, parcel_on(make_node_store("other", node_ssh_config=config)))
    assert (found.code, found.passing) == (code, passing)
    assert f"Our storage node {NODE} cannot send" in found.reason
    assert FAR in found.reason
    assert NODE in found.suggested_remedy
    assert "server's user" not in found.suggested_remedy


@pytest.mark.parametrize(("how", "code", "passing"), WAYS)
def test_what_we_meet_at_our_node_is_told_as_that(how, code, passing, send, make_node_store, parcel_on, hosts):
    config = hosts.spoilt(how, NODE, hosts.node, hosts.line.port)
    found = refusal(send, parcel_on(make_node_store("other", ssh_config=config)))
    assert (found.code, found.passing) == ("storage_node_unreachable", passing)
    assert "store other cannot be used from this host" in found.reason
    assert NODE in found.reason
    assert FAR not in found.reason
    assert FAR not in found.suggested_remedy


def test_a_node_without_rsync_is_said(send, make_node_store, parcel_on, hosts, tmp_path):
    bare = Sshd(tmp_path / "bare", options={"SetEnv": "PATH=/nonexistent"})
    bare.start()
    try:
        config = hosts.config("to-bare", NODE, bare, port=bare.port)
        found = refusal(send, parcel_on(make_node_store("other", ssh_config=config)))
    finally:
        bare.stop()
    assert (found.code, found.passing) == ("storage_node_unfit", False)
    assert "rsync is not installed there" in found.reason


def test_a_peer_without_rsync_is_not_taken_for_the_node(send, make_node_store, parcel_on, hosts, tmp_path):
    bare = Sshd(tmp_path / "bare", options={"SetEnv": "PATH=/nonexistent"})
    bare.start()
    try:
        config = hosts.config("to-bare", FAR, bare, port=bare.port)
        found = refusal(send, parcel_on(make_node_store("other", node_ssh_config=config)))
    finally:
        bare.stop()
    assert (found.code, found.passing) == ("remote_rsync_missing", False)
    assert FAR in found.reason


def test_a_node_without_python_is_said(send, make_node_store, parcel_on):
    found = refusal(send, parcel_on(make_node_store("other", python="/nowhere/python3")))
    assert (found.code, found.passing) == ("storage_node_unfit", False)
    assert "Python was not found" in found.reason


def test_an_unmounted_disk_of_the_node_is_no_missing_copy(send, store, parcel_on):
    parcel = parcel_on(store)
    shutil.rmtree(store.configuration["root"])
    os.mkdir(store.configuration["root"])
    found = refusal(send, parcel)
    assert (found.code, found.passing) == ("storage_node_unfit", True)


def test_a_corner_that_cannot_be_written_is_no_hindrance(send, store, parcel_on):
    Path(store.configuration["root"], ".librarian", "tmp").write_bytes(b"a file where the directory should be")
    assert send(parcel_on(store))[0].ok


# --- From the queue ---------------------------------------------------------------------------------------------------


def test_a_batch_of_the_queue_is_sent_by_the_node(store, hosts, standin, tmp_path, db, without_rsync):
    folder = tmp_path / "south"
    folder.mkdir()
    there = Destination(standin, folder)
    there.offers = {"rsync": {"hostname": "their web host", "ssh_host": FAR}}
    there.make_peer(ssh_hosts=[FAR])
    file = make_file(content=BIG)
    write_bytes(Path(store.configuration["root"]) / "2457561/x", BIG)
    make_instance(file, store, place="2457561/x")
    transfer = make_outgoing(file, peer="south")
    assert offer_files()["queued"] == 1
    before = hosts.line.sent
    assert send_batches()["files"] == 1
    transfer.refresh_from_db()
    assert (transfer.state, transfer.sent_bytes, transfer.reason) == ("staged", len(BIG), "")
    assert Path(transfer.destination_path).read_bytes() == BIG
    assert hosts.line.sent - before < 200_000


def test_other_ways_read_through_the_store(store, parcel_on, staging, watched, peer):
    """A peer of a foreign kind knows no other way than a shared disk."""
    Path(store.configuration["root"], ".librarian").rmdir()
    store.backend.initialise()
    peer.shared_directories = [str(staging)]
    parcels = [parcel_on(store, BIG), parcel_on(store, ODD_NAMES, name="a.uvh")]
    assert all(outcome.ok for outcome in LocalProvider().send(peer, {}, parcels, watched.sending))
    assert Path(parcels[0].destination_path).read_bytes() == BIG
    assert tree_at(Path(parcels[1].destination_path)) == tree_at(source_of(parcels[1]))
