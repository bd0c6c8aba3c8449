"""`manage.py ingest`: what is taken, under which name, with an answer for each product."""

import io
import json
import os
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from files.checks import check_naming_mode
from files.models import Condition, File, FileEvent, Instance, Presence, Upload, UploadState
from files.services.event_verification import verify_events
from files.services.products import find_products
from hera_librarian.checksums import combine_directory_digests
from librarian.checks import refuse_bad_settings
from tests.make import bytes_path, make_store, tree_digest, write_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def night(tmp_path) -> Path:
    folder = tmp_path / "incoming"
    write_bytes(folder / "2457561" / "zen.2457561.00001.uvh5", b"one")
    write_bytes(folder / "2457561" / "zen.2457561.00002.uvh5", b"two")
    write_bytes(folder / "zen.2457561.00003.HH.uvA", {"header": b"h", "vartable": b"v", "sub/visdata": b"d", "e": None})
    write_bytes(folder / "notes.txt", b"notes")
    return folder


def ingest(*args: object, **options: object) -> list[dict]:
    """Run the command; the reports it prints, whatever its exit code."""
    out = io.StringIO()
    code = 0
    try:
        call_command("ingest", *map(str, args), json=True, stdout=out, stderr=io.StringIO(), **options)
    except CommandError as ended:
        code = ended.returncode
    reports = [json.loads(line) for line in out.getvalue().splitlines()]
    failed = [report for report in reports if report["outcome"] == "failed"]
    assert code == (0 if not failed else 2 if len(failed) == len(reports) else 1)
    return reports


def test_a_tree_is_taken_in_and_its_directory_products_are_not_walked_into(store, night) -> None:
    reports = ingest(night)
    assert {r["outcome"] for r in reports} == {"new"}
    assert {r["name"] for r in reports} == {
        "zen.2457561.00001.uvh5",
        "zen.2457561.00002.uvh5",
        "zen.2457561.00003.HH.uvA",
        "notes.txt",
    }
    one = File.objects.get(name="zen.2457561.00001.uvh5")
    instance = one.instances.get()
    assert instance.path == "2457561/zen.2457561.00001.uvh5"
    assert instance.condition == Condition.GOOD
    assert bytes_path(store, instance.path).read_bytes() == b"one"
    assert one.size_bytes == 3
    assert not Upload.objects.live().exists()
    assert list(store.backend.list_staging()) == []


def test_a_directory_product_keeps_its_members_and_their_digests(store, night) -> None:
    ingest(night)
    product = File.objects.get(name="zen.2457561.00003.HH.uvA")
    content = {"header": b"h", "vartable": b"v", "sub/visdata": b"d", "e": None}
    assert product.kind == "directory"
    assert product.digest == tree_digest(content)
    assert product.size_bytes == 3
    assert [member.path for member in product.members.order_by("id")] == ["e", "header", "sub/visdata", "vartable"]
    import xxhash

    expected = combine_directory_digests("xxh3", [xxhash.xxh3_128(b).hexdigest() for b in (b"h", b"v", b"d")])
    assert product.checksum == f"xxh3:::{expected}"
    place = bytes_path(store, product.instances.get().path)
    assert (place / "sub" / "visdata").read_bytes() == b"d"
    assert (place / "e").is_dir()


def test_histories_tell_of_the_arrival_and_hold(store, night) -> None:
    ingest(night, source="correlator")
    file = File.objects.get(name="notes.txt")
    types = list(FileEvent.objects.filter(file=file).order_by("number").values_list("type", flat=True))
    assert types == ["file_registered", "instance_created"]
    assert file.source == "correlator"
    assert verify_events().findings == []


def test_repeating_an_ingest_says_already_here_and_changes_nothing(store, night) -> None:
    ingest(night)
    before = list(File.objects.values_list("pk", "registered_at"))
    assert {r["outcome"] for r in ingest(night)} == {"already here"}
    assert list(File.objects.values_list("pk", "registered_at")) == before
    assert Instance.objects.count() == 4


def test_same_name_other_bytes_is_a_conflict_and_its_neighbours_go_on(store, night, tmp_path) -> None:
    ingest(night)
    other = tmp_path / "other"
    write_bytes(other / "notes.txt", b"NOTES")
    write_bytes(other / "new.txt", b"new")
    reports = {r["name"]: r for r in ingest(other)}
    assert reports["notes.txt"]["code"] == "name_taken"
    assert reports["new.txt"]["outcome"] == "new"
    assert bytes_path(store, File.objects.get(name="notes.txt").instances.get().path).read_bytes() == b"notes"


def test_two_products_of_one_name_in_one_ingest(store, tmp_path) -> None:
    write_bytes(tmp_path / "in" / "a" / "same.txt", b"1")
    write_bytes(tmp_path / "in" / "b" / "same.txt", b"2")
    write_bytes(tmp_path / "in" / "c" / "same.txt", b"1")
    assert [r["outcome"] for r in ingest(tmp_path / "in")] == ["new", "failed", "already here"]


def test_same_bytes_under_two_names_are_two_files(store, tmp_path) -> None:
    write_bytes(tmp_path / "in" / "a.txt", b"same")
    write_bytes(tmp_path / "in" / "b.txt", b"same")
    assert [r["outcome"] for r in ingest(tmp_path / "in")] == ["new", "new"]


def test_an_occupied_place_moves_the_newcomer_and_harms_nobody(store, tmp_path) -> None:
    stranger = bytes_path(store, "2457561/zen.2457561.1.uvh5")
    write_bytes(stranger, b"somebody else's")
    write_bytes(tmp_path / "zen.2457561.1.uvh5", b"ours")
    ingest(tmp_path / "zen.2457561.1.uvh5")
    instance = Instance.objects.get(file__name="zen.2457561.1.uvh5")
    assert instance.path == "2457561~2/zen.2457561.1.uvh5"
    assert stranger.read_bytes() == b"somebody else's"


def test_a_name_whose_last_copy_is_gone_accepts_the_same_bytes_again(store, night) -> None:
    ingest(night)
    file = File.objects.get(name="notes.txt")
    Instance.objects.filter(file=file).update(presence=Presence.GONE, path="")
    reports = {r["name"]: r["outcome"] for r in ingest(night)}
    assert reports["notes.txt"] == "restored"
    instance = file.instances.get()
    assert instance.presence == Presence.PRESENT
    assert bytes_path(store, instance.path).read_bytes() == b"notes"
    assert verify_events().findings == []


def test_a_name_whose_last_copy_is_gone_refuses_other_bytes(store, night) -> None:
    ingest(night)
    Instance.objects.filter(file__name="notes.txt").update(presence=Presence.GONE, path="")
    (night / "notes.txt").write_bytes(b"other")
    reports = {r["name"]: r for r in ingest(night)}
    assert reports["notes.txt"]["code"] == "name_taken"


@pytest.mark.parametrize("kind", ["link", "fifo", "link in a product", "bad name"])
def test_what_cannot_be_archived_is_refused_with_its_reason(store, tmp_path, kind: str) -> None:
    folder = tmp_path / "in"
    write_bytes(folder / "good.txt", b"good")
    if kind == "link":
        (folder / "bad").symlink_to("/etc/hostname")
    elif kind == "fifo":
        os.mkfifo(folder / "bad")
    elif kind == "bad name":
        (folder / "b\nad").write_bytes(b"x")
    else:
        write_bytes(folder / "bad.uv", {"header": b"h"})
        (folder / "bad.uv" / "link").symlink_to("/etc/hostname")
    reports = {Path(r["path"]).name: r for r in ingest(folder)}
    bad = next(r for name, r in reports.items() if name != "good.txt")
    assert bad["outcome"] == "failed"
    assert bad["code"] in ("unsafe_product", "invalid_name")
    assert bad["reason"]
    assert reports["good.txt"]["outcome"] == "new"
    assert list(store.backend.list_staging()) == []
    assert not Upload.objects.live().exists()


def test_a_path_that_does_not_exist_is_named(store, tmp_path) -> None:
    assert "does not exist" in ingest(tmp_path / "nothing")[0]["reason"]


def test_a_dry_run_shows_the_decision_and_takes_nothing(store, night) -> None:
    reports = {r["name"]: r for r in ingest(night, dry_run=True)}
    assert reports["zen.2457561.00003.HH.uvA"]["kind"] == "directory"
    assert reports["notes.txt"]["outcome"] == "planned"
    assert not File.objects.exists()


def test_pattern_and_product_options(store, night) -> None:
    reports = ingest(night, pattern="zen*", product=["2457561"])
    assert {r["name"] for r in reports} == {"zen.2457561.00003.HH.uvA"}


def test_in_place_keeps_the_bytes_where_they_are(store) -> None:
    path = bytes_path(store, "old/zen.2457561.9.uvh5")
    write_bytes(path, b"was here")
    inode = path.stat().st_ino
    assert [r["outcome"] for r in ingest(path, in_place=True)] == ["new"]
    instance = Instance.objects.get()
    assert instance.path == "old/zen.2457561.9.uvh5"
    assert path.stat().st_ino == inode
    assert [r["outcome"] for r in ingest(path, in_place=True)] == ["already here"]


def test_in_place_outside_any_store_is_refused(store, night) -> None:
    reports = ingest(night / "notes.txt", in_place=True)
    assert reports[0]["code"] == "invalid_request"
    assert not File.objects.exists()


def test_in_place_one_copy_cannot_be_two_files(store, settings) -> None:
    settings.LIBRARIAN_FILE_NAMES = "path"
    path = bytes_path(store, "old/zen.2457561.9.uvh5")
    write_bytes(path, b"was here")
    write_bytes(path.parent / "other.uvh5", b"neighbour")
    assert ingest(path.parent.parent, in_place=True, pattern="zen*")[0]["name"] == "old/zen.2457561.9.uvh5"
    reports = {r["name"]: r for r in ingest(path.parent, in_place=True)}
    assert "copy of another file" in reports["zen.2457561.9.uvh5"]["reason"]
    assert reports["other.uvh5"]["outcome"] == "new"


def test_without_a_store_every_product_says_why(tmp_path) -> None:
    write_bytes(tmp_path / "a.txt", b"a")
    assert ingest(tmp_path / "a.txt")[0]["code"] == "no_store_available"


def test_a_full_store_is_named_and_nothing_is_left(tmp_path) -> None:
    store = make_store(tmp_path, capacity_bytes=10**12, free_bytes=5 * 10**10)  # just at its fullness limit
    write_bytes(tmp_path / "a.txt", b"a")
    report = ingest(tmp_path / "a.txt")[0]
    assert report["code"] == "no_store_available"
    assert store.name in report["reason"]
    assert not Upload.objects.exists()


def test_a_required_obsid_is_asked_for_and_null_obsid_is_a_word(store, tmp_path, settings) -> None:
    settings.LIBRARIAN_REQUIRE_OBSID = True
    write_bytes(tmp_path / "a.log", b"a")
    assert "without an obsid" in ingest(tmp_path / "a.log")[0]["reason"]
    assert ingest(tmp_path / "a.log", null_obsid=True)[0]["outcome"] == "new"
    write_bytes(tmp_path / "b.log", b"b")
    ingest(tmp_path / "b.log", obsid=1192201262)
    assert File.objects.get(name="b.log").obsid == 1192201262


def test_parallel_reading_gives_the_same_catalogue(store, night) -> None:
    assert {r["outcome"] for r in ingest(night, jobs=4)} == {"new"}
    assert verify_events().findings == []
    assert Upload.objects.filter(state=UploadState.COMMITTED).count() == 4


def test_changing_the_naming_mode_of_a_catalogue_with_files_is_refused(store, night, settings) -> None:
    ingest(night)
    settings.LIBRARIAN_FILE_NAMES = "path"
    write_bytes(night / "more.txt", b"more")
    reports = {r["name"]: r for r in ingest(night, pattern="more.txt")}
    assert reports["more.txt"]["code"] == "misconfigured"
    assert check_naming_mode(databases=["default"])[0].id == "files.E002"
    with pytest.raises(ImproperlyConfigured, match="names files in 'flat' mode"):
        refuse_bad_settings()
    settings.LIBRARIAN_FILE_NAMES = "flat"
    assert check_naming_mode(databases=["default"]) == []


def test_the_commit_record_alone_tells_what_the_store_holds(store, night) -> None:
    ingest(night)
    told = {line.facts["name"]: (line, list(members)) for line, members in store.backend.read_record()}
    assert set(told) == set(File.objects.values_list("name", flat=True))
    line, members = told["zen.2457561.00003.HH.uvA"]
    file = File.objects.get(name=line.facts["name"])
    assert (line.place, line.facts["digest"], line.facts["checksum"]) == (
        file.instances.get().path,
        file.digest,
        file.checksum,
    )
    assert [member.path for member in members] == ["e", "header", "sub/visdata", "vartable"]
    assert store.backend.record_problems == []


def test_what_vanishes_while_it_is_listed_is_reported_and_its_neighbours_go_on(tmp_path) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        write_bytes(tmp_path / "in" / name, b"bytes")
    found = find_products([str(tmp_path / "in")])
    assert next(found).handed_as == "a.txt"
    (tmp_path / "in" / "b.txt").unlink()
    rest = list(found)
    assert [(product.handed_as, bool(product.problem)) for product in rest] == [("b.txt", True), ("c.txt", False)]
