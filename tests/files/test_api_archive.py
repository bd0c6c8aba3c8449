"""`/api/v3/files/archive`: many files in one tar stream, with what checks them and what could not be sent."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
import tracemalloc

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from files.models import Condition, File, Instance, Presence
from files.services import archive_stream
from files.services.download import BrokenRead
from tests.asking import Api, body_of
from tests.make import bytes_path, make_cast, make_file, make_instance, make_remote_instance, make_store, make_user

PRODUCT = {"header": b"hhh", "visdata": b"v" * 70_000, "empty": None, "sub/flags": b""}


@pytest.fixture
def api(db):
    make_cast()
    return Api("readonly")


@pytest.fixture
def first(db, tmp_path):
    return make_store(tmp_path, name="first")


@pytest.fixture
def second(db, tmp_path):
    return make_store(tmp_path, name="second")


def get(api, **parameters):
    response = api.get("files/archive", **parameters)
    assert response.status_code == 200, response.content
    return body_of(response)


def post(api, *names):
    return api.post("files/archive", {"names": list(names)})


def opened(body):
    """Entries of an archive in their order; None for a directory."""
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        return {entry.name: archive.extractfile(entry).read() if entry.isfile() else None for entry in archive}


def manifest_of(body, name="manifest.json"):
    return {told["name"]: told for told in json.loads(opened(body)[name])["files"]}


def unpack(body, folder):
    """Unpack with the system's tar and check with the system's sha256sum, as a scientist does."""
    folder.mkdir()
    subprocess.run(["tar", "xf", "-"], input=body, cwd=folder, check=True)
    sums = next(path.name for path in folder.iterdir() if path.name.startswith("SHA256SUMS") and path.is_file())
    return subprocess.run(["sha256sum", "--check", "--strict", sums], cwd=folder, capture_output=True, text=True)


# --- What is in it ----------------------------------------------------------------------------------------------------


def test_a_selection_unpacks_to_its_files_and_sha256sum_agrees(api, first, tmp_path):
    make_file("zen.1.uvh5", content=b"one" * 5000, store=first, obsid=1447891218)
    make_file("zen.2.uv", content=PRODUCT, store=first)
    make_file("empty", content=b"", store=first)
    make_file("other.txt", store=first)
    body = get(api, name_glob="zen*")
    assert list(opened(body)) == [
        "zen.1.uvh5",
        "zen.2.uv",
        "zen.2.uv/empty",
        "zen.2.uv/header",
        "zen.2.uv/sub/flags",
        "zen.2.uv/visdata",
        "manifest.json",
        "SHA256SUMS",
    ]
    checked = unpack(get(api), tmp_path / "all")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "zen.2.uv/visdata: OK" in checked.stdout
    assert "manifest.json: OK" in checked.stdout
    assert (tmp_path / "all/zen.1.uvh5").read_bytes() == b"one" * 5000
    assert (tmp_path / "all/zen.2.uv/empty").is_dir()
    assert (tmp_path / "all/empty").read_bytes() == b""


def test_the_manifest_tells_of_every_file_what_the_catalogue_knows(api, first):
    file = make_file("zen.1.uvh5", content=b"one", store=first, obsid=1447891218)
    body = get(api)
    assert manifest_of(body)["zen.1.uvh5"] == {
        "name": "zen.1.uvh5",
        "kind": "flat",
        "size_bytes": 3,
        "digest": file.digest,
        "checksum": file.checksum,
        "obsid": 1447891218,
        "delivered": True,
    }
    told = json.loads(opened(body)["manifest.json"])
    assert (told["delivered_count"], told["left_out_count"], told["site"]) == (1, 0, "test_librarian")


def test_it_comes_as_a_download_of_no_known_length(api, first):
    make_file(store=first)
    response = api.get("files/archive")
    body_of(response)
    assert response["Content-Type"] == "application/x-tar"
    assert response["Content-Disposition"].startswith('attachment; filename="test_librarian-')
    assert "Content-Length" not in response
    head = api.head("files/archive")
    assert (head.status_code, body_of(head), head["Content-Type"]) == (200, b"", "application/x-tar")


@pytest.mark.parametrize("name", ["a\\b c", "-", "-rf", " lead", "ü" * 60 + ".uvh5", "x" * 250, "'\"$(id)`"])
def test_any_name_is_unpacked_and_checked(api, first, tmp_path, name):
    make_file(name, content=b"here", store=first)
    checked = unpack(get(api), tmp_path / "out")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert (tmp_path / "out" / name).read_bytes() == b"here"


def test_files_that_are_called_as_our_lists_keep_their_names(api, first, tmp_path):
    for name in ("SHA256SUMS", "manifest.json", "manifest~2.json"):
        make_file(name, content=name.encode(), store=first)
    body = get(api)
    assert list(opened(body))[-2:] == ["manifest~3.json", "SHA256SUMS~2"]
    assert opened(body)["manifest.json"] == b"manifest.json"
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "xf", "-"], input=body, cwd=tmp_path / "out", check=True)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS~2"], cwd=tmp_path / "out", check=True)


def test_names_with_directories_are_unpacked_where_they_can_be(api, first, settings, tmp_path):
    settings.LIBRARIAN_FILE_NAMES = "path"
    make_file("a/b/one", content=b"1", store=first)
    make_file("a/prod.uv", content=PRODUCT, store=first)
    make_file("a/prod.uv/inside", content=b"2", store=first, place="elsewhere/inside")
    make_file("a/b", content=b"3", store=first, place="elsewhere/b")
    body = get(api)
    told = manifest_of(body)
    assert [name for name, row in told.items() if row["delivered"]] == ["a/b/one", "a/prod.uv"]
    assert told["a/b"]["code"] == told["a/prod.uv/inside"]["code"] == "conflict"
    assert unpack(body, tmp_path / "out").returncode == 0
    assert (tmp_path / "out/a/prod.uv/header").read_bytes() == b"hhh"


# --- Choosing ---------------------------------------------------------------------------------------------------------


def test_files_are_chosen_by_the_filters_of_the_list_or_by_name(api, first):
    for number in range(4):
        make_file(f"zen.{number}", store=first, obsid=number)
    assert list(manifest_of(get(api, obsid=2))) == ["zen.2"]
    assert list(manifest_of(get(api, name="zen.3"))) == ["zen.3"]
    assert list(manifest_of(get(api, name=["zen.3", "2457561/zen.1", "zen.3"]))) == ["zen.1", "zen.3"]
    assert list(manifest_of(body_of(post(api, "zen.2", "zen.0")))) == ["zen.0", "zen.2"]


def test_names_that_mean_no_file_are_told_and_harm_no_other(api, first):
    make_file("zen.1", store=first, obsid=1)
    told = manifest_of(body_of(post(api, "nosuch", "../etc/passwd", "zen.1")))
    assert told["zen.1"]["delivered"]
    assert (told["nosuch"]["code"], told["../etc/passwd"]["code"]) == ("not_found", "invalid_name")
    assert not manifest_of(get(api, name=["zen.1", "nosuch"]))["nosuch"]["delivered"]


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({"nonsense": "1"}, 400, "invalid_request"),
        ({"size_min": "abc"}, 400, "invalid_request"),
        ({"obsid": ["1", "2"]}, 400, "invalid_request"),
        ({"name_contains": "nothing like it"}, 404, "not_found"),
        ({"name": "nothing"}, 404, "not_found"),
        ({"name": "../x"}, 400, "invalid_name"),
        ({"name": ["a", "b"]}, 404, "not_found"),
    ],
)
def test_what_selects_nothing_is_refused(api, first, parameters, status, code):
    make_file("zen.1", store=first)
    assert api.refusal("files/archive", status, **parameters)["code"] == code


@pytest.mark.parametrize("body", [{}, {"names": []}, {"names": "zen.1"}, {"names": [["a"]]}, [1]])
def test_a_list_of_names_is_a_list_of_names(api, body):
    response = api.post("files/archive", body)
    assert response.status_code == 400
    assert response.json()["suggested_remedy"]


def test_more_files_than_the_limit_are_refused_before_a_byte(api, first, settings):
    settings.LIBRARIAN_MAX_ARCHIVE_FILES = 2
    for number in range(3):
        make_file(f"zen.{number}", store=first)
    refused = api.refusal("files/archive", 413)
    assert refused["code"] == "too_many_files"
    assert "2 files" in refused["reason"]
    assert post(api, "zen.0", "zen.1", "zen.2").status_code == 413
    assert api.get("files/archive", name_contains="zen.0").status_code == 200


def test_it_needs_readonly(api, first):
    make_file(store=first)
    make_user("nothing", level=0)
    assert Api("nothing").get("files/archive").status_code == 403
    assert Api("stranger").get("files/archive").status_code == 401


# --- What cannot be read ----------------------------------------------------------------------------------------------


def test_files_without_readable_bytes_are_named_and_the_others_come(api, first, second, tmp_path):
    good = make_file("good", content=b"good", store=first)
    missing = make_file("missing", content=b"was here", store=first)
    bytes_path(first, missing.instances.get().path).unlink()
    make_remote_instance(make_file("elsewhere"), peer="nrao")
    make_file("bad", store=first, instance={"presence": Presence.SET_ASIDE})
    short = make_file("short.uv", content=PRODUCT, store=first)
    (bytes_path(first, short.instances.get().path) / "visdata").write_bytes(b"v")
    saved = make_file("saved", content=b"from the second", store=first)
    bytes_path(first, saved.instances.get().path).unlink()
    make_instance(saved, second, content=b"from the second")
    last = make_file("last.uv", content=PRODUCT, store=first)

    body = get(api)
    told = manifest_of(body)
    assert [name for name, row in told.items() if row["delivered"]] == [good.name, saved.name, last.name]
    assert opened(body)["saved"] == b"from the second"
    assert opened(body)["last.uv/visdata"] == PRODUCT["visdata"]
    for name, code, says in (
        ("missing", "no_readable_copy", "No copy of missing"),
        ("elsewhere", "no_copy_here", "No copy of elsewhere is at this site"),
        ("bad", "no_readable_copy", "No copy of bad"),
        ("short.uv", "no_readable_copy", "No copy of short.uv"),
    ):
        assert told[name]["code"] == code
        assert says in told[name]["reason"]
        assert told[name]["suggested_remedy"]
    assert "nrao" in told["elsewhere"]["suggested_remedy"]
    assert unpack(body, tmp_path / "out").returncode == 0
    assert missing.instances.get().condition == Condition.MISSING


def test_a_selection_of_which_nothing_can_be_read_is_refused(api, first):
    for number in range(3):
        make_file(f"zen.{number}")
    refused = api.refusal("files/archive", 503)
    assert refused["code"] == "no_readable_copy"
    assert [row["name"] for row in refused["files"]] == ["zen.0", "zen.1", "zen.2"]
    assert api.refusal("files/archive", 404, name="zen.0")["code"] == "no_copy_here"


@pytest.mark.parametrize("content", [b"b" * 3_000_000, {"header": b"h", "visdata": b"v" * 3_000_000}])
def test_a_read_that_breaks_on_the_way_breaks_the_stream(api, first, content):
    make_file("first", store=first)
    broken = make_file("breaks", content=content, store=first)
    make_file("after", store=first)
    path = bytes_path(first, broken.instances.get().path)
    path = path if path.is_file() else path / "visdata"
    response = api.get("files/archive")
    blocks = iter(response.streaming_content)
    sent = next(blocks)
    os.truncate(path, 2_000_000)
    rest: list[bytes] = []
    with pytest.raises(BrokenRead):
        rest.extend(blocks)
    sent += b"".join(rest)
    assert b"after" not in sent
    assert b"SHA256SUMS" not in sent
    with pytest.raises(tarfile.ReadError):
        opened(sent)


def test_a_real_client_sees_a_broken_stream_as_broken(start_site, tmp_path):
    site = start_site()
    source = tmp_path / "night"
    source.mkdir()
    (source / "a.bin").write_bytes(os.urandom(2**20) * 24)
    (source / "b.txt").write_text("b")
    site.manage("ingest", str(source), "--null-obsid")
    from tests.rig.servers import ADMIN, ADMIN_PASSWORD

    def curl(target, *options):
        command = ["curl", "--silent", "--show-error", "--fail", "--user", f"{ADMIN}:{ADMIN_PASSWORD}"]
        return [*command, *options, "--output", str(target), f"{site.url}/api/v3/files/archive"]

    assert subprocess.run(curl(tmp_path / "whole.tar"), timeout=60).returncode == 0
    assert unpack((tmp_path / "whole.tar").read_bytes(), tmp_path / "out").returncode == 0
    for options in ([], ["--http1.0"]):
        slow = subprocess.Popen(curl(tmp_path / "cut.tar", "--limit-rate", "8M", *options), stderr=subprocess.PIPE)
        [stored] = [path for path in site.store_path.rglob("a.bin") if path.is_file()]
        stored.chmod(0o644)
        while not (tmp_path / "cut.tar").exists():
            assert slow.poll() is None, slow.stderr.read()
        os.truncate(stored, 20 * 2**20)
        code = slow.wait(60)
        unpacked = subprocess.run(["tar", "tf", str(tmp_path / "cut.tar")], capture_output=True).returncode
        assert unpacked != 0
        assert code != 0 or "--http1.0" in options  # HTTP/1.0 has no sign of its own: there the tar alone tells
        (tmp_path / "cut.tar").unlink()
        with stored.open("wb") as whole:
            whole.write((source / "a.bin").read_bytes())
        site.evaluate("Instance.objects.update(condition='good')")


# --- What it costs ----------------------------------------------------------------------------------------------------


def queries_for(call):
    with CaptureQueriesContext(connection) as captured:
        body = call()
    asked = [row["sql"] for row in captured if "accounts_" not in row["sql"]]
    return len(asked), body


def test_the_number_of_queries_grows_with_batches_and_not_with_files(api, first, monkeypatch):
    monkeypatch.setattr(archive_stream, "_BATCH_FILES", 10)
    for number in range(5):
        make_file(f"zen.{number}", store=first)
        make_file(f"zen.{number}.uv", content=PRODUCT, store=first)
    get(api)
    one, _ = queries_for(lambda: get(api))
    assert one <= 4  # keys; files, copies, members; account
    for number in range(5, 20):
        make_file(f"zen.{number}", store=first)
        make_file(f"zen.{number}.uv", content=PRODUCT, store=first)
    four, body = queries_for(lambda: get(api))
    assert four <= 1 + 4 * 3
    assert len(manifest_of(body)) == 40


def test_members_come_whole_however_the_batches_fall(api, first, monkeypatch):
    from files.services import tar_stream

    monkeypatch.setattr(tar_stream, "_BATCH_MEMBERS", 3)
    contents = [{f"part{n}": b"x" * n for n in range(count)} | {"header": b"h"} for count in (0, 1, 2, 3, 7)]
    for number, content in enumerate(contents):
        make_file(f"zen.{number}.uv", content=content, store=first)
    gone = File.objects.get(name="zen.2.uv")
    Instance.objects.filter(file=gone).update(presence=Presence.GONE)
    entries = opened(get(api))
    for number, content in enumerate(contents):
        got = {name.partition("/")[2]: data for name, data in entries.items() if name.startswith(f"zen.{number}.uv/")}
        assert got == ({} if number == 2 else content)


def test_memory_does_not_grow_with_the_selection(api, first):
    """Five times the files take the same memory, but for one integer each; the lists overflow to disk."""
    fill(first, "a", 400)
    get(api)
    small = peak(api)
    fill(first, "b", 1600)
    assert peak(api) < 1.3 * small + 200_000


def fill(store, prefix, number):
    path = bytes_path(store, f"x/{prefix}")
    path.parent.mkdir(exist_ok=True)
    digest = hashlib.sha256(b"x" * 4096).hexdigest()
    fields = {"kind": "flat", "size_bytes": 4096, "checksum": f"sha256:::{digest}", "digest": digest}
    for count in range(number):
        os.makedirs(bytes_path(store, "many"), exist_ok=True)
        bytes_path(store, f"many/{prefix}.{count}").write_bytes(b"x" * 4096)
    rows = [File(name=f"{prefix}.{n}", uploader="u", source="s", **fields) for n in range(number)]
    File.objects.bulk_create(rows)
    Instance.objects.bulk_create(Instance(file=row, store=store, path=f"many/{row.name}") for row in rows)


def peak(api):
    response = api.get("files/archive")
    tracemalloc.start()
    try:
        for _ in response.streaming_content:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_no_transaction_is_open_while_bytes_are_sent(transactional_db, tmp_path):
    make_cast()
    store = make_store(tmp_path)
    for number in range(3):
        make_file(f"zen.{number}", content=b"x" * 300_000, store=store)
    response = Api("readonly").get("files/archive")
    for _ in response.streaming_content:
        assert not connection.in_atomic_block
        assert connection.get_autocommit()
