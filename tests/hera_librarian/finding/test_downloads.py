"""Downloads of flat files: verified, resumed, never over other bytes, and one bad file never stops the others."""

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

import pytest
import requests

from hera_librarian import LibrarianClient
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError
from hera_librarian.finding import download_files
from hera_librarian.finding.folder import Folder
from tests.hera_librarian.finding.conftest import client_of
from tests.hera_librarian.finding.cutting import cutting
from tests.rig.servers import ADMIN, ADMIN_PASSWORD

MIB = 2**20
LARGE = ["large.h5", "large.fits", "random.bin", "empty.log", "<b>&'\" #1 100%.log"]


def one(client, name, folder, **options):
    [result] = download_files(client, [name], folder, **options)
    return result


def check_sums(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def stored(site, name: str) -> Path:
    [path] = [path for path in site.store_path.rglob(name) if path.is_file()]
    path.chmod(0o644)
    return path


@pytest.fixture
def filled(start_site, tmp_path):
    """`filled(sizes)`: a site of its own with files of these sizes, for tests that harm it."""

    def fill(sizes, **environment):
        site = start_site(**environment)
        source = tmp_path / "source"
        for name, size in sizes.items():
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(size))
        site.manage("ingest", str(source))
        site.source = source
        return site

    return fill


# --- What comes -------------------------------------------------------------------------------------------------------


def test_files_come_verified_with_a_list_of_digests_and_the_second_time_nothing_comes(client, source, tmp_path):
    counted = []
    results = {r.name: r for r in download_files(client, LARGE, tmp_path, progress=counted.append)}
    assert set(results) == set(LARGE)
    for name, result in results.items():
        content = (source / "large" / name).read_bytes()
        assert (result.outcome, result.path, result.bytes_fetched) == ("downloaded", tmp_path / name, len(content))
        assert result.path.read_bytes() == content
        assert result.digest == hashlib.sha256(content).hexdigest()
    assert sum(counted) == sum(result.size_bytes for result in results.values())
    assert {path.name for path in tmp_path.iterdir()} == {*LARGE, "SHA256SUMS"}
    check_sums(tmp_path)
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert lines == sorted(lines, key=lambda line: line[66:])

    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(b'mine').hexdigest()}  mine.txt\n")
    (tmp_path / "mine.txt").write_bytes(b"mine")
    for result in download_files(client, client.search(name_glob="large.*"), tmp_path):
        assert (result.outcome, result.bytes_fetched) == ("already here", 0)
    check_sums(tmp_path)
    assert len((tmp_path / "SHA256SUMS").read_text().splitlines()) == 3


def test_other_bytes_are_never_overwritten_unless_that_is_wanted(client, source, tmp_path):
    size = (source / "large" / "random.bin").stat().st_size
    (tmp_path / "random.bin").write_bytes(b"\0" * size)
    result = one(client, "random.bin", tmp_path)
    assert (result.ok, result.code, result.path) == (False, "other_bytes_there", None)
    assert (tmp_path / "random.bin").read_bytes() == b"\0" * size
    assert not (tmp_path / "SHA256SUMS").exists()

    (tmp_path / "target").write_bytes(b"do not touch")
    (tmp_path / "empty.log").symlink_to("target")
    assert one(client, "empty.log", tmp_path).code == "other_bytes_there"
    assert one(client, "empty.log", tmp_path, overwrite=True).ok
    assert (tmp_path / "target").read_bytes() == b"do not touch"

    assert one(client, "random.bin", tmp_path, overwrite=True).outcome == "downloaded"
    check_sums(tmp_path)


def test_one_bad_name_stops_nobody_and_a_single_file_raises(client, tmp_path):
    names = ["no such file", "empty.log", "../escape", "random.bin", "random.bin"]
    results = {result.name: result for result in download_files(client, names, tmp_path)}
    assert {name: result.ok for name, result in results.items()} == {
        "no such file": False,
        "empty.log": True,
        "../escape": False,
        "random.bin": True,
    }
    assert results["no such file"].code == "not_found"
    assert results["no such file"].remedy
    assert client.file("empty.log").download(tmp_path) == tmp_path / "empty.log"
    (tmp_path / "empty.log").write_bytes(b"not empty")
    with pytest.raises(LibrarianError) as refused:
        client.file("empty.log").download(tmp_path)
    assert refused.value.code == "other_bytes_there"


@pytest.mark.parametrize("name", ["../a", "a/../b", "/a", "a//b", "a/.", "", "a\0b", "a\nb", "SHA256SUMS"])
def test_a_name_that_could_lead_out_of_the_folder_gets_no_place(name, tmp_path):
    with pytest.raises(LibrarianError):
        Folder(tmp_path, overwrite=False, keep_directories=True).place_of(name)


def test_two_files_of_one_base_name_get_an_error_or_their_directories(filled, tmp_path):
    site = filled({"one/same.log": 100, "two/same.log": 200}, LIBRARIAN_FILE_NAMES="path")
    client, names = client_of(site), ["one/same.log", "two/same.log"]
    flat = list(download_files(client, names, tmp_path / "flat", overwrite=True, parallel=1))
    assert sorted(result.code for result in flat) == ["", "place_taken"]
    assert "keep_directories" in "".join(result.remedy for result in flat)

    kept = list(download_files(client, names, tmp_path / "kept", keep_directories=True))
    assert all(result.ok for result in kept)
    for name in names:
        assert (tmp_path / "kept" / name).read_bytes() == (site.source / name).read_bytes()
    check_sums(tmp_path / "kept")


def test_a_search_is_read_only_as_far_as_it_is_used(client, tmp_path):
    started = []

    def names():
        for name in LARGE * 1000:
            started.append(name)
            yield f"{name} {len(started)}"

    results = download_files(client, names(), tmp_path / "folder", parallel=2)
    assert started == []
    next(results)
    results.close()
    assert len(started) <= 4


# --- Cuts -------------------------------------------------------------------------------------------------------------


def test_a_server_that_is_killed_in_the_midst_sends_no_byte_twice(filled, tmp_path):
    site = filled({"large.bin": 48 * MIB})
    done, killed = [], []

    def progress(size):
        done.append(size)
        if sum(done) >= 20 * MIB and not killed:
            killed.append(sum(done))
            site.kill()
            site.start()

    result = one(client_of(site), "large.bin", tmp_path, progress=progress)
    assert killed
    assert result.ok, result
    assert result.bytes_fetched == 48 * MIB
    assert sum(done) == 48 * MIB
    check_sums(tmp_path)


def test_another_process_goes_on_with_what_arrived_and_distrusts_it(client, source, tmp_path):
    content = (source / "large" / "random.bin").read_bytes()
    part = tmp_path / "random.bin.part"
    part.write_bytes(content[: 10 * MIB])
    result = one(client, "random.bin", tmp_path)
    assert (result.ok, result.bytes_fetched) == (True, len(content) - 10 * MIB)
    assert not part.exists()

    (tmp_path / "random.bin").unlink()
    part.write_bytes(b"rot" + content[3 : 10 * MIB])
    counted = []
    result = one(client, "random.bin", tmp_path, progress=counted.append)
    assert (result.ok, result.bytes_fetched) == (True, 2 * len(content) - 10 * MIB)
    assert result.path.read_bytes() == content
    assert sum(counted) == len(content)
    assert min(counted) < 0


def test_a_part_that_another_download_writes_is_left_to_it(client, tmp_path):
    with (tmp_path / "random.bin.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert one(client, "random.bin", tmp_path).code == "being_downloaded"
    assert one(client, "random.bin", tmp_path).ok


def test_a_token_that_is_revoked_in_the_midst(site, source, tmp_path):
    api = f"{site.url}/api/v3/tokens/"
    signed_in = {"auth": (ADMIN, ADMIN_PASSWORD), "timeout": 30}

    def new_token():
        answer = requests.post(api, json={"name": "downloads", "level": 1}, **signed_in)
        answer.raise_for_status()
        return answer.json()

    token, asked, done = new_token(), site.web_log.read_text().count("/content"), []
    with cutting(site.port) as line:

        def progress(size):
            done.append(size)
            if sum(done) >= 4 * MIB and token["id"]:
                requests.delete(f"{api}{token['id']}/", **signed_in).raise_for_status()
                token["id"] = None
                line.cut_after(0)

        client = LibrarianClient("http://127.0.0.1", line.port, token=token["token"])
        files = list(client.search(name_glob="random.bin")) + list(client.search(name_glob="large.*"))
        results = list(download_files(client, files, tmp_path, parallel=1, progress=progress))
    assert [result.code for result in results] == ["authentication_required"] * 3
    assert sum(done) == 0  # what did not become a file is taken back
    assert site.web_log.read_text().count("/content") - asked <= 3  # the other two were not even tried
    arrived = (tmp_path / "random.bin.part").stat().st_size
    assert arrived >= 4 * MIB

    client = LibrarianClient("http://127.0.0.1", site.port, token=new_token()["token"])
    result = one(client, "random.bin", tmp_path)
    assert (result.ok, result.bytes_fetched) == (True, (source / "large" / "random.bin").stat().st_size - arrived)


# --- Bad copies -------------------------------------------------------------------------------------------------------

SECOND_COPY = """
import shutil, pathlib
second = Store.objects.get(name="second")
for copy in Instance.objects.all():
    target = pathlib.Path(second.configuration["root"]) / copy.path
    target.parent.mkdir(parents=True, exist_ok=True)
    source = copy.store.backend.locate(copy.path)
    shutil.copytree(source, target) if copy.file.is_directory else shutil.copyfile(source, target)
    Instance.objects.create(file=copy.file, store=second, path=copy.path)
"""


def test_a_copy_that_breaks_in_the_midst_is_gone_on_with_from_another(filled, tmp_path):
    site = filled({"large.bin": 48 * MIB, "short.bin": 5000})
    (tmp_path / "second").mkdir()
    site.manage("add_store", "second", "--kind", "posix", "--path", str(tmp_path / "second"))
    site.manage("shell", "-v", "0", "-c", SECOND_COPY)
    os.truncate(stored(site, "short.bin"), 100)
    first, done = stored(site, "large.bin"), []

    def progress(size):
        done.append(size)
        if sum(done) < 2 * MIB:
            os.truncate(first, 30 * MIB)

    results = list(download_files(client_of(site), ["large.bin", "short.bin"], tmp_path / "got", progress=progress))
    assert all(result.ok for result in results), results
    for result in results:
        assert result.path.read_bytes() == (site.source / result.name).read_bytes()
        assert result.bytes_fetched == result.size_bytes
    conditions = site.evaluate("sorted(Instance.objects.values_list('store__name', 'condition'))")
    assert conditions.count(["store", "short"]) == 2


def test_a_copy_with_wrong_bytes_is_left_for_a_good_one(filled, tmp_path):
    site = filled({"rotten.bin": 3 * MIB, "tree.uv/header": 100, "tree.uv/visdata": MIB, "good.bin": 100})
    (tmp_path / "second").mkdir()
    site.manage("add_store", "second", "--kind", "posix", "--path", str(tmp_path / "second"))
    site.manage("shell", "-v", "0", "-c", SECOND_COPY)
    for name in ("rotten.bin", "visdata"):
        with stored(site, name).open("r+b") as handle:
            handle.seek(MIB // 2)
            handle.write(b"rot")
    client = client_of(site)
    results = list(download_files(client, ["rotten.bin", "tree.uv", "good.bin"], tmp_path / "got"))
    assert all(result.ok for result in results), results
    for path in ("rotten.bin", "tree.uv/visdata", "tree.uv/header"):
        assert (tmp_path / "got" / path).read_bytes() == (site.source / path).read_bytes()
    check_sums(tmp_path / "got")
    assert {path.name for path in (tmp_path / "got").iterdir()} == {"rotten.bin", "tree.uv", "good.bin", "SHA256SUMS"}

    content = client.file("rotten.bin").content()
    content.store = "third"
    with pytest.raises(LibrarianHTTPError, match="no copy on a store 'third'"):
        list(content.blocks())


def test_bytes_that_are_not_those_of_the_catalogue_are_kept_apart_with_both_digests(filled, tmp_path):
    site = filled({"rotten.bin": 3 * MIB, "good.bin": 1000})
    path = stored(site, "rotten.bin")
    with path.open("r+b") as handle:
        handle.seek(MIB)
        handle.write(b"rot")
    rotten = path.read_bytes()
    counted = []
    results = download_files(client_of(site), ["rotten.bin", "good.bin"], tmp_path, progress=counted.append)
    results = {result.name: result for result in results}
    bad = results["rotten.bin"]
    assert (bad.ok, bad.code) == (False, "digest_mismatch")
    assert hashlib.sha256(rotten).hexdigest() in bad.reason
    assert hashlib.sha256((site.source / "rotten.bin").read_bytes()).hexdigest() in bad.reason
    assert (tmp_path / "rotten.bin.bad").read_bytes() == rotten
    assert not (tmp_path / "rotten.bin").exists()
    assert results["good.bin"].ok
    assert sum(counted) == 1000
    assert "rotten" not in (tmp_path / "SHA256SUMS").read_text()


# --- The disk here ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 20 MiB."""
    point = tmp_path / "small"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", point], check=True)
    yield point
    subprocess.run(["umount", "-l", point], check=True)


def test_a_full_disk_is_said_before_anything_comes_and_when_it_fills_in_the_midst(client, small_disk):
    result = one(client, "large.h5", small_disk)
    assert (result.code, result.bytes_fetched) == ("disk_full", 0)

    done = []

    def progress(size):
        done.append(size)
        if sum(done) >= 4 * MIB and not (small_disk / "other").exists():
            (small_disk / "other").write_bytes(b"\0" * 10 * MIB)

    result = one(client, "random.bin", small_disk, progress=progress)
    assert (result.ok, result.code) == (False, "disk_full")
    arrived = (small_disk / "random.bin.part").stat().st_size
    assert arrived >= 4 * MIB

    (small_disk / "other").unlink()
    result = one(client, "random.bin", small_disk)
    assert result.ok
    assert result.bytes_fetched <= result.size_bytes - 4 * MIB
