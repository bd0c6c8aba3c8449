"""The images are FITS that astropy takes without repair, with a usable world coordinate system."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS

from files.samples.array import Observation, Setup
from files.samples.fits import write_image

pytestmark = pytest.mark.database_independent


def test_header_says_when_what_and_in_which_unit(tmp_path: Path) -> None:
    observation = Observation(2459122.1)
    file = write_image(tmp_path, observation)
    assert file.path.name == "zen.2459122.10006.image.fits"
    with fits.open(file.path) as hdus:
        hdus.verify("exception")
        header, image = hdus[0].header, hdus[0].data
        start = Time(header["DATE-OBS"], format="isot", scale=header["TIMESYS"].lower())
        assert start.jd == pytest.approx(observation.start_jd, abs=1e-9, rel=0)
        assert int(start.gps) == header["OBSID"] == observation.obsid
        assert (header["BUNIT"], header["TELESCOP"]) == ("JY/BEAM", "HERA")
        assert image.shape == (1, 1, 64, 64)
        assert np.isfinite(image).all()
        assert image.max() > 0.5


@pytest.mark.filterwarnings(
    "ignore:'obsfix' made the change"
)  # astropy tells that it worked out longitude and latitude
def test_the_middle_of_the_image_is_the_zenith(tmp_path: Path) -> None:
    observation = Observation(2459122.1, Setup(image_pixels=33))
    header = fits.getheader(write_image(tmp_path, observation).path)
    celestial = WCS(header).celestial
    centre = celestial.pixel_to_world(16, 16)
    assert centre.ra.hour == pytest.approx(observation.start_lst_hours, abs=1e-6)
    assert centre.dec.deg == pytest.approx(-30.721526, abs=1e-5)
    assert celestial.pixel_to_world(17, 16).ra.deg < centre.ra.deg  # right ascension grows to the left


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    written = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        written.append(write_image(tmp_path / name, Observation(2459122.1, seed=seed)).path.read_bytes())
    assert written[0] == written[1] != written[2]


def test_an_existing_image_is_left_alone(tmp_path: Path) -> None:
    path = write_image(tmp_path, Observation(2459122.1)).path
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_image(tmp_path, Observation(2459122.1))
    assert path.read_bytes() == b"mine"
