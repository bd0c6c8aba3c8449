"""The UVH5 files are what pyuvdata, the format's own library, accepts, and say what we meant to say."""

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from pyuvdata import UVData

from files.samples.array import Observation, Setup, offline_astropy
from files.samples.contents import channel_flags, visibility_counts
from files.samples.uvh5 import write_uvh5

pytestmark = pytest.mark.database_independent


def read(path: Path) -> UVData:
    """Read with every check of pyuvdata on, its warnings as errors."""
    with offline_astropy(), warnings.catch_warnings():
        warnings.simplefilter("error")
        return UVData.from_file(str(path), strict_uvw_antpos_check=True)


@pytest.mark.parametrize(
    "setup",
    [
        Setup(),
        Setup(antenna_count=1, channel_count=2, integration_count=1),
        Setup(antenna_count=3, channel_count=1536, integration_count=4, integration_seconds=2.0),
        Setup(antenna_count=40, channel_count=3, integration_count=1),
    ],
    ids=["default", "one antenna", "all channels", "many antennas"],
)
def test_pyuvdata_finds_our_times_frequencies_and_antennas(tmp_path: Path, setup: Setup) -> None:
    observation = Observation(2459122.1, setup)
    data = read(write_uvh5(tmp_path, observation).path)

    assert np.array_equal(np.unique(data.time_array), observation.times_jd)
    assert np.array_equal(data.lst_array[:: setup.baseline_count], observation.lsts_rad)
    assert np.array_equal(data.freq_array, setup.frequencies_hz)
    assert data.polarization_array.tolist() == [-5, -6, -7, -8]
    assert data.telescope.antenna_numbers.tolist() == setup.antenna_numbers.tolist()
    assert data.telescope.name == "HERA"
    assert (data.Ntimes, data.Nbls, data.Nfreqs) == (
        setup.integration_count,
        setup.antenna_count * (setup.antenna_count + 1) // 2,
        setup.channel_count,
    )
    assert data.extra_keywords["obs_id"] == observation.obsid


def test_obsid_and_lst_are_those_of_the_first_time_stamp(tmp_path: Path) -> None:
    observation = Observation(2459122.1)
    with h5py.File(write_uvh5(tmp_path, observation).path) as file:
        first_jd = file["Header/time_array"][:].min()
    # Unix time of 1980-01-06 is 315964800; 18 leap seconds by 2020.
    assert observation.obsid == int((first_jd - 2440587.5) * 86400 - 315964800 + 18)
    # Mean sidereal time at Greenwich to a second: Astronomical Almanac, linear formula; HERA is 21.4283 degrees east.
    mean_lst_hours = (18.697374558 + 24.06570982441908 * (first_jd - 2451545.0) + 21.428303826863015 / 15) % 24
    assert observation.start_lst_hours == pytest.approx(mean_lst_hours, abs=1 / 1800)


def test_first_time_stamp_is_in_the_middle_of_the_first_integration() -> None:
    observation = Observation(2459122.1, Setup(integration_seconds=8.0))
    assert (observation.start_jd - 2459122.1) * 86400 == pytest.approx(4.0, abs=1e-4)


def test_visibilities_and_flags_arrive_as_generated(tmp_path: Path) -> None:
    observation = Observation(2459122.1, seed=3)
    data = read(write_uvh5(tmp_path, observation).path)
    second = slice(observation.setup.baseline_count, None)
    counts = visibility_counts(observation, 1)
    assert np.array_equal(data.data_array[second], counts[..., 0] + 1j * counts[..., 1])
    assert np.array_equal(data.flag_array.all(axis=(0, 2)), channel_flags(observation.setup))
    assert data.flag_array.any()
    assert not data.flag_array.all()


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    written = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        written.append(write_uvh5(tmp_path / name, Observation(2459122.1, seed=seed)).path.read_bytes())
    assert written[0] == written[1] != written[2]


def test_no_dataset_remembers_when_it_was_written(tmp_path: Path) -> None:
    items: dict[str, h5py.Dataset | h5py.Group] = {}
    with h5py.File(write_uvh5(tmp_path, Observation(2459122.1)).path) as file:
        file.visititems(items.__setitem__)
        datasets = {name: item for name, item in items.items() if isinstance(item, h5py.Dataset)}
        assert len(datasets) > 40
        stamped = [name for name in datasets if h5py.h5g.get_objinfo(file.id, name.encode()).mtime]
        assert stamped == []


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / f"{Observation(2459122.1).stem}.sum.uvh5"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_uvh5(tmp_path, Observation(2459122.1))
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "options",
    [
        {"antenna_count": 0},
        {"antenna_count": 1001},
        {"channel_count": 0},
        {"integration_count": -1},
        {"integration_seconds": float("nan")},
        {"image_pixels": 0},
    ],
)
def test_a_setup_that_makes_no_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Setup(**options)
