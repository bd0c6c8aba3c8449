"""MIRIAD visibility datasets, directories that are one product, as HERA's first seasons were archived.

Variables: MIRIAD User Guide, appendix "UV Variables"; beside them those with which HERA's data carry what MIRIAD has no
name for (`antnums`, `antnames`, `phsframe`, `altitude`, `visunits`, `nblts`, `obsid`, …). The bytes are in
`miriad_stream`.
"""

from pathlib import Path

import numpy as np

from .array import (
    ALTITUDE_M,
    DISH_DIAMETER_M,
    LATITUDE_DEG,
    LONGITUDE_DEG,
    OBJECT_NAME,
    POLARIZATIONS,
    SECONDS_PER_DAY,
    TELESCOPE_NAME,
    Observation,
    SampleFile,
    Setup,
)
from .contents import channel_flags, visibility_counts
from .layout import meridian_from_enu
from .miriad_stream import VariableStream, pack_header, pack_mask, write_item

SUFFIX = "HH.uv"
METRES_PER_NANOSECOND = 0.299792458
HZ_PER_GHZ = 1e9
SIDEREAL_RATE = 1.00273790935  # sidereal per solar time
FIXED_MOUNT = 7


def write_miriad(directory: Path, observation: Observation, *, suffix: str = SUFFIX) -> SampleFile:
    """Write one dataset.

    Parameters
    ----------
    directory : Path
        An existing directory; the dataset becomes a directory in it.
    observation : Observation
        What to write: the visibilities of the UVH5 file of the same observation, as 32-bit reals.
    suffix : str
        What follows the JD in the name.

    Returns
    -------
    SampleFile
        The dataset and its facts.

    Raises
    ------
    FileExistsError
        Something of this name is there; it is left alone.
    """
    path = directory / f"{observation.stem}.{suffix}"
    path.mkdir()
    with (path / "visdata").open("xb") as file:
        stream = VariableStream(file)
        _put_constants(stream, observation)
        for integration in range(observation.setup.integration_count):
            _put_integration(stream, observation, integration)
    record_count = observation.setup.integration_count * observation.setup.baseline_count * len(POLARIZATIONS)
    good = np.tile(~channel_flags(observation.setup), record_count)
    write_item(path, "flags", pack_mask(good))
    write_item(path, "vartable", stream.vartable().encode("ascii"))
    write_item(path, "history", f"Sample data, seed {observation.seed}.\n".encode("ascii"))
    counters = {"nwcorr": 0, "ncorr": good.size, "vislen": stream.size_bytes}
    write_item(path, "header", pack_header({"obstype": _obstype(observation.setup), **counters}))
    return SampleFile(path=path, kind="miriad", observation=observation)


def _obstype(setup: Setup) -> str:
    return "autocorrelation" if setup.antenna_count == 1 else "mixed-auto-cross"


def _put_constants(stream: VariableStream, observation: Observation) -> None:
    setup = observation.setup
    _put_counts(stream, setup)
    _put_band(stream, setup)
    _put_telescope(stream, setup)
    stream.put("obsid", "i", observation.obsid)
    stream.put("source", "a", OBJECT_NAME)
    stream.put("phsframe", "a", "unprojected")
    stream.put("epoch", "r", 2000.0)
    stream.put("inttime", "r", setup.integration_seconds)
    stream.put("visunits", "a", "uncalib")
    stream.put("cnt", "d", np.ones(setup.channel_count))


def _put_counts(stream: VariableStream, setup: Setup) -> None:
    stream.put("nchan", "i", setup.channel_count)
    stream.put("npol", "i", len(POLARIZATIONS))
    stream.put("ntimes", "i", setup.integration_count)
    stream.put("nbls", "i", setup.baseline_count)
    stream.put("nblts", "i", setup.baseline_count * setup.integration_count)
    stream.put("bltorder", "a", "time, baseline")


def _put_band(stream: VariableStream, setup: Setup) -> None:
    stream.put("nspect", "i", 1)
    stream.put("ischan", "i", 1)  # channels count from 1
    stream.put("nschan", "i", setup.channel_count)
    stream.put("sfreq", "d", setup.frequencies_hz[0] / HZ_PER_GHZ)
    stream.put("sdf", "d", setup.channel_width_hz / HZ_PER_GHZ)
    stream.put("restfreq", "d", 0.0)
    for name, value in (("jyperk", 1.0), ("systemp", 1.0), ("veldop", 0.0), ("vsource", 0.0)):
        stream.put(name, "r", value)  # what MIRIAD's imaging tasks insist on


def _put_telescope(stream: VariableStream, setup: Setup) -> None:
    # MIRIAD finds an antenna by its number: the table has a row for every number up to the largest, zero where unused.
    table_rows = int(setup.antenna_numbers[-1]) + 1
    positions_ns = np.zeros((table_rows, 3))
    positions_m = meridian_from_enu(setup.antenna_enu_m, latitude_deg=LATITUDE_DEG)
    positions_ns[setup.antenna_numbers] = positions_m / METRES_PER_NANOSECOND
    stream.put("telescop", "a", TELESCOPE_NAME)
    stream.put("instrume", "a", TELESCOPE_NAME)
    stream.put("latitud", "d", np.radians(LATITUDE_DEG))
    stream.put("longitu", "d", np.radians(LONGITUDE_DEG))
    stream.put("altitude", "d", ALTITUDE_M)
    stream.put("nants", "i", table_rows)
    stream.put("antpos", "d", positions_ns.T)  # all x, then all y, then all z
    if setup.antenna_count > 1:  # pyuvdata takes one number for no list; one antenna it finds by its position
        stream.put("antnums", "d", setup.antenna_numbers)
    stream.put("antnames", "a", f"[{', '.join(setup.antenna_names)}]")
    stream.put("antdiam", "d", DISH_DIAMETER_M)
    stream.put("mount", "i", FIXED_MOUNT)
    stream.put("nfeeds", "i", 2)
    stream.put("feedarr", "a", f"[{', '.join(['x', 'y'] * setup.antenna_count)}]")
    stream.put("feedang", "d", np.tile([0.0, np.pi / 2], setup.antenna_count))


def _put_integration(stream: VariableStream, observation: Observation, integration: int) -> None:
    setup = observation.setup
    # MIRIAD's time and sidereal time are those at the beginning of an integration, UVH5's those in its middle.
    half_days = setup.integration_seconds / 2 / SECONDS_PER_DAY
    lst_rad = observation.lsts_rad[integration]
    stream.put("time", "d", observation.times_jd[integration] - half_days)
    stream.put("lst", "d", lst_rad - 2 * np.pi * SIDEREAL_RATE * half_days)
    for name, angle_rad in (("ra", lst_rad), ("obsra", lst_rad), ("obspa", 0.0)):
        stream.put(name, "d", angle_rad)
    for name in ("dec", "obsdec"):
        stream.put(name, "d", np.radians(LATITUDE_DEG))
    counts = visibility_counts(observation, integration)
    for baseline, (first, second) in enumerate(zip(*setup.baselines, strict=True)):
        numbers = int(setup.antenna_numbers[first]), int(setup.antenna_numbers[second])
        stream.put("baseline", "r", baseline_number(*numbers))
        stream.put("coord", "d", setup.baseline_enu_m[baseline] / METRES_PER_NANOSECOND)
        for polarization, number in enumerate(POLARIZATIONS):
            stream.put("pol", "i", number)
            stream.put("corr", "r", counts[baseline, :, polarization])
            stream.end_record()


def baseline_number(first: int, second: int) -> int:
    """MIRIAD's one number for a pair of antennas, which it counts from 1; large arrays have a second scheme.

    Parameters
    ----------
    first, second : int
        Antenna numbers from 0, first not above second.
    """
    if second + 1 < 256:
        return 256 * (first + 1) + second + 1
    return 65_536 + 2_048 * (first + 1) + second + 1
