"""The commands of docs/instruments.md, taken from the page and run by a shell against a real site."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.databases import ROOT
from tests.rig.servers import ADMIN, Site

PAGE = (ROOT / "docs" / "instruments.md").read_text()


def script(section: str, number: int = 0) -> str:
    """The numbered shell block below a heading."""
    below = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (text,) = [part for part in below if part.startswith(f"{section}\n")]
    return re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)[number]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site("karoo", tmp_path_factory.mktemp("instruments") / "karoo")
    try:
        running.prepare()
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def token(site: Site) -> str:
    return site.manage("issue_token", ADMIN, "--name", "pipeline").stdout.strip()


def run(
    text: str, *arguments: str, site: Site, token: str, folder: Path, check: bool = True
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LIBRARIAN": site.url, "LIBRARIAN_TOKEN": token}
    answer = subprocess.run(
        ["sh", "-c", text, "sh", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert not check or answer.returncode == 0, answer.stdout + answer.stderr
    return answer


def bytes_on(site: Site, name: str) -> bytes:
    (path,) = [path for path in site.store_path.rglob(name) if ".librarian" not in path.parts]
    return path.read_bytes()


def test_one_request_archives_a_file(site: Site, token: str, tmp_path: Path) -> None:
    (tmp_path / "zen 1.uvh5").write_bytes(b"a night")
    for outcome in ("new", "already here"):
        answer = run(script("Upload over HTTP"), "zen 1.uvh5", site=site, token=token, folder=tmp_path)
        assert f"Librarian-Outcome: {outcome}" in answer.stdout
    assert bytes_on(site, "zen 1.uvh5") == b"a night"
    (tmp_path / "zen 1.uvh5").write_bytes(b"other bytes")
    refused = run(script("Upload over HTTP"), "zen 1.uvh5", site=site, token=token, folder=tmp_path, check=False)
    assert refused.returncode != 0
    assert '"name_taken"' in refused.stdout


def test_a_large_file_goes_in_pieces_and_goes_on_after_a_break(site: Site, token: str, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "large.uvh5").write_bytes(content)
    in_pieces = script("Upload over HTTP", 1).replace("piece=67108864", "piece=100000")
    broken = in_pieces.replace("        sed -n 's/^[Uu]pload-[Oo]ffset: //p')\ndone", "        false)\ndone")
    assert broken != in_pieces
    assert run(broken, "large.uvh5", site=site, token=token, folder=tmp_path, check=False).returncode != 0
    assert (tmp_path / "large.uvh5.upload").exists()
    answer = run(in_pieces, "large.uvh5", site=site, token=token, folder=tmp_path)
    assert answer.stdout.endswith("large.uvh5 is archived\n")
    assert bytes_on(site, "large.uvh5") == content
    assert not (tmp_path / "large.uvh5.upload").exists()


def test_many_files_travel_as_one_tar(site: Site, token: str, tmp_path: Path) -> None:
    names = [f"small.{number}.log" for number in range(20)]
    for name in names:
        (tmp_path / name).write_text(name)
    answer = run(script("Upload over HTTP", 2), *names, site=site, token=token, folder=tmp_path)
    products = json.loads(answer.stdout)["products"]
    assert [(product["name"], product["outcome"]) for product in products] == [(name, "new") for name in names]
    assert bytes_on(site, names[3]) == names[3].encode()


def test_a_disk_that_both_see_is_used_over_the_wire(site: Site, token: str, tmp_path: Path) -> None:
    (tmp_path / "wire.uvh5").write_bytes(b"over the wire")
    run(script("Upload over the wire"), str(tmp_path / "wire.uvh5"), site=site, token=token, folder=tmp_path)
    assert bytes_on(site, "wire.uvh5") == b"over the wire"
