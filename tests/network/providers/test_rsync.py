"""rsync over a real sshd: batches, directories, cuts, and every way in which the far end can refuse."""

import os
import shutil
import signal
import stat
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from network.providers.base import CouldNotStart, Parcel, SourceCopy
from network.providers.rsync import RsyncProvider
from network.providers.rsync_runner import PARTIAL
from tests.hera_librarian.proxy import Proxy
from tests.make import make_peer
from tests.network.providers.checks import ODD_NAMES, everything_below, tree_at
from tests.rig.processes import free_port, wait_for
from tests.rig.sshd import HOST, Sshd

RSYNC = RsyncProvider()
OFFER = {"hostname": "far", "ssh_host": HOST}
BIG = os.urandom(2**20) * 16


@pytest.fixture
def peer(db: None) -> Any:
    return make_peer("north", ssh_hosts=[HOST])


@pytest.fixture
def send(peer: Any, sshd: Any, watched: Any) -> Any:
    return lambda *parcels, by=watched: list(RSYNC.send(peer, OFFER, parcels, by.sending))


@pytest.fixture
def proxy(sshd: Any, settings: Any) -> Any:
    """A line to the sshd that can be counted and cut."""
    with Proxy(sshd.port) as line:
        settings.LIBRARIAN_SSH_CONFIG = str(sshd.write_config(port=line.port, name="through_proxy"))
        yield line


def test_a_batch_of_files_and_directories_arrives(send, make_parcel, watched, staging, settings):
    flat, empty = make_parcel(BIG), make_parcel(b"")
    tree = make_parcel({**ODD_NAMES, "emptiness": None}, name="a.uvh")
    Path(tree.source.location, "new\nline\\#013").write_bytes(b"control characters")
    foreign = make_parcel(name="file one.txt", destination=f"{staging}/uuid four/24 5/it's.txt")
    outcomes = send(flat, empty, tree, foreign)
    assert [outcome.ok for outcome in outcomes] == [True] * 4, outcomes
    assert Path(flat.destination_path).read_bytes() == BIG
    assert Path(empty.destination_path).read_bytes() == b""
    assert tree_at(Path(tree.destination_path)) == tree_at(Path(tree.source.location))
    assert "new\nline\\#013" in tree_at(Path(tree.destination_path))
    assert (staging / "uuid four/24 5/it's.txt").read_bytes() == b"some bytes"
    assert stat.S_IMODE(os.stat(flat.destination_path).st_mode) == 0o664
    assert stat.S_IMODE(os.stat(f"{tree.destination_path}/deep").st_mode) == 0o775
    assert not [path for path in everything_below(staging) if PARTIAL in path]
    assert [told[-1] for told in watched.told.values()] == [len(BIG), 0, *[tree.size_bytes], foreign.size_bytes]
    assert not list((Path(settings.LIBRARIAN_HOME) / "tmp").glob("rsync-*"))


def test_what_a_killed_job_left_is_swept_without_following_its_links(send, make_parcel, settings):
    parcel = make_parcel({"a": b"1"}, name="a.uvh")
    area = Path(settings.LIBRARIAN_HOME) / "tmp"
    for name, age in (("rsync-old", 3 * 86400), ("rsync-young", 3600)):
        (area / name / "tree").mkdir(parents=True)
        (area / name / "tree" / "item").symlink_to(parcel.source.location)
        os.utime(area / name, (time.time() - age,) * 2)
    assert send(parcel)[0].ok
    assert [path.name for path in area.glob("rsync-*")] == ["rsync-young"]
    assert tree_at(Path(parcel.source.location)) == {"a": b"1"}
    shutil.rmtree(area / "rsync-young")


def test_a_foreign_staging_location_may_lie_several_levels_deep(send, make_parcel, staging):
    (staging / "uuid").mkdir()
    parcel = make_parcel(name="file.txt", destination=f"{staging}/uuid/2459122/deeper/file.txt")
    assert send(replace(parcel, file_name="2459122/deeper/file.txt"))[0].ok
    assert (staging / "uuid/2459122/deeper/file.txt").read_bytes() == b"some bytes"


def test_what_the_peer_made_keeps_its_mode(send, make_parcel):
    parcels = [make_parcel(), make_parcel()]
    folders = [Path(parcel.destination_path).parent for parcel in parcels]
    for folder in folders:
        folder.chmod(0o2770)
    assert all(outcome.ok for outcome in send(*parcels))
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o2770] * 2


def test_two_thousand_small_files_are_one_call(send, make_parcel, proxy, watched, tmp_path, staging):
    first, parcels = make_parcel(), []
    for number in range(2000):
        (tmp_path / f"source{number}").write_bytes(b"%d" % number)
        (staging / f"small{number}").mkdir()
        copy = SourceCopy(first.source.backend, "", str(tmp_path / f"source{number}"))
        to = str(staging / f"small{number}" / "item")
        size = len(str(number))
        parcels.append(Parcel(number, f"source{number}", copy, to, None, size_bytes=size, kind="flat"))
    assert all(outcome.ok for outcome in send(*parcels))
    assert proxy.lines == 1
    assert all(Path(parcel.destination_path).read_bytes() == b"%d" % at for at, parcel in enumerate(parcels))
    assert len(watched.told) == 2000


def test_progress_is_told_while_a_file_goes(send, make_parcel, make_watched):
    from hera_librarian.uploading.pace import Pace

    watched, parcel = make_watched(pace=Pace(5 * 2**20)), make_parcel(BIG)
    assert send(parcel, by=watched)[0].ok
    told = watched.told[parcel.transfer_id]
    assert len(told) >= 3, told
    assert told == sorted(told)
    assert told[-1] == len(BIG)


# --- Cuts -------------------------------------------------------------------------------------------------------------


def test_a_file_cut_at_half_is_gone_on_with(send, make_parcel, proxy):
    small, parcel = make_parcel(), make_parcel(BIG)
    proxy.cut_after(len(BIG) // 2)
    outcomes = send(small, parcel)
    assert {outcome.code for outcome in outcomes} == {"connection_cut"}
    assert all(outcome.passing for outcome in outcomes)
    folder = Path(parcel.destination_path).parent
    wait_for(lambda: (folder / PARTIAL / "item").exists(), timeout_seconds=20, what="the part at the far end")
    assert not (folder / "item").exists()
    before = proxy.sent
    assert all(outcome.ok for outcome in send(small, parcel))
    assert proxy.sent - before < 0.65 * len(BIG)
    assert (folder / "item").read_bytes() == BIG
    assert everything_below(folder) == {"item"}


def test_a_killed_sender_leaves_nothing_that_looks_whole(send, peer, make_parcel, proxy, settings, tmp_path):
    """kill -9 of the job: its rsync and ssh end with it, and the next job goes on."""
    parcel = make_parcel(BIG)
    proxy.bytes_per_second = 8 * 2**20
    child = os.fork()
    if not child:
        try:
            from tests.network.providers.conftest import Watched

            list(RSYNC.send(peer, OFFER, [parcel], Watched().sending))
        finally:
            os._exit(1)
    proxy.wait_until_sent(6 * 2**20)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    folder = Path(parcel.destination_path).parent
    wait_for(lambda: (folder / PARTIAL / "item").exists(), timeout_seconds=20, what="the part at the far end")
    assert not (folder / "item").exists()
    assert not _running(str(folder.parent))
    proxy.bytes_per_second, before = None, proxy.sent
    assert send(parcel)[0].ok
    assert proxy.sent - before < 0.75 * len(BIG)
    assert (folder / "item").read_bytes() == BIG


def test_it_ends_when_it_is_told_to(send, make_parcel, make_watched, proxy):
    proxy.bytes_per_second = 2**20  # a quarter of a minute, of which the first word to stop needs a second or two
    watched, parcels = make_watched(), []
    parcels = [make_parcel(BIG), make_parcel()]
    watched.stop_at(2**20)
    outcomes = send(*parcels, by=watched)
    assert {(outcome.code, outcome.passing) for outcome in outcomes} == {("sending_stopped", True)}
    assert not _running(str(Path(parcels[0].destination_path).parent.parent))


def test_what_has_arrived_is_not_sent_again(send, make_parcel, proxy):
    parcels = [make_parcel(BIG), make_parcel(ODD_NAMES, name="a.uvh")]
    send(*parcels)
    before = proxy.sent
    assert all(outcome.ok for outcome in send(*parcels))
    assert proxy.sent - before < 64 * 1024


def test_nothing_that_lies_over_there_is_overwritten(send, make_parcel, staging):
    """The peer names the path: it may be one that our account over there should rather leave alone."""
    (staging / "home").mkdir()
    keys = staging / "home/authorized_keys"
    keys.write_text("theirs")
    parcels = [make_parcel(destination=str(keys)), make_parcel()]
    send(*parcels)
    assert keys.read_text() == "theirs"
    assert Path(parcels[1].destination_path).exists()


# --- Some of a batch --------------------------------------------------------------------------------------------------


def test_one_bad_copy_does_not_hold_up_the_others(send, make_parcel):
    parcels = [make_parcel() for _ in range(5)]
    os.unlink(parcels[0].source.location)
    Path(parcels[1].source.location).write_bytes(b"short")
    os.unlink(parcels[2].source.location)
    os.symlink("/etc/passwd", parcels[2].source.location)
    outcomes = {outcome.transfer_id: outcome.code for outcome in send(*parcels)}
    assert [outcomes[parcel.transfer_id] for parcel in parcels] == [
        "copy_missing",
        "copy_short",
        "copy_different",
        "",
        "",
    ]
    assert not any(Path(parcel.destination_path).exists() for parcel in parcels[:3])


def test_a_file_that_vanishes_on_the_way_is_its_own_trouble(send, make_parcel, make_watched, monkeypatch):
    """It is there when the batch is laid out, and gone when rsync comes to it."""
    from network.providers.rsync_here import HereRunner

    parcels = [make_parcel(BIG), make_parcel(), make_parcel({"a": b"1", "b": b"2"}, name="a.uvh"), make_parcel()]
    lay_out = HereRunner._lay_out

    def vanish(self):
        lay_out(self)
        os.unlink(parcels[1].source.location)
        os.unlink(f"{parcels[2].source.location}/b")
        os.symlink("/nowhere", f"{parcels[2].source.location}/b")

    monkeypatch.setattr(HereRunner, "_lay_out", vanish)
    outcomes = {outcome.transfer_id: outcome for outcome in send(*parcels)}
    codes = [outcomes[parcel.transfer_id].code for parcel in parcels]
    assert codes == ["", "copy_missing", "copy_short", ""], outcomes


def test_a_full_disk_over_there_is_said_and_gone_on_with_later(send, make_parcel, mounted):
    small = make_parcel(destination=f"{mounted}/a/item")
    big = make_parcel(BIG, destination=f"{mounted}/b/item")
    outcomes = {outcome.transfer_id: outcome for outcome in send(small, big)}
    assert outcomes[small.transfer_id].ok
    assert (outcomes[big.transfer_id].code, outcomes[big.transfer_id].passing) == ("destination_full", True)
    assert not (mounted / "b/item").exists()


def test_a_directory_that_may_not_be_written_is_said(send, make_parcel, mounted):
    (mounted / "a").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    (outcome,) = send(make_parcel(destination=f"{mounted}/a/item"))
    assert (outcome.code, outcome.passing) == ("destination_forbidden", False)


def test_a_staging_area_that_is_gone_is_said(send, make_parcel, tmp_path):
    (outcome,) = send(make_parcel(destination=f"{tmp_path}/gone/token/item"))
    assert (outcome.code, outcome.passing) == ("destination_gone", False)


# --- What keeps it from starting --------------------------------------------------------------------------------------


def refusal(send: Any, parcel: Any) -> CouldNotStart:
    with pytest.raises(CouldNotStart) as refused:
        send(parcel)
    assert refused.value.suggested_remedy
    assert HOST in refused.value.reason
    return refused.value


def test_a_wrong_host_key_is_never_accepted(send, make_parcel, sshd, settings, staging):
    settings.LIBRARIAN_SSH_CONFIG = str(sshd.write_config(host_key="other_key", name="wrong_host"))
    found = refusal(send, make_parcel())
    assert (found.code, found.passing) == ("ssh_host_key_refused", False)
    assert everything_below(staging) == {"token1"}


def test_a_refused_key_is_said(send, make_parcel, sshd, settings):
    settings.LIBRARIAN_SSH_CONFIG = str(sshd.write_config(key="other_key", name="wrong_key"))
    assert (refusal(send, make_parcel()).code) == "ssh_key_refused"


def test_an_unknown_host_is_said(send, make_parcel, sshd, settings, tmp_path):
    config = tmp_path / "config"
    config.write_text(f"Host {HOST}\n  HostName no-such-host.invalid\n")
    settings.LIBRARIAN_SSH_CONFIG = str(config)
    assert refusal(send, make_parcel()).code == "ssh_unknown_host"


def test_a_host_that_does_not_listen_is_said_and_passing(send, make_parcel, sshd, settings):
    settings.LIBRARIAN_SSH_CONFIG = str(sshd.write_config(port=free_port(), name="nobody"))
    found = refusal(send, make_parcel())
    assert (found.code, found.passing) == ("ssh_unreachable", True)


def test_a_killed_sshd_is_passing_and_then_it_goes_on(peer, make_parcel, make_watched, settings, tmp_path):
    server = Sshd(tmp_path / "own-sshd")
    server.start()
    try:
        with Proxy(server.port, bytes_per_second=8 * 2**20) as line:
            settings.LIBRARIAN_SSH_CONFIG = str(server.write_config(port=line.port))
            parcel, watched = make_parcel(BIG), make_watched()
            watched.on_progress = lambda _, count: server.kill() if count > 2**20 else None
            (outcome,) = RSYNC.send(peer, OFFER, [parcel], watched.sending)
            assert (outcome.code, outcome.passing) == ("connection_cut", True)
            assert not Path(parcel.destination_path).exists()
            line.bytes_per_second = None
            server.start()
            assert next(RSYNC.send(peer, OFFER, [parcel], make_watched().sending)).ok
            assert Path(parcel.destination_path).read_bytes() == BIG
    finally:
        server.kill()


def test_a_far_end_without_rsync_is_said(peer, make_parcel, watched, settings, tmp_path):
    server = Sshd(tmp_path / "bare-sshd", options={"SetEnv": "PATH=/nonexistent"})
    server.start()
    try:
        settings.LIBRARIAN_SSH_CONFIG = str(server.config)
        found = refusal(lambda parcel: list(RSYNC.send(peer, OFFER, [parcel], watched.sending)), make_parcel())
        assert (found.code, found.passing) == ("remote_rsync_missing", False)
    finally:
        server.stop()


# --- What a peer may name ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["-oProxyCommand=touch /tmp/x", "host name", "host;id", "$(id)", "ho\nst", "a:b", "", "[::1]", "user@-x", "h/../x"],
)
def test_a_hostile_host_is_refused_even_when_it_is_listed(peer, host):
    peer.ssh_hosts = [host]
    assert "no plain host name" in RSYNC.why_not(peer, {"hostname": host, "ssh_host": host})


def test_only_hosts_that_are_listed_are_called(peer):
    assert RSYNC.why_not(peer, OFFER) is None
    assert RSYNC.why_not(peer, {"hostname": HOST}) is None
    for other in ("far", f"{HOST}.example.org", HOST.upper(), f"root@{HOST}"):
        assert "administrator" in RSYNC.why_not(peer, {"hostname": HOST, "ssh_host": other})


def test_destinations_cannot_lead_the_layout_into_our_own_store(send, make_parcel, staging):
    """A link to a directory of ours stands where the first goes; the second would be made inside it."""
    tree = make_parcel({"a": b"1"}, name="a.uvh", destination=f"{staging}/u/item")
    inside = make_parcel(destination=f"{staging}/u/item/planted")
    twice = [make_parcel(destination=f"{staging}/v/item") for _ in range(2)]
    strange = [make_parcel(destination=path) for path in ("relative/item", f"{staging}/../x", f"{staging}//item", "/")]
    outcomes = {outcome.transfer_id: outcome.code for outcome in send(tree, inside, *twice, *strange)}
    assert outcomes.pop(tree.transfer_id) == ""
    assert set(outcomes.values()) == {"destination_refused"}
    assert tree_at(Path(tree.source.location)) == {"a": b"1"}
    assert everything_below(staging) == {"u", "u/item", "u/item/a"}


def _running(part: str) -> list[str]:
    """Command lines of rsync processes on this side that mention a path, once they had time to end."""

    def alive() -> list[str]:
        lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
        return [line for line in lines if line.startswith("rsync -e") and part in line]

    wait_for(lambda: not alive(), timeout_seconds=10, what="the end of rsync")
    return alive()
