"""One real site with real files of every kind, for all tests of this folder that change nothing there."""

import os
from pathlib import Path

import numpy as np
import pytest

LARGE_BYTES = 64 * 2**20


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    """The files as their makers wrote them: a night, large files in the formats of the field, a tree, an odd name."""
    import h5py
    from astropy.io import fits

    from files.samples.night import write_night

    folder = tmp_path_factory.mktemp("finding")
    write_night(folder / "night", file_count=8)
    large = folder / "large"
    large.mkdir()
    with h5py.File(large / "large.h5", "w") as out:
        for number in range(64):  # a megabyte each, so that one of them is a small part
            out.create_dataset(f"night/baseline{number:02}/vis", data=np.full(2**17, number, dtype="f8"))
        out["header/antennas"] = np.arange(350)
    images = [fits.ImageHDU(np.full((512, 512), number, dtype="f8"), name=f"IMAGE{number}") for number in range(32)]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(large / "large.fits")
    (large / "random.bin").write_bytes(os.urandom(2**20) * 16 + b"the end")
    (large / "empty.log").write_bytes(b"")
    (large / "<b>&'\" #1 100%.log").write_bytes(b"an odd name\n")
    product = large / "demo.uv"
    (product / "data").mkdir(parents=True)
    (product / "flags").mkdir()
    (product / "header").write_bytes(b"nchan 4\n")
    (product / "data-2").write_bytes(b"sorts before data/")
    (product / "data" / "visdata").write_bytes(os.urandom(3 * 2**20))
    return folder


@pytest.fixture(scope="session")
def site(source, tmp_path_factory):
    from tests.rig.servers import Site

    running = Site("karoo", tmp_path_factory.mktemp("karoo") / "karoo")
    try:
        running.prepare()
        running.manage("ingest", str(source / "night"), str(source / "large"))
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def client(site):
    return client_of(site)


def client_of(site, port: int | None = None, **options):
    """A client with the rights of the administrator."""
    from hera_librarian import LibrarianClient
    from tests.rig.servers import ADMIN, ADMIN_PASSWORD

    return LibrarianClient("http://127.0.0.1", port or site.port, ADMIN, ADMIN_PASSWORD, **options)
