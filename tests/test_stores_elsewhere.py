"""A night that moves to a storage node: ingested on a directory, copied by an order, the disk emptied, read over there.

One real site, a real sshd that is killed in the middle, and real jobs.
"""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from stores.backends.ssh.sharing import end_sharing
from tests.rig.jobs import Jobs
from tests.rig.processes import wait_for
from tests.rig.servers import ADMIN, ADMIN_PASSWORD, STORE, Site
from tests.rig.sshd import HOST, Sshd

BIG = os.urandom(2**20) * 96
NAMES = {
    'zen.2457561.00001.it\'s "odd".uvh5': BIG,
    "zen.2457561.00002.höhe ☉.uvh5": b"unicode",
    "zen.2457561.00003.uv": {"header": b"h", "vartable": b"v", "visdata": b"d" * 70_000, "sub/a b'c": b"odd"},
}


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "sshd")
    server.start()
    yield server
    end_sharing({"host": HOST, "ssh_config": str(server.config)})
    server.stop()


@pytest.fixture
def site(tmp_path: Path, sshd: Sshd) -> Iterator[Site]:
    running = Site("here", tmp_path / "here", environment={"LIBRARIAN_RETRY_SECONDS": "0"})
    try:
        running.prepare()
        running.start()
        yield running
    finally:
        running.stop()


def write_night(folder: Path) -> Path:
    folder.mkdir()
    for name, content in NAMES.items():
        members = (
            {name: content} if isinstance(content, bytes) else {f"{name}/{at}": part for at, part in content.items()}
        )
        for path, part in members.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(part)
    return folder


def fetch(site: Site, name: str, **headers: str) -> requests.Response:
    address = f"{site.url}/api/v3/files/{requests.utils.quote(name)}/content"
    return requests.get(address, auth=(ADMIN, ADMIN_PASSWORD), headers=headers, timeout=60)


def bytes_under(root: Path) -> int:
    """Bytes that lie below a directory; what comes and goes meanwhile does not matter."""
    total = 0
    for folder, _, files in os.walk(root):
        for name in files:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                pass
    return total


def test_a_night_moves_to_a_storage_node_whose_sshd_is_killed_on_the_way(site, sshd, tmp_path):
    node = tmp_path / "node"
    site.manage("ingest", str(write_night(tmp_path / "night")), "--null-obsid")
    options = ["--kind", "ssh", "--destination", HOST, "--path", str(node), "--ssh-config", str(sshd.config)]
    site.manage("add_store", "node", *options, "--python", sys.executable)
    site.manage("standing_order", "add", "second class", "--to-store", "node")
    with Jobs(site) as jobs:
        copying = "StoreCopy.objects.filter(state='done').count()"
        jobs.run("choose_copies")
        worker = threading.Thread(target=jobs.run, args=("copy_files",), kwargs={"check": False})
        worker.start()
        wait_for(lambda: bytes_under(node) > 2**23, timeout_seconds=120, what="bytes at the storage node")
        sshd.kill()
        worker.join(180)
        assert not worker.is_alive(), "a copy hangs on a line that is gone"
        assert jobs.evaluate(copying) < 3
        assert jobs.evaluate("Instance.objects.exclude(condition='good').count()") == 0, "could not look is not bad"
        sshd.start()
        jobs.run("measure_stores")

        def copied() -> bool:
            jobs.run("copy_files")
            return jobs.evaluate(copying) == 3

        wait_for(copied, timeout_seconds=180, what="all copies")

        site.manage("offload", STORE, "--to", "node", "--drain")

        def offloaded() -> bool:
            jobs.run("run_offloads", "copy_files")
            return jobs.evaluate("Offload.objects.get().state") == "done"

        wait_for(offloaded, timeout_seconds=120, what="the end of the offload")
        may_go = "sorted(Instance.objects.filter(deletion_policy=1).values_list('store__name', flat=True))"
        assert jobs.evaluate(may_go) == [STORE] * 3
        assert jobs.evaluate("Store.objects.get(name='store').ingestable") is False

    assert bytes_under(site.store_path / "2457561") > len(BIG), "nothing is erased"
    (site.store_path).rename(tmp_path / "unplugged")
    for name, content in NAMES.items():
        if isinstance(content, bytes):
            assert fetch(site, name).content == content
    part = fetch(site, next(iter(NAMES)), Range="bytes=50000000-50000099")
    assert (part.status_code, part.content) == (206, BIG[50_000_000:50_000_100])
