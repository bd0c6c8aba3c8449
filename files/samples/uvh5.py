"""UVH5 visibility files as HERA's correlator writes them.

Format: pyuvdata memo "UVH5 file format", version 1.2. The zenith drifts over the array, so the phase centre is
"unprojected" and u, v, w are the baselines in east, north, up.
"""

from pathlib import Path

import h5py
import numpy as np

from .array import (
    ALTITUDE_M,
    DISH_DIAMETER_M,
    LATITUDE_DEG,
    LONGITUDE_DEG,
    OBJECT_NAME,
    POLARIZATIONS,
    TELESCOPE_NAME,
    Observation,
    SampleFile,
    Setup,
)
from .contents import channel_flags, visibility_counts
from .layout import ecef_from_enu

SUFFIX = "sum.uvh5"
COUNTS_DTYPE = np.dtype([("r", "<i4"), ("i", "<i4")])  # complex integers, the correlator's own form


def write_uvh5(directory: Path, observation: Observation, *, suffix: str = SUFFIX) -> SampleFile:
    """Write one visibility file.

    Parameters
    ----------
    directory : Path
        An existing directory.
    observation : Observation
        What to write. The file needs about 32 bytes per baseline, channel and integration for the four polarisations.
    suffix : str
        What follows the JD in the name.

    Returns
    -------
    SampleFile
        The file and its facts.

    Raises
    ------
    FileExistsError
        A file of this name is there; it is left alone.
    """
    path = directory / f"{observation.stem}.{suffix}"
    path.touch(exist_ok=False)  # claims the name; h5py's own refusal does not say which file it was
    with h5py.File(path, "w") as file:
        _put(file.create_group("Header"), _header(observation))
        _write_data(file.create_group("Data"), observation)
    return SampleFile(path=path, kind="uvh5", observation=observation)


def _header(observation: Observation) -> dict[str, object]:
    setup = observation.setup
    return {
        "version": "1.2",
        "history": f"Sample data, seed {observation.seed}.",
        "vis_units": "uncalib",
        "timesys": "UTC",
        "object_name": OBJECT_NAME,
        **_telescope(setup),
        **_axes(observation),
        **_phase_centre(observation),
        "extra_keywords": {"obs_id": observation.obsid, "tag": "engineering"},
    }


def _telescope(setup: Setup) -> dict[str, object]:
    count = setup.antenna_count
    positions_m = ecef_from_enu(setup.antenna_enu_m, latitude_deg=LATITUDE_DEG, longitude_deg=LONGITUDE_DEG)
    return {
        "telescope_name": TELESCOPE_NAME,
        "instrument": TELESCOPE_NAME,
        "telescope_frame": "itrs",
        "latitude": LATITUDE_DEG,
        "longitude": LONGITUDE_DEG,
        "altitude": ALTITUDE_M,
        "Nants_telescope": count,
        "Nants_data": count,
        "antenna_numbers": setup.antenna_numbers,
        "antenna_names": np.array(setup.antenna_names, dtype="S"),
        "antenna_positions": positions_m,
        "antenna_diameters": np.full(count, DISH_DIAMETER_M),
        "mount_type": np.full(count, b"fixed"),
        "Nfeeds": 2,
        "feed_array": np.tile(np.array([b"x", b"y"]), (count, 1)),
        "feed_angle": np.tile([0.0, np.pi / 2], (count, 1)),  # x feeds to the north
    }


def _axes(observation: Observation) -> dict[str, object]:
    setup = observation.setup
    times, baselines, channels = setup.integration_count, setup.baseline_count, setup.channel_count
    first, second = setup.baselines
    return {
        "Nblts": times * baselines,
        "Nbls": baselines,
        "Ntimes": times,
        "Nfreqs": channels,
        "Npols": len(POLARIZATIONS),
        "Nspws": 1,
        "ant_1_array": np.tile(setup.antenna_numbers[first], times),
        "ant_2_array": np.tile(setup.antenna_numbers[second], times),
        "uvw_array": np.tile(setup.baseline_enu_m, (times, 1)),
        "time_array": np.repeat(observation.times_jd, baselines),
        "lst_array": np.repeat(observation.lsts_rad, baselines),
        "integration_time": np.full(times * baselines, setup.integration_seconds),
        "blt_order": "time, baseline",
        "blts_are_rectangular": True,
        "time_axis_faster_than_bls": False,
        "freq_array": setup.frequencies_hz,
        "channel_width": np.full(channels, setup.channel_width_hz),
        "flex_spw_id_array": np.zeros(channels, dtype=np.int64),
        "spw_array": np.zeros(1, dtype=np.int64),
        "polarization_array": np.array(POLARIZATIONS, dtype=np.int64),
    }


def _phase_centre(observation: Observation) -> dict[str, object]:
    setup = observation.setup
    rows = setup.integration_count * setup.baseline_count
    catalogue = {"cat_name": OBJECT_NAME, "cat_type": "unprojected", "cat_lon": 0.0, "cat_lat": np.pi / 2}
    return {
        "Nphase": 1,
        "phase_center_catalog": {"0": {**catalogue, "cat_frame": "altaz", "info_source": "file"}},
        "phase_center_id_array": np.zeros(rows, dtype=np.int64),
        "phase_center_app_ra": np.repeat(observation.lsts_rad, setup.baseline_count),
        "phase_center_app_dec": np.full(rows, np.radians(LATITUDE_DEG)),
        "phase_center_frame_pa": np.zeros(rows),
    }


def _put(group: h5py.Group, values: dict[str, object]) -> None:
    """Write values into a group: dictionaries as groups, text as bytes of fixed length as the memo asks."""
    for name, value in values.items():
        if isinstance(value, dict):
            _put(group.create_group(name), value)
        else:
            data = np.bytes_(value) if isinstance(value, str) else value
            group.create_dataset(name, data=data, track_times=False)  # times in the file would change its bytes


def _write_data(group: h5py.Group, observation: Observation) -> None:
    setup = observation.setup
    baselines = setup.baseline_count
    shape = (setup.integration_count * baselines, setup.channel_count, len(POLARIZATIONS))
    flags_row = np.broadcast_to(channel_flags(setup)[:, None], (baselines, *shape[1:]))
    compressed = {"compression": "lzf", "track_times": False}
    visdata = group.create_dataset("visdata", shape, dtype=COUNTS_DTYPE, track_times=False)
    flags = group.create_dataset("flags", shape, dtype=bool, **compressed)
    nsamples = group.create_dataset("nsamples", shape, dtype=np.float32, **compressed)
    for integration in range(setup.integration_count):
        rows = slice(integration * baselines, (integration + 1) * baselines)
        visdata[rows] = visibility_counts(observation, integration).view(COUNTS_DTYPE)[..., 0]
        flags[rows] = flags_row
        nsamples[rows] = np.ones((baselines, *shape[1:]), dtype=np.float32)
