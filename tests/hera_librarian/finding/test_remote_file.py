"""Files read over HTTP: the bytes are those of a local file, and only those come that somebody looks at."""

import dataclasses
import io
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hera_librarian.exceptions import LibrarianError
from hera_librarian.finding.blocks import BLOCK_BYTES, DIRECT_BYTES, KEPT_BYTES
from tests.hera_librarian.finding.conftest import LARGE_BYTES, client_of
from tests.hera_librarian.finding.cutting import cutting


def test_h5py_reads_one_dataset_of_a_large_file_and_little_else_comes(client):
    import h5py

    file = client.file("large.h5")
    assert file.size_bytes >= LARGE_BYTES
    with file.open() as remote, h5py.File(remote) as data:
        vis = data["night/baseline41/vis"]
        assert (vis[:] == 41).all()
        assert vis[100:103].tolist() == [41.0, 41.0, 41.0]
        assert data["header/antennas"][349] == 349
        assert 2**20 <= remote.bytes_fetched < 4 * 2**20
        assert remote.requests_made < 15


def test_astropy_reads_one_image_of_a_large_file_and_little_else_comes(client):
    from astropy.io import fits

    file = client.file("large.fits")
    assert file.size_bytes >= LARGE_BYTES
    with file.open() as remote, fits.open(remote) as images:
        assert images["IMAGE3"].data.sum() == 3 * 512 * 512
        assert images["IMAGE3"].header["NAXIS1"] == 512
        assert remote.bytes_fetched < 16 * 2**20


def test_a_real_file_of_the_night_reads_like_the_one_on_disk(client, source):
    import h5py

    path = next((source / "night").rglob("*.uvh5"))
    with client.file(path.name).open() as remote, h5py.File(remote) as got, h5py.File(path) as expected:
        for name in ("Header/time_array", "Data/visdata"):
            assert np.array_equal(got[name][()], expected[name][()])


def test_reads_seeks_and_ends_are_those_of_a_local_file(client, source):
    path = source / "large" / "random.bin"
    choose = random.Random(7)
    with client.file("random.bin").open() as remote, path.open("rb") as local:
        for _ in range(300):
            whence = choose.choice([io.SEEK_SET, io.SEEK_END])
            offset = choose.randrange(path.stat().st_size + 1000) * (-1 if whence else 1)
            offset = max(offset, -path.stat().st_size) if whence else offset
            assert remote.seek(offset, whence) == local.seek(offset, whence)
            length = choose.choice([0, 1, 8, 512, BLOCK_BYTES - 1, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
            assert remote.read(length) == local.read(length)
            assert remote.tell() == local.tell()
        for file in (remote, local):
            file.seek(-DIRECT_BYTES - 1, io.SEEK_END)
        assert remote.read(DIRECT_BYTES + 1) == local.read(DIRECT_BYTES + 1)
        for file in (remote, local):
            file.seek(5)
        assert remote.read() == local.read()
        with pytest.raises(ValueError, match="negative"):
            remote.seek(-1)
    with pytest.raises(ValueError, match="closed"):
        remote.read(1)


def test_reading_in_order_fetches_each_byte_once_ahead_of_the_reader_in_bounded_memory(client, source):
    expected = (source / "large" / "large.h5").read_bytes()
    with client.file("large.h5").open() as remote:
        got = bytearray()
        while block := remote.read(10_000):
            got += block
        assert got == expected
        assert remote.bytes_fetched == len(expected)
        assert remote.requests_made < 50
        assert len(remote._cache._kept) * BLOCK_BYTES <= KEPT_BYTES


def test_small_reads_here_and_there_are_answered_from_what_was_fetched(client):
    with client.file("large.h5").open() as remote:
        places = [number * 2**20 for number in range(0, 60, 10)]
        for _ in range(50):
            for place in places:
                remote.seek(place)
                remote.read(64)
        assert remote.requests_made == len(places)


def test_a_read_goes_on_where_the_connection_broke(site, source):
    expected = (source / "large" / "random.bin").read_bytes()
    with cutting(site.port) as line:
        remote = client_of(site, line.port).file("random.bin").open()
        line.cut_after(10 * 2**20, 100, 2**20)
        assert remote.read() == expected
        assert line.cuts == 3
        assert remote.requests_made == 4
        assert line.bytes_sent < len(expected) + 6 * 2**20  # what the cuts lost on the way, not what had come before


def test_a_file_that_is_not_what_it_was_is_refused(client):
    file = dataclasses.replace(client.file("random.bin"), digest="0" * 64)
    with pytest.raises(LibrarianError, match="other bytes under the name") as refused:
        file.open().read(10)
    assert refused.value.code == "file_changed"
    with pytest.raises(LibrarianError) as refused:
        file.open().read()
    assert refused.value.code == "file_changed"


def test_threads_may_share_it(client, source):
    path = source / "large" / "random.bin"
    expected = path.read_bytes()
    remote = client.file("random.bin").open()

    def piece(number):
        with remote._lock:
            remote.seek(number * 50_000)
            return remote.read(50_000)

    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(piece, range(200))):
            assert found == expected[number * 50_000 : (number + 1) * 50_000]


def test_the_large_packages_are_imported_only_when_they_are_used():
    code = (
        "import sys, hera_librarian, hera_librarian.finding; "
        "print([name for name in ('astropy', 'h5py', 'numpy', 'tqdm', 'django') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
