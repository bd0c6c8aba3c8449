"""A night is a gapless sequence of observations whose names tell their times, of any number of files."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.time import Time

from files.samples.array import Setup
from files.samples.night import stream_night, write_night

pytestmark = pytest.mark.database_independent

ROOT = Path(__file__).resolve().parents[3]
TINY = Setup(antenna_count=2, channel_count=4, image_pixels=8)


def digests(directory: Path) -> dict[str, str]:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_default_night_is_small_and_has_every_kind(tmp_path: Path) -> None:
    files = list(stream_night(tmp_path))
    assert len({file.path for file in files}) == 24
    assert Counter(file.kind for file in files) == {"uvh5": 14, "fits": 6, "miriad": 3, "log": 1}
    assert {file.path.parent for file in files} == {tmp_path / "2459122"}
    assert sum(file.size_bytes for file in files) < 5_000_000


def test_names_parse_back_to_the_first_time_stamp(tmp_path: Path) -> None:
    for file in stream_night(tmp_path, setup=TINY, file_count=40):
        if file.observation is None:
            continue
        prefix, integer_jd, fraction, *_ = file.path.name.split(".")
        assert (prefix, len(fraction), file.path.parent.name) == ("zen", 5, integer_jd)
        assert float(f"{integer_jd}.{fraction}") == pytest.approx(file.observation.start_jd, abs=0.51e-5, rel=0)


def test_observations_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    files = [file for file in stream_night(tmp_path, setup=TINY, file_count=30) if file.kind == "uvh5"]
    times_jd = np.concatenate([file.observation.times_jd for file in files])
    assert np.diff(times_jd) * 86400 == pytest.approx(TINY.integration_seconds, abs=1e-3)
    assert len({file.observation.obsid for file in files}) == len(files)


def test_no_obsid_of_the_default_night_hangs_on_rounding(tmp_path: Path) -> None:
    """Readers go through a header's JD or date: none may come so near a whole second that they could disagree."""
    for file in stream_night(tmp_path, setup=TINY, file_count=200):
        if file.observation is not None:
            seconds = Time(file.observation.start_jd, format="jd").gps % 1
            assert 0.001 < seconds < 0.999, file.path.name


@pytest.mark.parametrize("file_count", [1, 2, 3, 7, 50])
def test_exactly_as_many_files_as_asked_for(tmp_path: Path, file_count: int) -> None:
    assert len(set(write_night(tmp_path, setup=TINY, file_count=file_count))) == file_count
    assert len(list((tmp_path / "2459122").iterdir())) == file_count


def test_a_night_over_noon_goes_on_in_the_next_directory_with_a_log_of_its_own(tmp_path: Path) -> None:
    paths = write_night(tmp_path, setup=TINY, start_jd=2459122.999, file_count=20)
    names = {path.relative_to(tmp_path).as_posix() for path in paths}
    assert {"2459122/correlator.2459122.log", "2459123/correlator.2459123.log"} <= names
    for path in paths:
        assert path.name.split(".")[1] == path.parent.name


def test_a_log_names_the_visibility_files_of_its_day_and_no_others(tmp_path: Path) -> None:
    paths = write_night(tmp_path, setup=TINY, start_jd=2459122.999, file_count=20)
    for log in (path for path in paths if path.suffix == ".log"):
        stems = {path.name.removesuffix(".sum.uvh5") for path in log.parent.glob("*.uvh5")}
        lines = log.read_text().splitlines()
        assert [line.split()[3] for line in lines[1:]] == sorted(stems)


def test_an_existing_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "2459122" / "correlator.2459122.log"
    log.parent.mkdir()
    log.write_text("mine")
    with pytest.raises(FileExistsError):
        write_night(tmp_path, setup=TINY)
    assert log.read_text() == "mine"


def test_start_antennas_channels_and_integrations_are_honoured(tmp_path: Path) -> None:
    setup = Setup(antenna_count=5, channel_count=7, integration_count=3)
    (first,) = stream_night(tmp_path, start_jd=2460000.25, file_count=1, setup=setup)
    assert first.path.name.startswith("zen.2460000.2500")
    assert first.observation.setup == setup


def test_the_same_seed_writes_the_same_night(tmp_path: Path) -> None:
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        write_night(tmp_path / name, setup=TINY, file_count=12, seed=seed)
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    assert first != other


@pytest.mark.parametrize(
    "options",
    [
        {"file_count": 0},
        {"seed": -1},
        {"start_jd": 59122.1},
        {"start_jd": float("nan")},
        {"setup": Setup(integration_count=1, integration_seconds=0.5)},
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match="must be between|are needed|same names"):
        stream_night(tmp_path / "night", **options)
    assert not (tmp_path / "night").exists()


def test_the_generator_runs_without_django(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from files.samples.night import write_night; import files.samples.small; "
        "write_night(pathlib.Path(sys.argv[1]), file_count=1); assert 'django' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "none.such"}
    command = [sys.executable, "-c", program, str(tmp_path)]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, timeout=60)
