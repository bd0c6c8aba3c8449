"""Reading manifests of any length, finding the files of a disk, and remembering what was handed over."""

import json
from types import SimpleNamespace

import pytest

from hera_librarian.carrying import Hand, Journal, foreign, manifest, open_manifest
from hera_librarian.carrying.disk import LeadsOut, NotAsPacked, NotOnDisk, copy, find, is_copied
from hera_librarian.carrying.manifest import InvalidManifest
from hera_librarian.carrying.ours import Batch
from hera_librarian.checksums import new_hasher
from hera_librarian.cli.failures import CommandFailure
from hera_librarian.exceptions import LibrarianHTTPError
from hera_librarian.models.admin import ManifestEntry
from hera_librarian.models.search import FileSearchResponses
from hera_librarian.site import SiteInfo


def entry(name="2459122/hello.txt", content=b"hello\n", **changes):
    hasher = new_hasher("xxh3")
    hasher.update(content)
    return {
        "name": name,
        "create_time": "2026-11-20T12:18:25.962903",
        "size": len(content),
        "checksum": f"xxh3:::{hasher.hexdigest()}",
        "uploader": "admin",
        "source": "admin",
        "instance_path": f"/data/a/store_sneaker/{name}",
        "deletion_policy": 0,
        "instance_create_time": "2026-11-20T12:18:27.098725",
        "instance_available": True,
        "outgoing_transfer_id": 1,
        **changes,
    }


def whole(*entries, **more):
    return {"librarian_name": "north", "store_name": "disk", "store_files": list(entries), **more}


@pytest.fixture
def write(tmp_path):
    def make(text):
        path = tmp_path / "m.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text, indent=2))
        return path

    return make


# --- The manifest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_manifest_is_read_in_pieces_of_any_size(write, monkeypatch, indent, piece):
    monkeypatch.setattr(manifest, "PIECE", piece)
    entries = [entry(f'2459122/{number} it\'s "ü" \\.txt') for number in range(20)]
    told = whole(*entries, file_count=20, librarian_features=["batch_complete"])
    found = open_manifest(write(json.dumps(told, indent=indent)))
    assert (found.librarian_name, found.file_count, found.size_bytes) == ("north", 20, 120)
    assert found.features == ("batch_complete",)
    assert [each.name for each in found.entries()] == [each["name"] for each in entries]


def test_one_without_files_is_a_manifest(write):
    assert open_manifest(write(whole())).file_count == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cut off"),
        ("[]", "wrong or missing"),
        ('{"librarian_name": "a"', "cut off"),
        (json.dumps(whole(entry()))[:-5], "wrong or missing"),
        (json.dumps(whole(entry()))[:-60], "wrong or missing"),
        ('{"librarian_name": "a", "store_name": "b"}', "store_files"),
        (json.dumps(whole({"name": "a"})), "create_time"),
        (json.dumps(whole(entry(), file_count=2)), "file_count is 2, but it lists 1"),
        (json.dumps({**whole(), "librarian_name": 7}), "librarian_name"),
    ],
)
def test_what_is_no_manifest_is_refused(write, text, said):
    with pytest.raises(InvalidManifest, match=said):
        open_manifest(write(text))


# --- The disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    root = tmp_path / "disk"
    (root / "2459122").mkdir(parents=True)
    (root / "2459122" / "hello.txt").write_bytes(b"hello\n")
    return root


@pytest.mark.parametrize(
    "changes",
    [
        {"place": "2459122/hello.txt", "name": "another"},
        {"name": "2459122/hello.txt"},
        {"name": "hello.txt", "instance_path": "/data/a/2459122/hello.txt"},
    ],
)
def test_a_file_is_found_where_the_disk_is_mounted_here(disk, changes):
    assert find(disk, ManifestEntry(**entry(**changes))) == disk / "2459122" / "hello.txt"


@pytest.mark.parametrize("trick", ["../outside", "/etc/hostname", "2459122/../../outside", "link", "folder/outside"])
def test_no_manifest_leads_out_of_the_disk(disk, tmp_path, trick):
    (tmp_path / "outside").write_bytes(b"hello\n")
    (disk / "link").symlink_to(tmp_path / "outside")
    (disk / "folder").symlink_to(tmp_path)
    with pytest.raises(LeadsOut):
        find(disk, ManifestEntry(**entry(place=trick, name=trick, instance_path="/x")))


def test_what_is_not_on_the_disk_is_said(disk):
    with pytest.raises(NotOnDisk):
        find(disk, ManifestEntry(**entry("none.txt")))


def test_a_copy_takes_the_place_of_what_was_left_there_and_is_compared(disk, tmp_path):
    path, location = disk / "2459122" / "hello.txt", tmp_path / "staging" / "token" / "item"
    location.parent.mkdir(parents=True)
    location.write_bytes(b"hel")
    seen = []
    copy(path, location, ManifestEntry(**entry()), progress=seen.append)
    assert (location.read_bytes(), sum(seen)) == (b"hello\n", 6)
    assert is_copied(location, ManifestEntry(**entry()))
    path.write_bytes(b"HELLO\n")
    with pytest.raises(NotAsPacked):
        copy(path, location, ManifestEntry(**entry()))
    assert not is_copied(location.parent / "none", ManifestEntry(**entry()))


# --- The journal ------------------------------------------------------------------------------------------------------


def test_a_journal_survives_a_torn_line(tmp_path):
    with Journal("seal", "server", folder=tmp_path) as journal:
        journal.note("begun", {"a": (1, "/x"), "b": (2, "/y")})
        journal.note("staged", {"a": (1, "/x")})
    with journal.path.open("a") as file:
        file.write('{"name": "b", "st')
    with Journal("seal", "server", folder=tmp_path) as journal:
        assert (journal.find("a").step, journal.find("b").step) == ("staged", "begun")
        journal.note("copied", {"b": (2, "/y")})
    with Journal("seal", "server", folder=tmp_path) as journal:
        assert journal.find("b").step == "copied"
    with Journal("seal", "another", folder=tmp_path) as journal:
        assert journal.find("a") is None
    with Journal("seal", "server", folder=tmp_path, anew=True) as journal:
        assert journal.find("a") is None


# --- What the other site says -----------------------------------------------------------------------------------------


class Foreign:
    """A client of a server that holds a file of every name."""

    def __init__(self, **told):
        self.told = told

    def post(self, endpoint, request=None, response=None):
        if endpoint != "search/file":
            raise LibrarianHTTPError(endpoint, 409, "File already exists on librarian.", "")
        copy = {"path": "/x", "deletion_policy": 0, "available": True, "created_time": "2026-11-20T12:18:27"}
        said = {**entry(), **self.told, "instances": [{**copy, "store_id": 7}], "remote_instances": []}
        return FileSearchResponses.model_validate([said])


@pytest.mark.parametrize(
    ("told", "outcome", "stores"),
    [
        ({}, "already here", (7,)),
        ({"size": 7}, "failed", ()),
        ({"checksum": "xxh3:::" + "0" * 32}, "failed", ()),
        ({"checksum": "0" * 32}, "already here", (7,)),  # another algorithm, which is not compared here
    ],
)
def test_only_the_same_bytes_are_this_file(disk, tmp_path, write, told, outcome, stores):
    manifest = open_manifest(write(whole(entry())))
    with Journal("seal", "server", folder=tmp_path) as journal:
        hand = Hand(Foreign(**told), manifest, disk, journal)
        result = foreign.hand_over(hand, next(manifest.entries()))
    assert (result.outcome, result.store_ids) == (outcome, stores)


def test_a_directory_that_cannot_be_read_stops_no_other(disk, tmp_path, write):
    (disk / "bad.uv").mkdir()
    (disk / "bad.uv" / "link").symlink_to("/etc")
    manifest = open_manifest(write(whole(entry("bad.uv", kind="directory", digest="0" * 64))))
    with Journal("seal", "server", folder=tmp_path) as journal:
        hand = Hand(None, manifest, disk, journal)
        assert [each.outcome for each in Batch(hand, list(manifest.entries())).hand_over()] == ["failed"]


def test_the_numbers_of_another_site_close_nothing(write, monkeypatch):
    from hera_librarian.cli.verbs import ingest_manifest

    manifest = open_manifest(write(whole(entry())))
    for name in ("north", "west"):
        monkeypatch.setattr(
            ingest_manifest, "client_for", lambda _, name=name: SimpleNamespace(site=lambda: SiteInfo(name=name))
        )
        if name == "north":
            assert ingest_manifest._source("n", manifest) is not None
            continue
        with pytest.raises(CommandFailure, match="leads to west, but the disk was packed by north"):
            ingest_manifest._source("w", manifest)
