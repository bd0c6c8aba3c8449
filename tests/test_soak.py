"""What takes longer than `make test` may: a large ingest that is killed on its way, and load with a server that keeps
dying. `make soak` runs it on both databases."""

import hashlib
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from files.samples.small import write_small_files
from tests.make import write_bytes
from tests.rig.databases import ROOT
from tests.rig.servers import Site
from tests.test_faults import Client

pytestmark = pytest.mark.soak

MANY = 100_000
KILLS = 3
MEMORY_MB = 250


@pytest.fixture
def prepared_site(tmp_path: Path) -> Iterator[Site]:
    site = Site("site", tmp_path / "site")
    site.prepare()
    yield site
    site.stop()


def watch_ingest(site: Site, incoming: Path, *, kill_after_seconds: float | None) -> tuple[int, float]:
    """Run an ingest, killing it after a while if told; its exit code and the most memory it had, MB."""
    command = [sys.executable, "manage.py", "ingest", str(incoming), "-v", "0"]
    process = subprocess.Popen(command, cwd=ROOT, env=site.environment(), stdout=subprocess.DEVNULL)
    watched, peak, began = psutil.Process(process.pid), 0.0, time.monotonic()
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss / 1e6)
        except psutil.NoSuchProcess:
            break
        if kill_after_seconds is not None and time.monotonic() - began > kill_after_seconds:
            process.kill()
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    return process.wait(), peak


def test_a_hundred_thousand_files_arrive_in_bounded_memory_though_the_ingest_is_killed(prepared_site: Site) -> None:
    incoming = prepared_site.folder / "incoming"
    incoming.mkdir()
    write_small_files(incoming, MANY, 512, seed=7, first_jd=2459122)
    for turn in range(KILLS):
        code, _ = watch_ingest(prepared_site, incoming, kill_after_seconds=10 + 7 * turn)
        assert code == -9
    code, peak = watch_ingest(prepared_site, incoming, kill_after_seconds=None)
    assert code == 0
    assert peak < MEMORY_MB
    audit = prepared_site.evaluate("__import__('tests.fault_audit').fault_audit.sweep_and_audit()")
    assert audit["left"] == {"live uploads": 0, "staging": 0, "broken histories": [], "broken invariants": []}
    assert prepared_site.evaluate("[File.objects.count(), Instance.objects.count()]") == [MANY, MANY]
    placed = sum(1 for path in prepared_site.store_path.rglob("*.npz") if ".librarian" not in path.parts)
    assert placed == MANY


def test_what_was_acknowledged_is_there_though_the_server_kept_dying(start_site: Callable[..., Site]) -> None:
    """Eight pipelines deliver and repeat what they are unsure of, while the server dies by kill -9 again and again."""
    site = start_site()
    stop, acknowledged, chance = threading.Event(), {}, random.Random(4)

    def deliver(number: int) -> None:
        client, turn = Client(site), 0
        while not stop.is_set():
            name, content = f"zen.2457561.{number}-{turn}.uvh5", f"file {number} {turn}".encode() * 500
            if deliver_once(client, name, content, stop):
                acknowledged[name] = hashlib.sha256(content).hexdigest()
                turn += 1

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(12):
        stop.wait(chance.uniform(1, 4))
        site.kill()
        site.start()
    stop.set()
    for thread in threads:
        thread.join(120)
    assert len(acknowledged) > 50
    audit = site.evaluate("__import__('tests.fault_audit').fault_audit.sweep_and_audit()")
    assert audit["left"]["broken histories"] == audit["left"]["broken invariants"] == []
    for name, digest in acknowledged.items():
        assert hashlib.sha256((site.store_path / "2457561" / name).read_bytes()).hexdigest() == digest
    known = set(json.loads(json.dumps(site.evaluate("list(File.objects.values_list('name', flat=True))"))))
    assert set(acknowledged) <= known


def deliver_once(client: Client, name: str, content: bytes, stop: threading.Event) -> bool:
    """Stage, write and commit, repeating what got no answer; True once the server said that the file is safe."""
    staged = None
    while not stop.is_set():
        try:
            if staged is None:
                staged = client.stage(name, content)
                write_bytes(Path(staged["staging_location"]), content)
            answer = client.commit(staged)
        except requests.RequestException:
            stop.wait(0.2)
            continue
        if answer.status_code == 200:
            return True
        assert answer.status_code in (404, 503), answer.text
        staged = None
    return False
