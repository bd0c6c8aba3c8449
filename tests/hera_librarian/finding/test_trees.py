"""Downloads of directory products: unpacked beside, verified as a whole, and after a cut not fetched again."""

import contextlib
import hashlib
import io
import os
import subprocess
import tarfile

import pytest

from hera_librarian.exceptions import LibrarianError
from hera_librarian.finding import download_files
from hera_librarian.finding.tree_digest import Entry, TreeDigest, local_entries
from hera_librarian.finding.unpacking import unpack
from tests.hera_librarian.finding.conftest import client_of
from tests.hera_librarian.finding.cutting import cutting
from tests.make import tree_digest

MIB = 2**20
DEMO = ["data-2", "data/visdata", "flags", "header"]


def one(client, name, folder, **options):
    [result] = download_files(client, [name], folder, **options)
    return result


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def same(one_folder, other_folder):
    return subprocess.run(["diff", "-r", one_folder, other_folder], capture_output=True).returncode == 0


def test_a_product_comes_whole_and_the_second_time_nothing_comes(client, source, tmp_path):
    counted = []
    result = one(client, "demo.uv", tmp_path, progress=counted.append)
    assert (result.outcome, result.path) == ("downloaded", tmp_path / "demo.uv")
    assert result.digest == client.file("demo.uv").digest
    assert same(source / "large" / "demo.uv", tmp_path / "demo.uv")
    assert tree(tmp_path / "demo.uv") == tree(source / "large" / "demo.uv")
    assert sum(counted) == result.size_bytes
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert [line[66:] for line in lines] == ["demo.uv/data-2", "demo.uv/data/visdata", "demo.uv/header"]
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {"demo.uv", "SHA256SUMS"}

    result = one(client, "demo.uv", tmp_path)
    assert (result.outcome, result.bytes_fetched) == ("already here", 0)

    (tmp_path / "demo.uv" / "extra").write_bytes(b"")
    assert one(client, "demo.uv", tmp_path).code == "other_bytes_there"
    assert (tmp_path / "demo.uv" / "extra").exists()
    assert one(client, "demo.uv", tmp_path, overwrite=True).outcome == "downloaded"
    assert {path.name for path in tmp_path.iterdir()} == {"demo.uv", "SHA256SUMS"}
    assert same(source / "large" / "demo.uv", tmp_path / "demo.uv")


def test_after_a_cut_large_members_are_gone_on_with(site, source, tmp_path):
    with cutting(site.port) as line:
        client = client_of(site, line.port)
        file = client.file("demo.uv")
        line.cut_after(40, 2 * MIB, MIB // 2)
        result = one(client, file, tmp_path)
        assert line.cuts == 3
    assert result.ok, result
    assert same(source / "large" / "demo.uv", tmp_path / "demo.uv")
    # The tar's blocks are a megabyte, so what had arrived of one may come again after each cut in the midst of it;
    # beginning anew each time would fetch two and a half.
    assert result.bytes_fetched < result.size_bytes + 2 * MIB + 20_000


def test_another_process_goes_on_with_the_members_that_arrived(client, source, tmp_path):
    file = client.file("demo.uv")
    part = tmp_path / f"demo.uv.{file.digest[:12]}.part"
    (part / "data").mkdir(parents=True)
    visdata = (source / "large" / "demo.uv" / "data" / "visdata").read_bytes()
    (part / "data" / "visdata").write_bytes(visdata[: 2 * MIB])
    (part / "data-2").write_bytes(b"rotten before data")
    result = one(client, file, tmp_path)
    assert result.ok
    assert result.bytes_fetched == MIB + 18 + 8
    assert same(source / "large" / "demo.uv", tmp_path / "demo.uv")

    result.path.rename(part)
    (part / "stray").write_bytes(b"not of the product")
    assert one(client, file, tmp_path).ok
    assert tree(tmp_path / "demo.uv") == tree(source / "large" / "demo.uv")


def test_small_members_come_as_a_stream_again_after_a_cut(start_site, tmp_path):
    product = tmp_path / "source" / "small.uv"
    product.mkdir(parents=True)
    for number in range(300):
        (product / f"item{number:03}").write_bytes(os.urandom(5000))
    site = start_site()
    site.manage("ingest", str(product))
    with cutting(site.port) as line:
        client = client_of(site, line.port)
        file = client.file("small.uv")
        before = site.web_log.read_text().count("/content")
        line.cut_after(MIB)
        result = one(client, file, tmp_path / "got")
    assert result.ok, result
    assert same(product, tmp_path / "got" / "small.uv")
    assert site.web_log.read_text().count("/content") - before == 2


def test_a_product_that_is_not_the_catalogue_s_is_kept_apart(start_site, tmp_path):
    product = tmp_path / "source" / "demo.uv"
    product.mkdir(parents=True)
    (product / "header").write_bytes(b"nchan 4\n")
    site = start_site()
    site.manage("ingest", str(product))
    [header] = site.store_path.rglob("header")
    header.chmod(0o644)
    header.write_bytes(b"nchan 5\n")
    result = one(client_of(site), "demo.uv", tmp_path / "got")
    assert (result.ok, result.code) == (False, "digest_mismatch")
    assert client_of(site).file("demo.uv").digest in result.reason
    assert tree_digest({"header": b"nchan 5\n"}) in result.reason
    assert (tmp_path / "got" / "demo.uv.bad" / "header").read_bytes() == b"nchan 5\n"
    assert not (tmp_path / "got" / "demo.uv").exists()


# --- Streams that no server of ours sends -----------------------------------------------------------------------------


def entry(name, content=None, type=None, link=""):
    info = tarfile.TarInfo(name)
    info.type = type or (tarfile.DIRTYPE if content is None else tarfile.REGTYPE)
    info.linkname = link
    info.size = len(content or b"")
    return info, content


def stream(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content) if content is not None else None)
    out.seek(0)
    return out


TOP = entry("demo.uv")
REFUSED = {
    "absolute": [TOP, entry("/tmp/evil", b"x")],
    "climbing": [TOP, entry("demo.uv/../evil", b"x")],
    "climbing top": [entry("../evil", b"x")],
    "another top": [TOP, entry("other/evil", b"x")],
    "symbolic link": [TOP, entry("demo.uv/a", type=tarfile.SYMTYPE, link="/etc/passwd")],
    "hard link": [TOP, entry("demo.uv/a", b"x"), entry("demo.uv/b", type=tarfile.LNKTYPE, link="demo.uv/a")],
    "device": [TOP, entry("demo.uv/null", type=tarfile.CHRTYPE)],
    "pipe": [TOP, entry("demo.uv/pipe", type=tarfile.FIFOTYPE)],
    "through a link": [TOP, entry("demo.uv/a", type=tarfile.SYMTYPE, link=".."), entry("demo.uv/a/evil", b"x")],
    "twice": [TOP, entry("demo.uv/a", b"x"), entry("demo.uv/a", b"y")],
    "file as directory": [TOP, entry("demo.uv/a", b"x"), entry("demo.uv/a/b", b"y")],
    "too much": [TOP, entry("demo.uv/a", b"x" * 101)],
    "control character": [TOP, entry("demo.uv/a\nb", b"x")],
    "the product itself": [entry("demo.uv", b"x")],
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_product_holds_is_refused_and_nothing_lands_outside(what, tmp_path):
    folder = tmp_path / "part"
    folder.mkdir()
    with pytest.raises(LibrarianError) as refused:
        list(unpack(stream(*REFUSED[what]), str(folder), "demo.uv", size_bytes=100))
    assert refused.value.code in ("unsafe_product", "unsafe_name")
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_a_claim_of_a_terabyte_is_refused_before_it_is_read(tmp_path):
    info, _ = entry("demo.uv/bomb", b"")
    info.size = 2**40
    claim = io.BytesIO(info.tobuf(tarfile.PAX_FORMAT) + b"\0" * 1024)
    with pytest.raises(LibrarianError, match="beyond the 100 bytes"):
        list(unpack(claim, str(tmp_path), "demo.uv", size_bytes=100))


@pytest.mark.parametrize("kept", [0, 100, 512, 700, 1600])
def test_a_stream_that_ends_early_never_counts_as_a_product(kept, tmp_path):
    members = {"header": b"nchan 4\n", "visdata": b"\1" * 900}
    whole = stream(TOP, *(entry(f"demo.uv/{path}", content) for path, content in members.items())).getvalue()
    cut = io.BytesIO(whole[:kept])
    digest = TreeDigest()
    with contextlib.suppress(LibrarianError):
        for found in unpack(cut, str(tmp_path), "demo.uv", size_bytes=908):
            digest.add(found)
    assert digest.hexdigest() != tree_digest(members)


def test_the_tree_digest_is_that_of_the_archive(tmp_path):
    members = {"b/c": b"1", "b-d": b"22", "b.e": b"", "f": None, "é": b"333"}
    for path, content in members.items():
        if content is None:
            (tmp_path / path).mkdir()
        else:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(content)
    digest = TreeDigest()
    for found in local_entries(str(tmp_path)):
        digest.add(found)
    assert digest.hexdigest() == tree_digest(members)
    with pytest.raises(ValueError, match="out of order"):
        digest.add(Entry("a", 1, hashlib.sha256(b"a").hexdigest()))
