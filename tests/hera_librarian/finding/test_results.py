"""What a result says of a file: types, copies, members, the path on a shared disk, and how it looks in a notebook."""

import hashlib
from datetime import UTC

import pytest

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError
from tests.hera_librarian.finding.conftest import client_of
from tests.rig.servers import ADMIN_PASSWORD

ODD = "<b>&'\" #1 100%.log"


def test_a_result_has_the_types_of_python(client, source):
    file = client.file("random.bin")
    content = (source / "large" / "random.bin").read_bytes()
    assert (file.size_bytes, file.digest) == (len(content), hashlib.sha256(content).hexdigest())
    assert file.registered_at.tzinfo is UTC
    assert file.obsid is None
    assert file == client.search(name="random.bin").first()
    [copy] = file.instances()
    assert (copy.store, copy.presence, copy.condition_at.tzinfo) == ("store", "present", UTC)

    with pytest.raises(LibrarianHTTPError) as missing:
        client.file("no such file")
    assert (missing.value.status_code, missing.value.code) == (404, "not_found")
    with pytest.raises(LibrarianError):
        client.file("half a surrogate \ud800")


def test_members_are_those_of_the_product(client):
    members = {member.path: (member.kind, member.size_bytes) for member in client.file("demo.uv").members()}
    assert members == {
        "data-2": ("file", 18),
        "data/visdata": ("file", 3 * 2**20),
        "flags": ("empty_directory", 0),
        "header": ("file", 8),
    }
    assert list(client.file("random.bin").members()) == []


def test_a_result_looks_right_in_a_notebook_and_tells_no_secret(client):
    file = client.file(ODD)
    html = file._repr_html_()
    assert "&lt;b&gt;&amp;&#x27;&quot; #1 100%.log" in html
    assert "<b>" not in html
    assert ADMIN_PASSWORD not in html + repr(file) + repr(client.search(name=ODD))
    assert repr(file) == f"<FileResult {ODD} (12.0 B)>"


def test_the_path_is_that_of_a_copy_which_is_here_and_has_the_right_size(start_site, tmp_path):
    site = start_site()
    source = tmp_path / "night"
    (source / "demo.uv").mkdir(parents=True)
    (source / "demo.uv" / "header").write_bytes(b"nchan 4\n")
    (source / "a.log").write_bytes(b"eleven more")
    site.manage("ingest", str(source))
    client = client_of(site)

    flat, tree = client.file("a.log"), client.file("demo.uv")
    assert flat.path().read_bytes() == b"eleven more"
    assert (tree.path() / "header").read_bytes() == b"nchan 4\n"

    for path in (flat.path(), tree.path() / "header"):
        path.parent.chmod(0o755)
        path.chmod(0o644)
        path.write_bytes(b"short")
    assert flat.path() is None
    assert tree.path() is None


def test_opening_says_what_there_is_to_open(client):
    with pytest.raises(LibrarianError, match="directory product") as refused:
        client.file("demo.uv").open()
    assert refused.value.code == "is_directory"
    with pytest.raises(LibrarianError, match="no member 'flags' with bytes"):
        client.file("demo.uv").open("flags")
    with client.file("demo.uv").open("header") as member:
        assert member.read() == b"nchan 4\n"
    assert client.file(ODD).open().read() == b"an odd name\n"
    assert client.file("empty.log").open().read() == b""
