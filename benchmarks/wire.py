"""Calls over the wire protocol: authenticated calls a second, and 4 KiB files with one client and with eight."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import requests

from benchmarks.memory import PeakMemory
from benchmarks.report import Figure, print_table
from benchmarks.sites import process_ids, running_site
from hera_librarian.checksums import new_hasher
from tests.rig.servers import ADMIN, ADMIN_PASSWORD, Site

# Recorded for the system of the wire reference on two shared cores with SQLite (design section 16).
EXISTING_CALLS_PER_SECOND = 10.0
EXISTING_UPLOADS_ONE_CLIENT = 4.6
EXISTING_UPLOADS_EIGHT_CLIENTS = 5.8


def measure(folder: Path, *, scale: float) -> None:
    """Run the site as `make run` does and drive it with clients that reuse their connection."""
    with running_site(folder, cluster=True) as site, PeakMemory(lambda: process_ids(site)) as memory:
        calls = _rate(site, clients=4, per_client=int(500 * scale), work=_ping)
        one = _rate(site, clients=1, per_client=int(600 * scale), work=_upload)
        eight = _rate(site, clients=8, per_client=int(150 * scale), work=_upload)
    figures = [
        _figure("authenticated calls", calls, EXISTING_CALLS_PER_SECOND, 200, "calls/s"),
        _figure("4 KiB uploads, one client", one, EXISTING_UPLOADS_ONE_CLIENT, 100, "files/s"),
        _figure("4 KiB uploads, eight clients", eight, EXISTING_UPLOADS_EIGHT_CLIENTS, 150, "files/s"),
    ]
    figures += [Figure(f"peak memory, {label}", size / 1e6, "MB") for label, size in memory.peaks.items()]
    print_table("Wire protocol, SQLite", figures)


def _figure(name: str, value: float, existing: float, target: float, unit: str) -> Figure:
    return Figure(name, value, unit, value / existing, "existing server", f">= {target}", value >= target)


def _rate(site: Site, *, clients: int, per_client: int, work: Callable[[Site, requests.Session, str], None]) -> float:
    """Calls of `work` a second over all clients, each in a thread with a session of its own."""
    barrier = threading.Barrier(clients + 1)
    failures: list[Exception] = []

    def run(number: int) -> None:
        with requests.Session() as session:
            session.auth = (ADMIN, ADMIN_PASSWORD)
            work(site, session, f"warm-{clients}-{number}")
            barrier.wait()
            try:
                for turn in range(per_client):
                    work(site, session, f"{clients}-{number}-{turn}")
            except Exception as failure:
                failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return clients * per_client / (time.monotonic() - began)


def _ping(site: Site, session: requests.Session, label: str) -> None:
    session.post(f"{site.url}/api/v2/ping/logged", json={}, timeout=60).raise_for_status()


def _upload(site: Site, session: requests.Session, label: str) -> None:
    content = os.urandom(4096)
    hasher = new_hasher("xxh3")
    hasher.update(content)
    name = f"zen.2459122.{label}.{work_kind(label)}.npz"
    staged = session.post(
        f"{site.url}/api/v2/upload/stage",
        json={
            "upload_size": len(content),
            "upload_checksum": f"xxh3:::{hasher.hexdigest()}",
            "upload_name": name,
            "destination_location": name,
            "uploader": ADMIN,
        },
        timeout=60,
    )
    staged.raise_for_status()
    answer = staged.json()
    Path(answer["staging_location"]).write_bytes(content)
    answer.pop("available_bytes_on_store")
    session.post(
        f"{site.url}/api/v2/upload/commit",
        json={
            **answer,
            "transfer_provider_name": "local",
            "transfer_provider": {"hostnames": ["here"]},
            "meta_mode": "infer",
            "deletion_policy": "0",
            "uploader": ADMIN,
            "null_obsid": True,
        },
        timeout=60,
    ).raise_for_status()


def work_kind(label: str) -> str:
    """Part of a name that differs between warm-up and measurement."""
    return "warm" if label.startswith("warm") else "load"
