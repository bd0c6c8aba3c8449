"""Search over 200,000 files: p50 and p95 of the queries that portal and API make, first page and deep page."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import requests

from benchmarks.memory import PeakMemory
from benchmarks.report import Figure, print_table
from benchmarks.sites import process_ids, running_site
from tests.rig.servers import ADMIN, ADMIN_PASSWORD, Site

COUNT = 200_000
TURNS = 40
QUERIES = {
    "wire search/file by name": ("wire", {"name": "zen.2459123.04321.sum.uvh5"}),
    "newest files": ("v3", "files/"),
    "name prefix": ("v3", "files/?name_matches=zen.2459150.%25"),
    "substring of a name": ("v3", "files/?name_contains=.04321."),
    "leading wildcard": ("v3", "files/?name_matches=%25.04321.sum.uvh5"),
    "size range": ("v3", "files/?size_min=4096&size_max=5000"),
    "uploader and time": ("v3", "files/?uploader=correlator&registered_after=2026-01-01T00:00:00"),
    "instances of a store": ("v3", "instances/?store=store"),
    "portal search page": ("page", "files/?name_contains=2459150"),
    "portal home page": ("page", ""),
}


def measure(folder: Path, *, scale: float) -> None:
    """Fill a catalogue in bulk, then ask each question many times over one connection."""
    with running_site(folder) as site:
        _fill(site, int(COUNT * scale))
        with PeakMemory(lambda: process_ids(site)) as memory:
            figures = [_question(site, name, *query) for name, query in QUERIES.items()]
            figures += _deep_page(site)
    figures += [Figure(f"peak memory, {label}", size / 1e6, "MB") for label, size in memory.peaks.items()]
    print_table(f"Search over {int(COUNT * scale):,} files, SQLite", figures)


def _fill(site: Site, count: int) -> None:
    subprocess.run(
        [sys.executable, "-m", "benchmarks.fill", str(count)],
        env=site.environment(),
        cwd=Path(__file__).parent.parent,
        check=True,
    )


def _session(site: Site) -> requests.Session:
    session = requests.Session()
    session.auth = (ADMIN, ADMIN_PASSWORD)
    return session


def _question(site: Site, name: str, kind: str, query: object) -> Figure:
    with _portal(site) if kind == "page" else _session(site) as session:
        times = []
        for turn in range(TURNS + 2):
            if kind == "wire":
                answer = session.post(
                    f"{site.url}/api/v2/search/file",
                    data=json.dumps(query),
                    timeout=60,
                    headers={"Content-Type": "application/json"},
                )
            else:
                base = f"{site.url}/api/v3/" if kind == "v3" else f"{site.url}/"
                answer = session.get(f"{base}{query}", timeout=60)
            answer.raise_for_status()
            if turn >= 2:
                times.append(answer.elapsed.total_seconds() * 1000)
    return _figure(name, times)


def _figure(name: str, times: list[float]) -> Figure:
    p95 = statistics.quantiles(times, n=20)[-1]
    return Figure(f"{name}, p95", p95, "ms", statistics.median(times) / p95, "of it is p50", "< 100", p95 < 100)


def _portal(site: Site) -> requests.Session:
    session = requests.Session()
    page = session.get(f"{site.url}/login/", timeout=60)
    page.raise_for_status()
    token = session.cookies["csrftoken"]
    login = {"username": ADMIN, "password": ADMIN_PASSWORD, "csrfmiddlewaretoken": token}
    session.post(page.url, data=login, headers={"Referer": page.url}, timeout=60).raise_for_status()
    return session


def _deep_page(site: Site) -> list[Figure]:
    """The thousandth page of ten costs as much as the first."""
    with _session(site) as session:
        url, times = f"{site.url}/api/v3/files/?limit=10", []
        for _ in range(1000):
            answer = session.get(url, timeout=60)
            answer.raise_for_status()
            times.append(answer.elapsed.total_seconds() * 1000)
            url = answer.json()["next"]
            if not url:
                break
    return [
        Figure("page 1 to 100 of 10, median", statistics.median(times[:100]), "ms"),
        Figure(
            f"page {len(times) - 99} to {len(times)}, median",
            statistics.median(times[-100:]),
            "ms",
            statistics.median(times[-100:]) / statistics.median(times[:100]),
            "page 1 to 100",
            "about 1",
        ),
    ]
