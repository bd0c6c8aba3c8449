"""FITS images of the sky above the array, with the header an imaging pipeline writes.

Format: FITS standard 4.0 and its world coordinate papers; four axes (right ascension, declination, frequency,
polarisation) as radio packages use them.
"""

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time

from .array import (
    ALTITUDE_M,
    BAND_START_HZ,
    BAND_WIDTH_HZ,
    LATITUDE_DEG,
    OBJECT_NAME,
    SECONDS_PER_DAY,
    TELESCOPE_NAME,
    Observation,
    SampleFile,
    site,
)
from .contents import sky_image

SUFFIX = "image.fits"
FIELD_DEG = 20.0
BEAM_DEG = 0.8


def write_image(directory: Path, observation: Observation) -> SampleFile:
    """Write one image.

    Parameters
    ----------
    directory : Path
        An existing directory.
    observation : Observation
        What was observed; `setup.image_pixels` is the width and the height.

    Returns
    -------
    SampleFile
        The file and its facts.

    Raises
    ------
    FileExistsError
        A file of this name is there; it is left alone.
    """
    path = directory / f"{observation.stem}.{SUFFIX}"
    image = fits.PrimaryHDU(sky_image(observation)[np.newaxis, np.newaxis])
    image.header.extend(_cards(observation), end=True)
    image.header.add_history(f"Sample data, seed {observation.seed}.")
    # No checksum cards: their comments hold the time of writing, which would change the bytes from run to run.
    path.touch(exist_ok=False)  # claims the name; astropy cannot write to a file opened with "x"
    with path.open("wb") as file:
        image.writeto(file)
    return SampleFile(path=path, kind="fits", observation=observation)


def _cards(observation: Observation) -> list[tuple[str, object, str]]:
    return [
        ("BUNIT", "JY/BEAM", "brightness"),
        ("BMAJ", BEAM_DEG, "[deg] beam, major axis"),
        ("BMIN", BEAM_DEG, "[deg] beam, minor axis"),
        ("BPA", 0.0, "[deg] beam, position angle"),
        *_time_cards(observation),
        *_world_cards(observation),
        *_site_cards(),
    ]


def _time_cards(observation: Observation) -> list[tuple[str, object, str]]:
    start = Time(observation.start_jd, format="jd", scale="utc", precision=6)
    exposure_s = observation.setup.duration_days * SECONDS_PER_DAY
    return [
        ("OBJECT", OBJECT_NAME, "what was observed"),
        ("TIMESYS", "UTC", "time scale"),
        ("DATE-OBS", start.isot, "first time stamp"),
        ("MJD-OBS", float(start.mjd), "[d] first time stamp"),
        ("EXPTIME", exposure_s, "[s] total integration"),
        ("OBSID", observation.obsid, "[s] first time stamp in whole GPS seconds"),
        ("LST", observation.start_lst_hours, "[h] local apparent sidereal time at DATE-OBS"),
    ]


def _world_cards(observation: Observation) -> list[tuple[str, object, str]]:
    pixels = observation.setup.image_pixels
    centre, scale_deg = (pixels + 1) / 2, FIELD_DEG / pixels
    centre_hz = BAND_START_HZ + BAND_WIDTH_HZ / 2
    axes = [
        ("RA---SIN", float(np.degrees(observation.lsts_rad[0])), centre, -scale_deg, "deg"),
        ("DEC--SIN", LATITUDE_DEG, centre, scale_deg, "deg"),
        ("FREQ", centre_hz, 1.0, BAND_WIDTH_HZ, "Hz"),
        ("STOKES", 1.0, 1.0, 1.0, ""),
    ]
    # The zenith is at the apparent sidereal time, so its right ascension is one of the date, not of J2000.
    equinox_yr = float(Time(observation.start_jd, format="jd", scale="utc").jyear)
    cards: list[tuple[str, object, str]] = [("RADESYS", "FK5", "frame"), ("EQUINOX", equinox_yr, "[yr] of date")]
    for axis, (kind, value, pixel, step, unit) in enumerate(axes, start=1):
        cards += [
            (f"CTYPE{axis}", kind, "axis"),
            (f"CRVAL{axis}", value, "value at the reference pixel"),
            (f"CRPIX{axis}", pixel, "reference pixel"),
            (f"CDELT{axis}", step, "step per pixel"),
            (f"CUNIT{axis}", unit, "unit"),
        ]
    return [*cards, ("RESTFRQ", centre_hz, "[Hz] centre of the band"), ("SPECSYS", "TOPOCENT", "frequency frame")]


def _site_cards() -> list[tuple[str, object, str]]:
    place = site()
    return [
        ("TELESCOP", TELESCOPE_NAME, "telescope"),
        ("INSTRUME", TELESCOPE_NAME, "instrument"),
        ("OBSGEO-X", float(place.x.to_value("m")), "[m] position on Earth"),
        ("OBSGEO-Y", float(place.y.to_value("m")), "[m] position on Earth"),
        ("OBSGEO-Z", float(place.z.to_value("m")), "[m] position on Earth"),
        ("ALT-OBS", ALTITUDE_M, "[m] altitude"),
    ]
