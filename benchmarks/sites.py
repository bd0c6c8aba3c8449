"""A real site for a benchmark: the processes of `make run`, with a home and a store of their own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.rig.servers import Site


@contextmanager
def running_site(
    folder: Path, *, web: bool = True, cluster: bool = False, environment: Mapping[str, str] | None = None
) -> Iterator[Site]:
    """A site with two web processes of eight threads each, and if asked the default job cluster."""
    site = Site("bench", folder, environment=environment, workers=2)
    site.prepare()
    try:
        if web:
            site.start()
        if cluster:
            site.start_cluster("default")
        yield site
    finally:
        site.stop()


def process_ids(site: Site) -> dict[str, int]:
    """Top processes of a site by what they are."""
    found = {name: process.pid for name, process in site.clusters.items()}
    if site.web is not None:
        found["web"] = site.web.pid
    return found
