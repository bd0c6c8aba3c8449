"""Watch folders: what stopped growing is taken in; what cannot be taken is set aside with its reason."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from files.models import File, WatchedPath, WatchFolder
from files.services.watching import forget_watched_paths, scan_watch_folders
from librarian.common.models import ErrorRecord
from tests.make import make_store, write_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def folder(tmp_path, store) -> WatchFolder:
    (tmp_path / "watched").mkdir()
    return WatchFolder.objects.create(path=str(tmp_path / "watched"), quiet_seconds=60)


def wait_out_the_quiet_time() -> None:
    """As if the products had been looked at a minute ago."""
    WatchedPath.objects.update(unchanged_since=timezone.now() - timedelta(seconds=61))


def test_a_file_is_taken_in_only_after_it_stopped_growing(folder) -> None:
    path = Path(folder.path) / "zen.2457561.1.uvh5"
    write_bytes(path, b"first half")
    assert scan_watch_folders()["waiting"] == 1
    assert scan_watch_folders()["waiting"] == 1  # a minute has not passed
    wait_out_the_quiet_time()
    with path.open("ab") as stream:
        stream.write(b", second half")
    assert scan_watch_folders()["delivered"] == 0  # it grew
    wait_out_the_quiet_time()
    assert scan_watch_folders()["delivered"] == 1
    assert File.objects.get().size_bytes == len(b"first half, second half")


def test_a_growing_directory_product_is_left_alone(folder) -> None:
    product = Path(folder.path) / "zen.2457561.1.uv"
    write_bytes(product, {"header": b"h"})
    scan_watch_folders()
    wait_out_the_quiet_time()
    write_bytes(product / "visdata", b"d")
    assert scan_watch_folders()["delivered"] == 0
    wait_out_the_quiet_time()
    assert scan_watch_folders()["delivered"] == 1
    assert File.objects.get().members.count() == 2


def test_what_is_delivered_never_comes_twice(folder) -> None:
    write_bytes(Path(folder.path) / "a.txt", b"a")
    scan_watch_folders()
    wait_out_the_quiet_time()
    assert scan_watch_folders()["delivered"] == 1
    wait_out_the_quiet_time()
    assert scan_watch_folders() == {"folders": 1, "delivered": 0, "quarantined": 0, "waiting": 1}
    assert (Path(folder.path) / "a.txt").exists()


def test_a_conflict_goes_to_quarantine_with_a_reason_file_and_an_error(folder) -> None:
    path = Path(folder.path) / "a.txt"
    for content in (b"first", b"second"):
        write_bytes(path, content)
        scan_watch_folders()
        wait_out_the_quiet_time()
        scan_watch_folders()
    kept = Path(folder.path) / ".quarantine" / "a.txt"
    assert kept.read_bytes() == b"second"
    assert "name_taken" in Path(f"{kept}.reason.txt").read_text()
    assert ErrorRecord.objects.get().code == "name_taken"
    assert scan_watch_folders()["quarantined"] == 0


def test_a_store_that_is_away_means_waiting_not_quarantine(folder, store) -> None:
    write_bytes(Path(folder.path) / "a.txt", b"a")
    scan_watch_folders()
    wait_out_the_quiet_time()
    type(store).objects.update(available=False)
    assert scan_watch_folders()["waiting"] == 1
    type(store).objects.update(available=True)
    assert scan_watch_folders()["delivered"] == 1


def test_a_folder_that_is_away_is_an_error_and_its_neighbours_go_on(folder, tmp_path) -> None:
    WatchFolder.objects.create(path="/nonexistent/a-folder", quiet_seconds=1)
    write_bytes(Path(folder.path) / "a.txt", b"a")
    assert scan_watch_folders()["waiting"] == 1
    assert "/nonexistent/a-folder" in ErrorRecord.objects.get().message
    assert WatchFolder.objects.get(path="/nonexistent/a-folder").note


def test_delivered_products_move_away_when_asked(folder) -> None:
    WatchFolder.objects.update(remove_after=True, pattern="*.txt")
    write_bytes(Path(folder.path) / "night" / "a.txt", b"a")
    write_bytes(Path(folder.path) / "b.tmp", b"b")
    scan_watch_folders()
    wait_out_the_quiet_time()
    assert scan_watch_folders()["delivered"] == 1
    assert (Path(folder.path) / ".delivered" / "night" / "a.txt").read_bytes() == b"a"
    assert (Path(folder.path) / "b.tmp").exists()


def test_a_clock_stepped_back_delays_and_loses_nothing(folder) -> None:
    path = Path(folder.path) / "a.txt"
    write_bytes(path, b"a")
    os.utime(path, (4e9, 4e9))  # far in the future
    scan_watch_folders()
    wait_out_the_quiet_time()
    assert scan_watch_folders()["delivered"] == 1


def test_the_command_provisions_folders(tmp_path, store) -> None:
    call_command("watch_folder", str(tmp_path), "--store", store.name, "--quiet-seconds", "5")
    folder = WatchFolder.objects.get()
    assert (folder.store, folder.quiet_seconds, folder.enabled) == (store, 5, True)
    call_command("watch_folder", str(tmp_path), "--off")
    folder = WatchFolder.objects.get()
    assert (folder.enabled, folder.store, folder.quiet_seconds) == (False, store, 5)  # the rest stays as it was
    for bad in (["relative"], ["/never/watched", "--off"], ["/nonexistent/x"], [str(tmp_path), "--store", "none"]):
        with pytest.raises(CommandError):
            call_command("watch_folder", *bad)


def test_a_name_that_no_database_stores_is_set_aside_and_its_neighbours_go_on(folder) -> None:
    odd = os.fsencode(folder.path) + b"/zen.\xff.uvh5"
    with open(odd, "wb") as stream:
        stream.write(b"odd")
    write_bytes(Path(folder.path) / "a.txt", b"a")
    scan_watch_folders()
    wait_out_the_quiet_time()
    assert scan_watch_folders() == {"folders": 1, "delivered": 1, "quarantined": 1, "waiting": 0}
    assert os.path.exists(os.path.join(os.fsencode(folder.path), b".quarantine", b"zen.\xff.uvh5"))
    assert WatchedPath.objects.get(state=WatchedPath.State.QUARANTINED).name == "zen.\\udcff.uvh5"


def test_what_was_moved_away_is_not_looked_at_again(folder) -> None:
    WatchFolder.objects.update(remove_after=True)
    write_bytes(Path(folder.path) / "a.txt", b"a")
    scan_watch_folders()
    wait_out_the_quiet_time()
    scan_watch_folders()
    write_bytes(Path(folder.path) / ".delivered" / "b.txt", b"b")
    assert scan_watch_folders() == {"folders": 1, "delivered": 0, "quarantined": 0, "waiting": 0}
    assert not WatchedPath.objects.exists()


def test_a_folder_that_is_back_clears_its_error(folder, tmp_path) -> None:
    (tmp_path / "watched").rmdir()
    scan_watch_folders()
    assert ErrorRecord.objects.get().code == "watch_folder_unreadable"
    (tmp_path / "watched").mkdir()
    scan_watch_folders()
    assert ErrorRecord.objects.get().cleared_at is not None


def test_notes_on_products_that_left_the_folder_are_forgotten_after_a_while(folder, tmp_path) -> None:
    for name in ("left.txt", "stays.txt"):
        write_bytes(Path(folder.path) / name, b"bytes")
    scan_watch_folders()
    (Path(folder.path) / "left.txt").unlink()
    assert forget_watched_paths() == {"watched_paths": 0}
    WatchedPath.objects.update(unchanged_since=timezone.now() - timedelta(days=31))
    away = WatchFolder.objects.create(path=str(tmp_path / "not mounted"))
    WatchedPath.objects.create(
        folder=away, name="c.txt", fingerprint="f", unchanged_since=timezone.now() - timedelta(days=99)
    )
    assert forget_watched_paths() == {"watched_paths": 1}
    assert set(WatchedPath.objects.values_list("name", flat=True)) == {"stays.txt", "c.txt"}
