"""Where the antennas stand: a hexagon numbered row by row like HERA's, and the frames its positions are given in."""

import numpy as np

SPACING_M = 14.6
RING_COUNT = 10  # 331 antennas, about HERA's core; more rings only when more antennas are asked for
CENTRE_OFFSET_M = (4.1, -2.7, 0.35)  # no antenna stands exactly at the site: MIRIAD takes position zero as "unknown"


def hexagon_near_centre(antenna_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and positions of the antennas nearest to the centre of the hexagon.

    Parameters
    ----------
    antenna_count : int
        How many antennas, at least 1.

    Returns
    -------
    numbers : np.ndarray
        Numbers in the full hexagon, ascending, shape (antennas,).
    enu_m : np.ndarray
        East, north and up in metres, shape (antennas, 3).
    """
    positions = _hexagon(_rings_for(antenna_count))
    # Rounded and stable, so that antennas equally far out are picked in the order of their numbers on every machine.
    distances_m = np.round(np.hypot(positions[:, 0], positions[:, 1]), 6)
    numbers = np.sort(np.argsort(distances_m, kind="stable")[:antenna_count])
    return numbers.astype(np.int64), positions[numbers] + CENTRE_OFFSET_M


def _rings_for(antenna_count: int) -> int:
    rings = RING_COUNT
    while 1 + 3 * rings * (rings + 1) < antenna_count:
        rings += 1
    return rings


def _hexagon(rings: int) -> np.ndarray:
    """All positions of a hexagon, south to north and west to east, shape (1 + 3 rings (rings + 1), 3)."""
    rows = []
    for row in range(-rings, rings + 1):
        in_row = 2 * rings + 1 - abs(row)
        east_m = (np.arange(in_row) - (in_row - 1) / 2) * SPACING_M
        north_m = np.full(in_row, row * SPACING_M * np.sqrt(3) / 2)
        rows.append(np.stack([east_m, north_m, np.zeros(in_row)], axis=1))
    return np.concatenate(rows)


def meridian_from_enu(enu_m: np.ndarray, *, latitude_deg: float) -> np.ndarray:
    """Turn east, north, up into axes parallel to the equator: x to the local meridian, y east, z to the pole.

    Parameters
    ----------
    enu_m : np.ndarray
        East, north and up in metres, shape (antennas, 3).
    latitude_deg : float
        Geodetic latitude of the site in degrees.

    Returns
    -------
    np.ndarray
        x, y and z in metres, shape (antennas, 3). This is the frame of MIRIAD's `antpos` (there in nanoseconds).
    """
    sine, cosine = np.sin(np.radians(latitude_deg)), np.cos(np.radians(latitude_deg))
    east_m, north_m, up_m = enu_m.T
    return np.stack([cosine * up_m - sine * north_m, east_m, sine * up_m + cosine * north_m], axis=1)


def ecef_from_enu(enu_m: np.ndarray, *, latitude_deg: float, longitude_deg: float) -> np.ndarray:
    """Turn east, north, up into offsets from the site along the axes of ITRS.

    Parameters
    ----------
    enu_m : np.ndarray
        East, north and up in metres, shape (antennas, 3).
    latitude_deg, longitude_deg : float
        Geodetic position of the site in degrees, east positive.

    Returns
    -------
    np.ndarray
        x, y and z in metres, shape (antennas, 3). This is the frame of UVH5's `antenna_positions`.
    """
    sine, cosine = np.sin(np.radians(longitude_deg)), np.cos(np.radians(longitude_deg))
    x_m, y_m, z_m = meridian_from_enu(enu_m, latitude_deg=latitude_deg).T
    return np.stack([cosine * x_m - sine * y_m, sine * x_m + cosine * y_m, z_m], axis=1)
