"""Replication between two sites on this machine, by each provider, against `rsync -a` of the same tree.

Both sites run as in production, web processes and both job clusters. What is measured begins when the sender's standing
order is switched on, and ends when every transfer is completed there, which the receiver says after it has read all
bytes back from its disk.
"""

import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.memory import PeakMemory
from benchmarks.report import Figure, print_table
from benchmarks.sites import process_ids
from files.samples.small import write_small_files
from tests.rig import sshd
from tests.rig.processes import wait_for
from tests.rig.servers import Site

SMALL_COUNT = 10_000
SMALL_BYTES = 4096
LARGE_BYTES = 2 * 2**30
PROVIDERS = ("local", "rsync", "http")
PATIENCE_SECONDS = 3600.0
_REQUEST = re.compile(r'"[A-Z]+ (/api/\S+) HTTP/1')


def measure(folder: Path, *, scale: float) -> None:
    """Many small files, then one large one, by each provider; each time between two fresh sites."""
    folder.mkdir(parents=True, exist_ok=True)
    count, large_bytes = max(1, int(SMALL_COUNT * scale)), max(1, int(LARGE_BYTES * scale))
    small, large = folder / "small", folder / "large"
    small.mkdir()
    large.mkdir()
    write_small_files(small, count, SMALL_BYTES, seed=1, first_jd=2459122)
    _write(large / "zen.2459122.00001.sum.uvh5", large_bytes)
    plain = _Plain(_rsync(small, folder / "plain"), _rsync(large, folder / "plain"))
    figures_small = [Figure("rsync -a && sync -f", count / plain.small_seconds, "files/s")]
    figures_large = [Figure("rsync -a && sync -f", large_bytes / 1e6 / plain.large_seconds, "MB/s")]
    with sshd.running(folder / "sshd") as door:
        for provider in PROVIDERS:
            with _pair(folder / provider, provider, door) as pair:
                run = pair.replicate(small)
                figures_small += run.told(f"by {provider}", count, "files/s", plain.small_seconds, target=100)
                run = pair.replicate(large)
                megabytes = large_bytes / 1e6
                figures_large += run.told(f"by {provider}", megabytes, "MB/s", plain.large_seconds)
            shutil.rmtree(folder / provider)
    print_table(f"Between two sites, {count:,} files of 4 KiB, SQLite", figures_small)
    print_table(f"Between two sites, one file of {large_bytes / 2**30:.2f} GiB, SQLite", figures_large)


@dataclass
class _Plain:
    """Seconds that rsync takes."""

    small_seconds: float
    large_seconds: float


@dataclass
class _Run:
    """What one replication took."""

    seconds: float
    files: int
    calls: int
    peaks: dict[str, int]

    def told(self, name: str, amount: float, unit: str, plain: float, *, target: float | None = None) -> list[Figure]:
        rate, ratio = amount / self.seconds, plain / self.seconds
        goal = (f">= {target:g}", rate >= target) if target is not None else ("", None)
        return [
            Figure(name, rate, unit, ratio, "of rsync's speed", *goal),
            Figure(f"{name}: HTTP calls", self.calls / self.files, "per file"),
            *(Figure(f"{name}: peak memory, {who}", size / 1e6, "MB") for who, size in sorted(self.peaks.items())),
        ]


# --- Two sites --------------------------------------------------------------------------------------------------------


@dataclass
class _Pair:
    """A site that sends everything to another, by one provider."""

    sender: Site
    receiver: Site
    provider: str

    def replicate(self, tree: Path) -> _Run:
        """Ingest a tree at the sender and have it replicated."""
        self.sender.manage("ingest", str(tree), "--null-obsid", timeout_seconds=PATIENCE_SECONDS)
        before, calls = self._completed(), self._calls()
        files = sum(1 for path in tree.rglob("*") if path.is_file())
        with PeakMemory(self._processes) as memory:
            began = time.monotonic()
            self.sender.manage("standing_order", "enable", "everything")
            self.sender.manage("run_jobs", "choose_files", timeout_seconds=PATIENCE_SECONDS)
            wait_for(
                lambda: self._completed() >= before + files,
                timeout_seconds=PATIENCE_SECONDS,
                what=f"{files} files by {self.provider}",
            )
            took = time.monotonic() - began
        self.sender.manage("standing_order", "disable", "everything")  # what is ingested next waits for its turn
        self._check_provider()
        return _Run(took, files, self._calls() - calls, memory.peaks)

    def _processes(self) -> dict[str, int]:
        both = ((self.sender, "sender"), (self.receiver, "receiver"))
        return {f"{who} {name}": pid for site, who in both for name, pid in process_ids(site).items()}

    def _completed(self) -> int:
        return self._states().get("completed", 0)

    def _states(self) -> dict[str, int]:
        rows = _rows(self.sender, "SELECT state, count(*) FROM network_outgoingtransfer GROUP BY 1")
        return {str(state): int(number) for state, number in rows}

    def _check_provider(self) -> None:
        used = {str(name) for (name,) in _rows(self.sender, "SELECT DISTINCT provider FROM network_sendqueueitem")}
        if used != {self.provider}:
            raise RuntimeError(f"bytes went by {used}, not by {self.provider}")

    def _calls(self) -> int:
        logs = (site.web_log for site in (self.sender, self.receiver))
        return sum(1 for log in logs for line in log.open(errors="replace") if _REQUEST.search(line))


@contextmanager
def _pair(folder: Path, provider: str, door: sshd.Sshd) -> Iterator[_Pair]:
    sites = []
    try:
        for name in ("receiver", "sender"):
            site = Site(name, folder / name, environment={"LIBRARIAN_SSH_CONFIG": str(door.config)}, workers=2)
            sites.append(site)
            site.prepare()
            site.start()
        receiver, sender = sites
        code = receiver.manage("pair", "invite", "--direction", "receive", "--url", receiver.url).stdout.strip()
        sender.manage("pair", "accept", code, "--url", sender.url)
        staging = str(receiver.store_path / ".librarian" / "staging")
        allowed = f"provider_order=[{provider!r}], ssh_hosts=[{sshd.HOST!r}], shared_directories=[{staging!r}]"
        sender.evaluate(f"Peer.objects.update({allowed})")
        receiver.evaluate(f"Store.objects.update(ssh_host={sshd.HOST!r})")
        sender.manage("standing_order", "add", "everything", "--peer", "receiver", "--disabled")
        for site in sites:
            for cluster in ("default", "bulk"):
                site.manage("sync_schedules")
                site.start_cluster(cluster)
        yield _Pair(sender, receiver, provider)
    finally:
        for site in sites:
            site.stop()


def _rows(site: Site, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{site.home}/librarian.sqlite3?mode=ro", uri=True, timeout=30)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


# --- What it is compared with -----------------------------------------------------------------------------------------


def _rsync(tree: Path, target: Path) -> float:
    """Seconds of the second of two runs, so that both read from memory as the sites do."""
    took = 0.0
    for _ in range(2):
        shutil.rmtree(target, ignore_errors=True)
        began = time.monotonic()
        subprocess.run(["rsync", "-a", f"{tree}/", f"{target}/"], check=True)
        subprocess.run(["sync", "-f", target], check=True)
        took = time.monotonic() - began
    shutil.rmtree(target)
    return took


def _write(path: Path, size_bytes: int) -> None:
    block = os.urandom(2**20)
    with path.open("wb") as stream:
        for number in range(max(1, size_bytes // len(block))):
            stream.write(number.to_bytes(8) + block[8:])
