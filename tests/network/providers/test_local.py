"""Copying into a shared directory: whole or not at all, gone on with, and never anywhere else."""

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from network.providers.local import LocalProvider
from tests.make import make_peer
from tests.network.providers.checks import ODD_NAMES, everything_below, tree_at

LOCAL = LocalProvider()
BIG = bytes(range(256)) * 4096 * 20  # 20 MiB


@pytest.fixture
def peer(db: None, staging: Path) -> Any:
    return make_peer("north", shared_directories=[str(staging)])


@pytest.fixture
def offer(settings: Any) -> dict[str, Any]:
    return {"hostnames": ["elsewhere", settings.LIBRARIAN_HOST_NAME]}


@pytest.fixture
def send(peer: Any, offer: Any, watched: Any) -> Any:
    return lambda *parcels, by=watched: list(LOCAL.send(peer, offer, parcels, by.sending))


def test_files_and_directories_arrive_whole_and_readable_by_the_group(send, make_parcel, watched):
    old = os.umask(0o077)
    try:
        flat, empty, tree = make_parcel(BIG), make_parcel(b""), make_parcel(ODD_NAMES, name="a.uvh")
        outcomes = send(flat, empty, tree)
    finally:
        os.umask(old)
    assert [outcome.ok for outcome in outcomes] == [True] * 3, outcomes
    assert Path(flat.destination_path).read_bytes() == BIG
    assert Path(empty.destination_path).read_bytes() == b""
    assert tree_at(Path(tree.destination_path)) == ODD_NAMES
    assert stat.S_IMODE(os.stat(flat.destination_path).st_mode) == 0o664
    assert stat.S_IMODE(os.stat(f"{tree.destination_path}/deep/er").st_mode) == 0o775
    assert watched.told[flat.transfer_id][-1] == len(BIG)
    assert everything_below(Path(flat.destination_path).parent) == {"item"}


def test_missing_levels_are_made(send, make_parcel, staging):
    (staging / "uuid").mkdir()
    parcel = make_parcel(destination=str(staging / "uuid/2459122/a/b/file.txt"))
    assert send(parcel)[0].ok
    assert (staging / "uuid/2459122/a/b/file.txt").read_bytes() == b"some bytes"
    assert stat.S_IMODE((staging / "uuid/2459122/a").stat().st_mode) == 0o775


def test_bytes_come_through_the_store_where_this_machine_has_no_path_to_them(send, make_parcel):
    from dataclasses import replace

    parcels = [make_parcel(BIG), make_parcel(ODD_NAMES, name="a.uvh")]
    parcels = [replace(parcel, source=replace(parcel.source, location=None)) for parcel in parcels]
    assert all(outcome.ok for outcome in send(*parcels))
    assert Path(parcels[0].destination_path).read_bytes() == BIG
    assert tree_at(Path(parcels[1].destination_path)) == ODD_NAMES


def test_a_stopped_copy_has_no_name_and_is_gone_on_with(send, make_parcel, make_watched):
    parcel = make_parcel(BIG)
    first = make_watched()
    first.stop_at(8 * 2**20)
    (outcome,) = send(parcel, by=_asking_always(first))
    assert (outcome.code, outcome.passing) == ("sending_stopped", True)
    assert not Path(parcel.destination_path).exists()
    second = make_watched()
    assert send(parcel, by=second)[0].ok
    assert second.told[parcel.transfer_id][0] >= 8 * 2**20  # what was there was not copied again
    assert Path(parcel.destination_path).read_bytes() == BIG


def test_a_stopped_directory_is_gone_on_with(send, make_parcel, make_watched):
    content = {f"visdata{number}": BIG[: 9 * 2**20] for number in range(3)}
    parcel = make_parcel(content, name="a.uvh")
    first = make_watched()
    first.stop_at(17 * 2**20)
    assert send(parcel, by=_asking_always(first))[0].code == "sending_stopped"
    assert not Path(parcel.destination_path).exists()
    second = make_watched()
    assert send(parcel, by=second)[0].ok
    assert tree_at(Path(parcel.destination_path)) == content


def test_a_repeated_copy_is_harmless(send, make_parcel):
    flat, tree = make_parcel(BIG), make_parcel(ODD_NAMES, name="a.uvh")
    for _ in range(2):
        assert all(outcome.ok for outcome in send(flat, tree))
    before = os.stat(flat.destination_path)
    send(flat)
    assert os.stat(flat.destination_path).st_ino == before.st_ino


def test_what_lies_there_is_never_overwritten(send, make_parcel, staging):
    parcels = [make_parcel(), make_parcel(), make_parcel(ODD_NAMES, name="a.uvh")]
    (staging / "other").write_bytes(b"other")
    Path(parcels[0].destination_path).write_bytes(b"something of another length")
    Path(parcels[1].destination_path).symlink_to(staging / "other")
    Path(parcels[2].destination_path).mkdir()
    assert [outcome.code for outcome in send(*parcels)] == ["destination_occupied"] * 3
    assert Path(parcels[0].destination_path).read_bytes() == b"something of another length"
    assert (staging / "other").read_bytes() == b"other"


def test_one_bad_copy_does_not_hold_up_the_others(send, make_parcel):
    parcels = [make_parcel() for _ in range(4)] + [make_parcel({"a": b"1", "b": b"22"}, name="a.uvh"), make_parcel()]
    os.unlink(parcels[0].source.location)
    Path(parcels[1].source.location).write_bytes(b"short")
    Path(parcels[2].source.location).write_bytes(b"longer than it was before")
    os.unlink(parcels[3].source.location)
    os.symlink("/etc/passwd", parcels[3].source.location)
    Path(parcels[4].source.location, "b").unlink()
    outcomes = send(*parcels)
    assert outcomes[5].ok
    codes = ["missing_bytes", "copy_short", "copy_different", "unsafe_product", "missing_bytes", ""]
    assert [outcome.code for outcome in outcomes] == codes
    assert not any(Path(parcel.destination_path).exists() for parcel in parcels[:5])


# --- Where a peer may have something written --------------------------------------------------------------------------


def test_nothing_is_written_outside_the_allowed_directories(send, make_parcel, tmp_path, staging):
    outside = tmp_path / "outside"
    outside.mkdir()
    (staging / "way-out").symlink_to(outside)
    (staging / "uuid").mkdir()
    destinations = [
        outside / "item",
        f"{staging}-beside/item",
        f"{staging}/../outside/item",
        f"{staging}/way-out/item",
        f"{staging}/way-out/deeper/item",
        "relative/item",
        "/item",
        f"{staging}//uuid/item",
        f"{staging}/uuid/",
        f"{staging}/uuid/..",
    ]
    outcomes = send(*[make_parcel(destination=str(path)) for path in destinations])
    assert {outcome.code for outcome in outcomes} == {"destination_refused"}
    assert not any(outcome.passing for outcome in outcomes)
    assert everything_below(outside) == set()
    assert everything_below(staging) == {"way-out", "uuid"}


def test_a_link_swapped_in_on_the_way_is_not_followed(send, make_parcel, tmp_path, staging, monkeypatch):
    """The peer owns that directory, so it may change it between our look and our writing."""
    outside = tmp_path / "outside"
    outside.mkdir()
    parcel = make_parcel()
    folder = Path(parcel.destination_path).parent
    resolve = os.path.realpath

    def swap(path, **more):
        found = resolve(path, **more)
        if str(path) == str(folder):
            folder.rmdir()
            folder.symlink_to(outside)
        return found

    monkeypatch.setattr(os.path, "realpath", swap)
    (outcome,) = send(parcel)
    assert not outcome.ok
    assert everything_below(outside) == set()


def test_an_allowed_directory_may_itself_be_a_link(send, make_parcel, peer, tmp_path, staging):
    (tmp_path / "mnt").symlink_to(staging)
    peer.shared_directories = [str(tmp_path / "mnt")]
    direct, linked = make_parcel(), make_parcel(destination=f"{tmp_path}/mnt/uuid/item")
    assert all(outcome.ok for outcome in send(direct, linked))
    assert (staging / "uuid/item").exists()


def test_it_says_why_it_cannot_be_used(peer, offer):
    assert LOCAL.why_not(peer, offer) is None
    assert "none of those" in LOCAL.why_not(peer, {"hostnames": ["elsewhere"]})
    peer.shared_directories = []
    assert "administrator" in LOCAL.why_not(peer, offer)


# --- Disks ------------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_said_and_gone_on_with_later(send, make_parcel, mounted, peer, make_watched):
    peer.shared_directories = [str(mounted)]
    (mounted / "filler").write_bytes(bytes(4 * 2**20))
    content = BIG[: 6 * 2**20]
    parcel, small = (
        make_parcel(content, destination=f"{mounted}/u1/item"),
        make_parcel(destination=f"{mounted}/u2/item"),
    )
    first, _ = send(parcel, small)
    assert (first.code, first.passing) == ("destination_full", True)
    assert not (mounted / "u1/item").exists()
    (mounted / "filler").unlink()
    again = make_watched()
    assert send(parcel, by=again)[0].ok
    assert again.told[parcel.transfer_id][0] > 2**20
    assert (mounted / "u1/item").read_bytes() == content


def test_a_read_only_disk_is_said(send, make_parcel, mounted, peer):
    peer.shared_directories = [str(mounted)]
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    (outcome,) = send(make_parcel(destination=f"{mounted}/u1/item"))
    assert (outcome.code, outcome.passing) == ("destination_forbidden", False)


def test_a_copy_is_as_slow_as_it_was_asked_to_be(send, make_parcel, make_watched):
    from hera_librarian.uploading.pace import Pace

    slept = []
    pace = Pace(2**20, clock=lambda: sum(slept), sleep=slept.append)
    assert send(make_parcel(BIG[: 5 * 2**20]), by=make_watched(pace=pace))[0].ok
    assert 4 < sum(slept) <= 5


def _asking_always(watched: Any) -> Any:
    """Without the second between two questions whether to go on."""
    sending = watched.sending

    class Eager(type(sending)):
        def goes_on(self) -> bool:
            return self.keep_going()

    watched.sending = Eager(sending.progress, sending.keep_going, sending.deadline)
    return watched
