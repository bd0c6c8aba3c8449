"""Every command and program that a page shows, taken from the page of a real site and run as it stands."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from html.parser import HTMLParser

import pytest
import requests

from tests.make import tree_digest
from tests.rig.databases import ROOT
from tests.rig.servers import ADMIN, ADMIN_PASSWORD

FLAT = "zen.2461364.00001.sum ü $(id) 'x'.uvh5"
OTHER = "zen.2461364.00002.sum.uvh5"
PRODUCT = "zen.2461364.31004.uv"
MEMBERS = {"header": b"header", "vartable": b"vartable", "visdata": b"visdata"}
SEARCH = {"name_contains": "2461364", "size_min": "1", "ordering": "-name"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from tests.rig.servers import Site

    folder = tmp_path_factory.mktemp("snippets")
    running = Site("karoo", folder / "karoo")
    try:
        running.prepare()
        night = folder / "night"
        (night / PRODUCT).mkdir(parents=True)
        for name in (FLAT, OTHER):
            (night / name).write_bytes(name.encode())
        for name, content in MEMBERS.items():
            (night / PRODUCT / name).write_bytes(content)
        running.manage("ingest", str(night))
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def token(site):
    answer = requests.post(
        f"{site.url}/api/v3/tokens/",
        json={"name": "snippets", "level": 3},
        auth=(ADMIN, ADMIN_PASSWORD),
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["token"]


@pytest.fixture(scope="module")
def portal(site):
    """A person at a browser without scripts, logged in."""
    session = requests.Session()
    session.get(f"{site.url}/login/", timeout=30)
    fields = {"username": ADMIN, "password": ADMIN_PASSWORD, "csrfmiddlewaretoken": session.cookies["csrftoken"]}
    assert session.post(f"{site.url}/login/", fields, timeout=30).url == f"{site.url}/"
    return session


class _Blocks(HTMLParser):
    """Texts of the blocks of code of a page, by what they are said to be."""

    def __init__(self):
        super().__init__()
        self.found, self._inside = {}, None

    def handle_starttag(self, tag, attrs):
        if tag == "pre":
            self._inside = dict(attrs)["aria-label"]
            self.found[self._inside] = ""

    def handle_endtag(self, tag):
        if tag == "pre":
            self._inside = None

    def handle_data(self, data):
        if self._inside:
            self.found[self._inside] += data


@pytest.fixture
def snippets_of(site, portal, token):
    def read(path, **query):
        page = portal.get(f"{site.url}{path}", params=query, timeout=30)
        assert page.status_code == 200
        assert token not in page.text
        assert ADMIN_PASSWORD not in page.text
        blocks = _Blocks()
        blocks.feed(page.text)
        return blocks.found

    return read


@pytest.fixture
def home(tmp_path):
    """A scratch home whose PATH has the librarian command."""
    folder = tmp_path / "home"
    (folder / "bin").mkdir(parents=True)
    command = folder / "bin/librarian"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m hera_librarian.cli "$@"\n')
    command.chmod(0o755)
    return folder


@pytest.fixture
def run(home, token):
    """Run a snippet where a person would: a shell block in bash, a Python block by our interpreter."""

    def call(snippet, *, python=False):
        environment = {
            "HOME": str(home),
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
            "LIBRARIAN_TOKEN": token,
        }
        command = [sys.executable, "-c", snippet] if python else ["bash", "-euo", "pipefail", "-c", snippet]
        ended = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return call


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- The page of a file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [FLAT, OTHER])
def test_a_flat_file_is_fetched_as_its_page_says(snippets_of, run, home, name):
    blocks = snippets_of(f"/file/{requests.utils.quote(name)}")
    assert len(blocks) == 3
    for what in (
        "the download with curl",
        "the download with the librarian command",
        "the download in Python",
    ):
        run(blocks.pop(what), python="Python" in what)
        assert (home / name).read_bytes() == name.encode(), what
        (home / name).unlink()


def test_a_directory_product_is_fetched_as_its_page_says(snippets_of, run, home):
    blocks = snippets_of(f"/file/{PRODUCT}")
    run(blocks["the download with curl"])
    with tarfile.open(home / f"{PRODUCT}.tar") as archive:
        assert {name.removeprefix(f"{PRODUCT}/") for name in archive.getnames()} == {PRODUCT, *MEMBERS}
    run(blocks["the download with the librarian command"])
    assert tree(home / PRODUCT) == MEMBERS
    for path in (home / PRODUCT).iterdir():
        path.unlink()
    (home / PRODUCT).rmdir()
    run(blocks["the download in Python"], python=True)
    assert tree(home / PRODUCT) == MEMBERS


# --- The page of a search ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", [SEARCH, {}, {"name_glob": "zen*ü $(id) 'x'*"}], ids=["some", "all", "hostile"])
def test_a_search_is_repeated_and_its_files_are_fetched_as_its_page_says(snippets_of, run, home, search):
    blocks = snippets_of("/files/", **search)
    flat = {FLAT: FLAT.encode(), OTHER: OTHER.encode()}
    expected = {FLAT: flat[FLAT]} if "name_glob" in search else flat
    products = {} if "name_glob" in search else {f"{PRODUCT}/{name}": content for name, content in MEMBERS.items()}

    listed = json.loads(run(blocks.pop("the list with curl")))["results"]
    assert {file["name"] for file in listed} == set(expected) | ({PRODUCT} if products else set())
    run(blocks.pop("the download of all with curl"))
    unpacked = tree(home / "files")
    assert {name: unpacked[name] for name in {**expected, **products}} == {**expected, **products}
    assert set(unpacked) - set(expected) - set(products) == {"manifest.json", "SHA256SUMS"}
    for what in ("list and download with the librarian command", "list and download in Python"):
        subprocess.run(["rm", "-r", str(home / "files")], check=True)
        told = run(blocks.pop(what), python="Python" in what)
        assert OTHER in told or "name_glob" in search
        fetched = tree(home / "files")
        assert {name: fetched[name] for name in {**expected, **products}} == {**expected, **products}, what
    assert not blocks


def test_a_search_that_finds_nothing_offers_nothing(snippets_of):
    assert snippets_of("/files/", name_contains="nothing like it") == {}


# --- The page of uploads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["an upload with the librarian command", "an upload in Python", "an upload with curl"])
def test_a_file_is_handed_over_as_the_page_says(snippets_of, run, home, site, what):
    blocks = snippets_of("/upload/")
    assert what in blocks
    name = f"{what.rpartition(' ')[2]}.log"  # each way brings a file of its own
    (home / name).write_bytes(what.encode())
    told = run(blocks[what].replace("night.log", name), python="Python" in what)
    assert name in told or "HTTP/1.1 201" in told
    digest = hashlib.sha256(what.encode()).hexdigest()
    assert site.evaluate(f"[f.digest for f in File.objects.filter(name={name!r})]") == [digest]
    if "curl" not in what:
        assert site.evaluate(f"Instance.objects.get(file__name={name!r}).path") == f"logs/{name}"


def test_a_directory_product_goes_the_same_way(snippets_of, run, home, site):
    product = home / "night.uv"
    product.mkdir()
    for name, content in MEMBERS.items():
        (product / name).write_bytes(content)
    block = snippets_of("/upload/")["an upload with the librarian command"]
    run(block.replace("night.log", "night.uv"))
    assert site.evaluate("File.objects.get(name='night.uv').digest") == tree_digest(MEMBERS)
