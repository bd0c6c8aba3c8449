"""`manage.py ingest` of many small files, against copying and hashing the same tree with the system's tools."""

import subprocess
import time
from pathlib import Path

from benchmarks.memory import PeakMemory
from benchmarks.report import Figure, print_table
from benchmarks.sites import running_site
from files.samples.small import write_small_files

COUNT = 20_000
SIZE_BYTES = 4096


def measure(folder: Path, *, scale: float) -> None:
    """Ingest 20,000 files of 4 KiB into an empty catalogue, then the same tree again."""
    count = int(COUNT * scale)
    incoming = folder / "incoming"
    incoming.mkdir(parents=True)
    write_small_files(incoming, count, SIZE_BYTES, seed=1, first_jd=2459122)
    plain = _seconds(
        f"cp -r '{incoming}' '{folder}/copy' && sync -f '{folder}/copy' && "
        f"find '{folder}/copy' -type f -print0 | xargs -0 sha256sum > /dev/null"
    )
    with running_site(folder / "site", web=False) as site:
        first, peak = _ingest(site, incoming)
        again, _ = _ingest(site, incoming)
    figures = [
        Figure(
            "ingest, 4 KiB files",
            count / first,
            "files/s",
            plain / first,
            "of cp + sync + sha256sum's speed",
            ">= 1,000",
            count / first >= 1000,
        ),
        Figure("the same tree again (already here)", count / again, "files/s"),
        Figure("peak memory, command", peak / 1e6, "MB"),
    ]
    print_table(f"manage.py ingest, {count:,} files of 4 KiB, SQLite", figures)


def _ingest(site: object, incoming: Path) -> tuple[float, int]:
    command = [__import__("sys").executable, "manage.py", "ingest", str(incoming), "-v", "0"]
    began = time.monotonic()
    process = subprocess.Popen(command, env=site.environment(), cwd=Path(__file__).parent.parent)
    with PeakMemory(lambda: {"command": process.pid}) as memory:
        if process.wait() != 0:
            raise RuntimeError(f"ingest ended with {process.returncode}")
    return time.monotonic() - began, memory.peaks.get("command", 0)


def _seconds(command: str) -> float:
    began = time.monotonic()
    subprocess.run(["bash", "-c", command], check=True)
    return time.monotonic() - began
