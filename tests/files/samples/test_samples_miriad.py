"""The MIRIAD datasets are readable by MIRIAD's own library (through pyuvdata) and hold what the UVH5 files hold."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from pyuvdata import UVData

from files.samples.array import Observation, Setup, offline_astropy
from files.samples.miriad import baseline_number, write_miriad
from files.samples.uvh5 import write_uvh5

pytestmark = pytest.mark.database_independent


def read(path: Path) -> UVData:
    with offline_astropy(), warnings.catch_warnings():
        warnings.simplefilter("error")
        return UVData.from_file(str(path), strict_uvw_antpos_check=True)


SETUPS = [
    pytest.param(Setup(), id="default"),
    pytest.param(Setup(antenna_count=1, channel_count=2), id="autocorrelations only"),
    pytest.param(Setup(antenna_count=4, channel_count=31, integration_count=1), id="one integration"),
    pytest.param(Setup(antenna_count=3, channel_count=100, integration_count=5), id="flags across words"),
    pytest.param(Setup(antenna_count=127, channel_count=1, integration_count=1), id="antenna numbers above 255"),
]


@pytest.mark.parametrize("setup", SETUPS)
def test_pyuvdata_finds_our_times_frequencies_and_antennas(tmp_path: Path, setup: Setup) -> None:
    observation = Observation(2459122.1, setup)
    data = read(write_miriad(tmp_path, observation).path)

    assert np.unique(data.time_array) == pytest.approx(observation.times_jd, abs=1e-9, rel=0)
    assert data.lst_array[:: setup.baseline_count] == pytest.approx(observation.lsts_rad, abs=1e-8)
    assert data.freq_array == pytest.approx(setup.frequencies_hz, abs=1e-3, rel=0)
    assert data.integration_time == pytest.approx(setup.integration_seconds)
    assert data.polarization_array.tolist() == [-5, -6, -7, -8]
    assert data.telescope.antenna_numbers.tolist() == setup.antenna_numbers.tolist()
    assert data.telescope.antenna_names == setup.antenna_names
    assert data.extra_keywords == {"obsid": observation.obsid}


def test_a_dataset_holds_the_visibilities_of_the_uvh5_file(tmp_path: Path) -> None:
    observation = Observation(2459122.1, Setup(antenna_count=4, channel_count=100, integration_count=3), seed=5)
    miriad = read(write_miriad(tmp_path, observation).path)
    uvh5 = read(write_uvh5(tmp_path, observation).path)

    assert np.array_equal(miriad.ant_1_array, uvh5.ant_1_array)
    assert np.array_equal(miriad.ant_2_array, uvh5.ant_2_array)
    assert np.array_equal(miriad.data_array, uvh5.data_array)
    assert np.array_equal(miriad.flag_array, uvh5.flag_array)
    assert np.allclose(miriad.uvw_array, uvh5.uvw_array, atol=1e-9)
    assert np.allclose(miriad.telescope.antenna_positions, uvh5.telescope.antenna_positions, atol=1e-6)


def test_a_dataset_is_a_directory_of_the_items_that_mark_it_as_miriad(tmp_path: Path) -> None:
    file = write_miriad(tmp_path, Observation(2459122.1))
    assert file.path.name == "zen.2459122.10006.HH.uv"
    assert {item.name for item in file.path.iterdir()} == {"flags", "header", "history", "vartable", "visdata"}
    assert file.size_bytes == sum(len(item.read_bytes()) for item in file.path.iterdir())


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        dataset = write_miriad(tmp_path / name, Observation(2459122.1, seed=9)).path
        contents.append({item.name: item.read_bytes() for item in dataset.iterdir()})
    assert contents[0] == contents[1]


def test_an_existing_dataset_is_left_alone(tmp_path: Path) -> None:
    dataset = write_miriad(tmp_path, Observation(2459122.1)).path
    before = (dataset / "visdata").read_bytes()
    with pytest.raises(FileExistsError):
        write_miriad(tmp_path, Observation(2459122.1, seed=1))
    assert (dataset / "visdata").read_bytes() == before


def test_baseline_numbers_change_scheme_above_255_antennas() -> None:
    assert baseline_number(0, 1) == 256 + 2
    assert baseline_number(0, 254) == 256 + 255
    assert baseline_number(0, 255) == 65_536 + 2_048 + 256
