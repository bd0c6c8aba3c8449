"""Kill -9 between any two durable steps, of a real server and a real command: fully there or fully absent, and a retry
succeeds, and the sweepers leave no orphan."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from hera_librarian.checksums import MultiHasher, combine_directory_digests
from librarian.common.steps import STEPS
from tests.make import write_bytes
from tests.rig.servers import ADMIN, ADMIN_PASSWORD, Site

FLAT = b"the only copy of a night" * 1000
TREE = {"header": b"head", "vartable": b"vars", "sub/visdata": b"data" * 5000, "empty": None}


def checksum(content: Any) -> str:
    def one(part: bytes) -> str:
        hasher = MultiHasher(["xxh3"])
        hasher.update(part)
        return hasher.hexdigest("xxh3")

    if isinstance(content, bytes):
        return f"xxh3:::{one(content)}"
    return f"xxh3:::{combine_directory_digests('xxh3', [one(part) for part in content.values() if part is not None])}"


def size(content: Any) -> int:
    return len(content) if isinstance(content, bytes) else sum(len(part or b"") for part in content.values())


class Client:
    """A pipeline that speaks the wire: stage, copy on the shared disk, commit; and repeats a commit it is unsure of."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def post(self, endpoint: str, timeout: float = 60, **body: Any) -> requests.Response:
        url = f"{self.site.url}/api/v2/{endpoint}"
        return requests.post(url, json=body, auth=(ADMIN, ADMIN_PASSWORD), timeout=timeout)

    def stage(self, name: str, content: Any) -> dict[str, Any]:
        answer = self.post(
            "upload/stage",
            upload_size=size(content),
            upload_checksum=checksum(content),
            upload_name=name,
            destination_location=f"2457561/{name}",
            uploader="pipeline",
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def commit(self, staged: dict[str, Any], timeout: float = 60) -> requests.Response:
        said = {key: value for key, value in staged.items() if key not in ("available_bytes_on_store",)}
        return self.post(
            "upload/commit",
            timeout,
            **said,
            transfer_provider_name="local",
            transfer_provider={"hostnames": ["here"]},
            meta_mode="infer",
            deletion_policy="0",
            uploader="pipeline",
            null_obsid=True,
        )


THERE = {"files": 1, "instances": 1, "events": 2, "heads": 1}
ABSENT = {"files": 0, "instances": 0, "events": 0, "heads": 0}


def state_of(site: Site, name: str) -> dict[str, int]:
    """Rows of a name: all or none of file, instance, two events and head may exist."""
    return site.evaluate(f"__import__('tests.fault_audit').fault_audit.rows_of({name!r})")


def assert_clean(site: Site, contents: dict[str, Any]) -> None:
    """Each file is there with its bytes, once, and after the sweepers nothing else lies or waits anywhere."""
    for name, content in contents.items():
        placed = [path for path in site.store_path.rglob(name) if ".librarian" not in path.parts]
        assert len(placed) == 1, placed
        member = placed[0] if isinstance(content, bytes) else placed[0] / "sub" / "visdata"
        assert member.read_bytes() == (content if isinstance(content, bytes) else content["sub/visdata"])
    audit = site.evaluate("__import__('tests.fault_audit').fault_audit.sweep_and_audit()")
    assert {name: audit["rows"].get(name) for name in contents} == dict.fromkeys(contents, THERE)
    assert audit["left"] == {"live uploads": 0, "staging": 0, "broken histories": [], "broken invariants": []}


@pytest.mark.parametrize("kind", ["flat", "directory"])
def test_a_server_killed_between_any_two_steps_loses_nothing(
    start_site: Callable[..., Site], tmp_path: Path, kind: str
) -> None:
    """The worker process dies at the step; gunicorn starts the next, and the client repeats its commit."""
    killing = tmp_path / "kill-at"
    site = start_site(LIBRARIAN_KILL_AT=f"@{killing}")
    client = Client(site)
    content = FLAT if kind == "flat" else TREE
    delivered = {}
    for step in STEPS[1:]:
        name = f"zen.2457561.{step}.{'uvh5' if kind == 'flat' else 'uv'}"
        staged = client.stage(name, content)
        write_bytes(Path(staged["staging_location"]), content)
        killing.write_text(step)
        with pytest.raises(requests.ConnectionError):
            client.commit(staged)
        assert not killing.exists()
        assert state_of(site, name) == (THERE if step in ("committed", "cleaned") else ABSENT), step
        answer = client.commit(staged)
        assert (answer.status_code, answer.content) == (200, b""), (step, answer.text)
        delivered[name] = content
    assert_clean(site, delivered)


def test_commits_nobody_repeats_are_finished_by_the_sweeper(start_site: Callable[..., Site], tmp_path: Path) -> None:
    """The whole server dies as in a power cut and stays away; the sweeper alone goes on."""
    killing = tmp_path / "kill-at"
    site = start_site(LIBRARIAN_KILL_AT=f"@{killing}")
    client = Client(site)
    delivered = {}
    for step in ("staged", "synced", "placed", "recorded"):
        name = f"zen.2457561.{step}.uvh5"
        staged = client.stage(name, FLAT)
        write_bytes(Path(staged["staging_location"]), FLAT)
        killing.write_text(step)
        with pytest.raises(requests.ConnectionError):
            client.commit(staged)
        delivered[name] = FLAT
    site.kill()
    site.manage("run_jobs", "finish_commits")
    assert_clean(site, delivered)


def test_a_server_killed_while_it_stages_leaves_nothing_behind(start_site: Callable[..., Site]) -> None:
    site = start_site()
    site.restart(LIBRARIAN_KILL_AT="intent")
    with pytest.raises(requests.ConnectionError):
        Client(site).stage("zen.2457561.1.uvh5", FLAT)
    site.wait_until_dead()
    site.start()
    staged = Client(site).stage("zen.2457561.1.uvh5", FLAT)
    write_bytes(Path(staged["staging_location"]), FLAT)
    assert Client(site).commit(staged).status_code == 200


@pytest.mark.parametrize("step", STEPS)
def test_an_ingest_killed_between_any_two_steps_is_repeated_with_success(prepared_site: Site, step: str) -> None:
    site = prepared_site
    incoming = site.folder / "incoming"
    write_bytes(incoming / "a.2457561.uvh5", FLAT)
    write_bytes(incoming / "b.2457561.uv", TREE)
    killed = site.manage("ingest", str(incoming), check=False, LIBRARIAN_KILL_AT=step)
    assert killed.returncode == -9
    assert state_of(site, "a.2457561.uvh5") == (THERE if step in ("committed", "cleaned") else ABSENT)
    again = site.manage("ingest", str(incoming), "--json")
    assert {json.loads(line)["outcome"] for line in again.stdout.splitlines()} <= {"new", "already here"}
    assert_clean(site, {"a.2457561.uvh5": FLAT, "b.2457561.uv": TREE})


@pytest.fixture
def prepared_site(tmp_path: Path) -> Any:
    """A site without a web process: for commands."""
    site = Site("site", tmp_path / "site")
    site.prepare()
    yield site
    site.stop()


def test_a_commit_longer_than_the_proxys_patience_goes_on_and_a_repetition_joins_it(
    start_site: Callable[..., Site],
) -> None:
    site = start_site()
    client = Client(site)
    content = os.urandom(2**20) * 512
    staged = client.stage("zen.2457561.big.uvh5", content)
    write_bytes(Path(staged["staging_location"]), content)
    with pytest.raises(requests.ReadTimeout):
        client.commit(staged, timeout=0.05)
    assert client.commit(staged).status_code == 200
    assert state_of(site, "zen.2457561.big.uvh5") == THERE


def test_a_commit_cut_by_a_restart_is_redone_when_it_is_repeated(start_site: Callable[..., Site]) -> None:
    site = start_site()
    client = Client(site)
    content = os.urandom(2**20) * 256
    staged = client.stage("zen.2457561.big.uvh5", content)
    write_bytes(Path(staged["staging_location"]), content)
    with pytest.raises(requests.ReadTimeout):
        client.commit(staged, timeout=0.05)
    site.restart()
    assert client.commit(staged).status_code == 200
    assert state_of(site, "zen.2457561.big.uvh5") == THERE


def test_two_commands_that_take_the_same_tree_at_once_share_the_work(prepared_site: Site) -> None:
    site = prepared_site
    incoming = site.folder / "incoming"
    for number in range(300):
        write_bytes(incoming / f"zen.2457561.{number:05}.uvh5", f"file {number}".encode())
    command = ["ingest", str(incoming), "--json"]
    both = [
        subprocess.Popen(
            [sys.executable, "manage.py", *command],
            cwd=Path(__file__).parent.parent,
            env=site.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    outcomes = [
        json.loads(line)["outcome"] for process in both for line in process.communicate(timeout=120)[0].splitlines()
    ]
    assert outcomes.count("new") == 300
    assert site.evaluate("[File.objects.count(), Instance.objects.count()]") == [300, 300]
    placed = [path for path in site.store_path.rglob("*.uvh5") if ".librarian" not in path.parts]
    assert len(placed) == 300
    assert_clean(site, {})
