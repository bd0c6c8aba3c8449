"""One large file by `manage.py ingest`, against `cp && sync -f` and `openssl dgst -sha256` of the same file."""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.memory import PeakMemory
from benchmarks.report import Figure, print_table
from benchmarks.sites import running_site

SIZE_BYTES = 2 * 2**30
ROUNDS = 3


def measure(folder: Path, *, scale: float) -> None:
    """Take the best of three rounds of each, interleaved, with the file in the page cache as after its arrival."""
    folder.mkdir(parents=True, exist_ok=True)
    copies: list[float] = []
    hashes: list[float] = []
    ingests: list[float] = []
    peak = 0
    with running_site(folder / "site", web=False) as site:
        starting = min(_seconds(_command("help")[0], env=site.environment()) for _ in range(2))
        for turn in range(ROUNDS):
            source = folder / f"zen.2459122.{turn:05}.sum.uvh5"
            _write(source, int(SIZE_BYTES * scale))
            _level(folder, source)
            copies.append(_seconds(f"cp '{source}' '{folder}/copy' && sync -f '{folder}/copy'"))
            os.unlink(folder / "copy")
            _level(folder, source)
            hashes.append(_seconds(f"openssl dgst -sha256 '{source}' > /dev/null"))
            _level(folder, source)
            took, used = _ingest(site, source)
            ingests.append(took)
            peak = max(peak, used)
            os.unlink(source)
    slower = max(min(copies), min(hashes))
    best = min(ingests)
    figures = [
        Figure("cp && sync -f", min(copies), "s"),
        Figure("openssl dgst -sha256", min(hashes), "s"),
        Figure("manage.py ingest", best, "s", best / slower, "the slower of the two", "<= 1.15", best <= 1.15 * slower),
        Figure("of which starting Python and Django", starting, "s"),
        Figure("peak memory, command", peak / 1e6, "MB"),
    ]
    print_table(f"One file of {SIZE_BYTES * scale / 2**30:.2f} GiB", figures)


def _level(folder: Path, source: Path) -> None:
    """Give each measurement the same start: a virtual machine hands freed memory back to its host, and whoever comes
    first afterwards pays for getting it again (seen here: 2 s for 2 GiB)."""
    _seconds(f"cp '{source}' '{folder}/level' && sync -f '{folder}/level' && rm '{folder}/level'")


def _command(*arguments: str) -> tuple[str, list[str]]:
    command = [sys.executable, "manage.py", *arguments]
    return " ".join(f"'{part}'" for part in command) + " > /dev/null", command


def _ingest(site: object, source: Path) -> tuple[float, int]:
    began = time.monotonic()
    process = subprocess.Popen(
        _command("ingest", str(source), "-v", "0")[1], env=site.environment(), cwd=Path(__file__).parent.parent
    )
    with PeakMemory(lambda: {"command": process.pid}) as memory:
        if process.wait() != 0:
            raise RuntimeError(f"ingest ended with {process.returncode}")
    return time.monotonic() - began, memory.peaks.get("command", 0)


def _write(path: Path, size_bytes: int) -> None:
    block = os.urandom(2**24)
    with path.open("wb") as stream:
        for number in range(max(1, size_bytes // len(block))):
            stream.write(number.to_bytes(8) + block[8:])
    os.sync()


def _seconds(command: str, env: dict[str, str] | None = None) -> float:
    began = time.monotonic()
    subprocess.run(["bash", "-c", command], check=True, env=env, cwd=Path(__file__).parent.parent)
    return time.monotonic() - began
