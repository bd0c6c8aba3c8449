"""The small products of the benchmarks: distinct, of exactly the size asked for, real NPZ."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from files.samples.small import MIN_SIZE_BYTES, stream_small_files, write_small_files

pytestmark = pytest.mark.database_independent


@pytest.mark.parametrize("size_bytes", [MIN_SIZE_BYTES, 1000, 4096, 1_000_003])
def test_every_file_is_an_archive_of_exactly_the_size_asked_for(tmp_path: Path, size_bytes: int) -> None:
    assert write_small_files(tmp_path, 3, size_bytes) == 3
    paths = sorted(tmp_path.rglob("*.npz"))
    assert [path.name for path in paths] == [f"zen.2459122.{index:05d}.diag.npz" for index in range(3)]
    for path in paths:
        assert path.stat().st_size == size_bytes
        with np.load(path) as archive:
            assert archive["diag"].nbytes == size_bytes - MIN_SIZE_BYTES


def test_names_go_on_in_the_next_jd_when_the_digits_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("files.samples.small.NAMES_PER_JD", 4)
    paths = list(stream_small_files(tmp_path, 6, 512))
    assert [path.relative_to(tmp_path).as_posix() for path in paths[3:5]] == [
        "2459122/zen.2459122.00003.diag.npz",
        "2459123/zen.2459123.00000.diag.npz",
    ]
    assert len({path.name for path in paths}) == 6


def test_contents_differ_from_file_to_file_and_repeat_with_the_seed(tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        paths = stream_small_files(tmp_path / name, 20, 600, seed=seed)
        runs.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
    assert len(set(runs[0])) == 20
    assert runs[0] == runs[1]
    assert not set(runs[0]) & set(runs[2])


def test_files_are_written_as_they_are_asked_for(tmp_path: Path) -> None:
    paths = stream_small_files(tmp_path, 1000, 512)
    next(paths), next(paths)
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    write_small_files(tmp_path, 1, 512)
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_small_files(tmp_path, 1, 512)
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(("count", "size_bytes"), [(1, MIN_SIZE_BYTES - 1), (1, 0), (-1, 4096), (1, (1 << 30) + 1)])
def test_sizes_and_counts_that_make_no_sense_are_refused(tmp_path: Path, count: int, size_bytes: int) -> None:
    with pytest.raises(ValueError, match="must"):
        stream_small_files(tmp_path, count, size_bytes)
    assert list(tmp_path.iterdir()) == []
