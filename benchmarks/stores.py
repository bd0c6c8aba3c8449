"""Stores on other machines: the ssh store and the rsync provider against plain rsync, the s3 store against boto3.

All go to the same sshd and the same S3 server on this machine, so that the line costs nothing and what remains is work.
The figures are made by `benchmarks.store_rates`, in a process of its own that has Django and a home.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.report import Figure, print_table
from benchmarks.sites import running_site
from files.samples.small import write_small_files
from tests.rig import s3_server, sshd
from tests.rig.servers import Site

SMALL_COUNT = 5_000
SMALL_BYTES = 4096
LARGE_BYTES = 2**30
PATIENCE_SECONDS = 3600.0
ROOT = Path(__file__).resolve().parent.parent


def measure(folder: Path, *, scale: float) -> None:
    """Start both servers and measure against them."""
    (folder / "home" / "static").mkdir(parents=True)
    with sshd.running(folder / "sshd") as door, s3_server.running() as cloud:
        command = [sys.executable, "-m", "benchmarks.store_rates", str(folder), str(scale)]
        subprocess.run(command, cwd=ROOT, env=_environment(folder, door, cloud), check=True)
        _measure_copies(folder / "copies", door, scale)


# --- Copies between stores --------------------------------------------------------------------------------------------


def _measure_copies(folder: Path, door: sshd.Sshd, scale: float) -> None:
    """The job that copies files to an ssh store, verifying them there, against rsync that does not."""
    count, large_bytes = max(1, int(SMALL_COUNT * scale)), max(2**20, int(LARGE_BYTES * scale))
    small, large = folder / "small", folder / "large"
    for tree in (small, large):
        tree.mkdir(parents=True)
    write_small_files(small, count, SMALL_BYTES, seed=1, first_jd=2459122)
    with (large / "zen.2459122.00001.sum.uvh5").open("wb") as stream:
        for _ in range(large_bytes // 2**20):
            stream.write(os.urandom(2**20))
    figures = []
    with running_site(folder / "site", web=False, environment={"LIBRARIAN_SSH_CONFIG": str(door.config)}) as site:
        site.manage("add_store", "far", "--kind", "ssh", "--destination", sshd.HOST, "--path", str(folder / "far"),
                    "--not-ingestable")  # fmt: skip
        for tree, amount, unit in ((small, count, "files/s"), (large, large_bytes / 1e6, "MB/s")):
            plain = amount / _rsync(tree, folder / "plain", door)
            rate = amount / _copy(site, tree)
            figures += [
                Figure(f"rsync -a -e ssh, {tree.name}", plain, unit),
                Figure(f"copy_files to the ssh store, {tree.name}", rate, unit, rate / plain, "of rsync's speed"),
            ]
    print_table(
        f"Copies to a store over ssh, {count:,} files of 4 KiB and one of {large_bytes / 2**20:.0f} MiB", figures
    )


def _copy(site: Site, tree: Path) -> float:
    """Seconds that the job takes for all files of a tree, without the start of its process."""
    site.manage("ingest", str(tree), "--null-obsid", timeout_seconds=PATIENCE_SECONDS)
    site.manage("copy_to_store", "--to", "far", "--search", '{"name-matches": "%"}', "--yes")
    clock, job = "__import__('time').monotonic()", "files.services.copying"
    done = f"__import__({job!r}, fromlist=['x']).copy_files()"
    left = "StoreCopy.objects.exclude(state='done').count()"
    began, told, ended, waiting = site.evaluate(f"[{clock}, {done}, {clock}, {left}]")
    if waiting:
        raise RuntimeError(f"{waiting} copies were not made: {told}")
    return float(ended) - float(began)


def _rsync(tree: Path, target: Path, door: sshd.Sshd) -> float:
    began = time.monotonic()
    shell = f"ssh -F {door.config}"
    subprocess.run(["rsync", "-a", "-e", shell, f"{tree}/", f"{sshd.HOST}:{target}/"], check=True)
    took = time.monotonic() - began
    shutil.rmtree(target)
    return took


def _environment(folder: Path, door: sshd.Sshd, cloud: s3_server.S3Server) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LIBRARIAN_", "AWS_"))}
    return {
        **kept,
        "DJANGO_SETTINGS_MODULE": "librarian.settings",
        "LIBRARIAN_ENV_FILE": "none",
        "LIBRARIAN_NAME": "bench",
        "LIBRARIAN_HOME": str(folder / "home"),
        "LIBRARIAN_SSH_CONFIG": str(door.config),
        "AWS_ACCESS_KEY_ID": s3_server.KEY_ID,
        "AWS_SECRET_ACCESS_KEY": s3_server.SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "BENCH_S3_URL": cloud.url,
    }
