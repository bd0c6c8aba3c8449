"""The telescope of the sample data, one observation with it, and the facts known about a written file.

Facts only: what the formats look like is in the modules of the writers.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from astropy import units
from astropy.coordinates import EarthLocation
from astropy.time import Time
from astropy.utils.iers import conf as iers_conf

from .layout import hexagon_near_centre

TELESCOPE_NAME = "HERA"
LATITUDE_DEG = -30.721526120689507
LONGITUDE_DEG = 21.428303826863015
ALTITUDE_M = 1051.69
DISH_DIAMETER_M = 14.0

# The whole band of HERA's correlator, split into however many channels are asked for.
BAND_START_HZ = 46_920_776.3671875
BAND_WIDTH_HZ = 187_500_000.0
POLARIZATIONS = (-5, -6, -7, -8)  # xx, yy, xy, yx in the numbering that AIPS, UVH5 and MIRIAD share
OBJECT_NAME = "zenith"

SECONDS_PER_DAY = 86_400.0
MAX_ANTENNAS = 1_000
MAX_CHANNELS = 65_536
MAX_INTEGRATIONS = 10_000
MAX_PIXELS = 16_384


@contextmanager
def offline_astropy() -> Iterator[None]:
    """Keep astropy from the network for a while; dates beyond its Earth rotation tables lose up to a second of LST."""
    with ExitStack() as stack:
        stack.enter_context(iers_conf.set_temp("auto_download", False))
        stack.enter_context(iers_conf.set_temp("auto_max_age", None))
        stack.enter_context(iers_conf.set_temp("iers_degraded_accuracy", "ignore"))
        yield


def site() -> EarthLocation:
    """Centre of the array."""
    return EarthLocation.from_geodetic(LONGITUDE_DEG * units.deg, LATITUDE_DEG * units.deg, ALTITUDE_M * units.m)


@dataclass(frozen=True)
class Setup:
    """How big an observation is.

    Parameters
    ----------
    antenna_count : int
        Antennas, from the middle of a hexagon like HERA's; every pair, and every antenna with itself, is correlated.
    channel_count : int
        Channels that the band of 187.5 MHz is split into.
    integration_count : int
        Integrations per file.
    integration_seconds : float
        Length of one integration in seconds.
    image_pixels : int
        Width and height of an image.
    """

    antenna_count: int = 7
    channel_count: int = 64
    integration_count: int = 2
    integration_seconds: float = 9.663676416
    image_pixels: int = 64

    def __post_init__(self) -> None:
        for name, most in (
            ("antenna_count", MAX_ANTENNAS),
            ("channel_count", MAX_CHANNELS),
            ("integration_count", MAX_INTEGRATIONS),
            ("image_pixels", MAX_PIXELS),
        ):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be between 1 and {most}, not {getattr(self, name)}")
        if not 0.001 <= self.integration_seconds <= 3_600.0:
            raise ValueError(f"integration_seconds must be between 0.001 and 3600, not {self.integration_seconds}")

    @cached_property
    def _antennas(self) -> tuple[np.ndarray, np.ndarray]:
        return hexagon_near_centre(self.antenna_count)

    @property
    def antenna_numbers(self) -> np.ndarray:
        """Numbers of the antennas in the hexagon, ascending, shape (antennas,)."""
        return self._antennas[0]

    @property
    def antenna_names(self) -> list[str]:
        return [f"HH{number}" for number in self.antenna_numbers]

    @property
    def antenna_enu_m(self) -> np.ndarray:
        """East, north and up of each antenna from the site in metres, shape (antennas, 3)."""
        return self._antennas[1]

    @cached_property
    def baselines(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the first and the second antenna of each baseline, ordered, each of shape (baselines,)."""
        return np.triu_indices(self.antenna_count)

    @cached_property
    def baseline_enu_m(self) -> np.ndarray:
        """Second minus first antenna in metres, shape (baselines, 3): the u, v, w of data that follow the zenith."""
        first, second = self.baselines
        return self.antenna_enu_m[second] - self.antenna_enu_m[first]

    @property
    def baseline_count(self) -> int:
        return self.antenna_count * (self.antenna_count + 1) // 2

    @property
    def channel_width_hz(self) -> float:
        return BAND_WIDTH_HZ / self.channel_count

    @cached_property
    def frequencies_hz(self) -> np.ndarray:
        """Channel frequencies in Hz, ascending, shape (channels,)."""
        return BAND_START_HZ + self.channel_width_hz * np.arange(self.channel_count)

    @property
    def duration_days(self) -> float:
        return self.integration_count * self.integration_seconds / SECONDS_PER_DAY


@dataclass(frozen=True)
class Observation:
    """One run of the correlator: what every product of it has in common.

    Parameters
    ----------
    begins_jd : float
        JD (UTC) at which the first integration begins.
    setup : Setup
        Size of the observation.
    seed : int
        Seed of the contents.
    """

    begins_jd: float
    setup: Setup = Setup()
    seed: int = 0

    @cached_property
    def times_jd(self) -> np.ndarray:
        """Time stamps of the integrations (JD, UTC), each in its middle as UVH5 has it, shape (integrations,)."""
        steps = np.arange(self.setup.integration_count) + 0.5
        return self.begins_jd + steps * self.setup.integration_seconds / SECONDS_PER_DAY

    @property
    def start_jd(self) -> float:
        """First time stamp. HERA's names and obsids are made from this one, not from the integration's beginning."""
        return float(self.times_jd[0])

    @property
    def stop_jd(self) -> float:
        return float(self.times_jd[-1])

    @cached_property
    def obsid(self) -> int:
        """Whole GPS seconds of the first time stamp."""
        return int(np.floor(Time(self.start_jd, format="jd", scale="utc").gps))

    @cached_property
    def lsts_rad(self) -> np.ndarray:
        """Local apparent sidereal time at the time stamps in radians, shape (integrations,)."""
        with offline_astropy():
            times = Time(self.times_jd, format="jd", scale="utc", location=site())
            return times.sidereal_time("apparent").to_value("rad")

    @property
    def start_lst_hours(self) -> float:
        return float(self.lsts_rad[0] * 12.0 / np.pi)

    @property
    def stem(self) -> str:
        """What the names of all products of this observation begin with: `zen.<integer JD>.<fraction of 5 digits>`."""
        return f"zen.{self.start_jd:.5f}"

    @property
    def directory_name(self) -> str:
        """Integer JD in the names of the products."""
        return self.stem.split(".")[1]


@dataclass(frozen=True)
class SampleFile:
    """A file that was written, and what its header says.

    Parameters
    ----------
    path : Path
        The file, or the directory of a MIRIAD dataset.
    kind : str
        `uvh5`, `fits`, `miriad` or `log`.
    observation : Observation or None
        What a reader of the header should find; None for a log, which belongs to no observation.
    """

    path: Path
    kind: str
    observation: Observation | None

    @property
    def size_bytes(self) -> int:
        """Size of the file, or of all files in the directory."""
        if self.path.is_dir():
            return sum(item.stat().st_size for item in self.path.iterdir())
        return self.path.stat().st_size
