"""What the sample files hold: counts of a correlator, flags and skies, made from the seed and the observation alone."""

import numpy as np

from .array import POLARIZATIONS, Observation, Setup

BROADCAST_BAND_HZ = (88.0e6, 108.0e6)  # FM radio: flagged, as at the real site
NOISE_COUNTS = 1 << 10
AUTO_POWER_COUNTS = 1 << 20


def visibility_counts(observation: Observation, integration: int) -> np.ndarray:
    """Correlator counts of one integration.

    One integration at a time, so that the memory needed does not grow with the length of a file.

    Parameters
    ----------
    observation : Observation
        Which observation; products of the same one hold the same counts.
    integration : int
        Index of the integration.

    Returns
    -------
    np.ndarray
        Integers of shape (baselines, channels, polarisations, 2), the last axis real and imaginary part. An antenna
        with itself has positive, purely real power in xx and yy.
    """
    setup = observation.setup
    random = np.random.default_rng([observation.seed, observation.obsid, integration])
    shape = (setup.baseline_count, setup.channel_count, len(POLARIZATIONS), 2)
    counts = random.integers(-NOISE_COUNTS, NOISE_COUNTS, size=shape, dtype=np.int32)
    first, second = setup.baselines
    autos = np.flatnonzero(first == second)
    counts[autos, :, :2, 0] += AUTO_POWER_COUNTS
    counts[autos, :, :2, 1] = 0
    return counts


def channel_flags(setup: Setup) -> np.ndarray:
    """Which channels are flagged as unusable, booleans of shape (channels,)."""
    low_hz, high_hz = BROADCAST_BAND_HZ
    return (setup.frequencies_hz >= low_hz) & (setup.frequencies_hz <= high_hz)


def sky_image(observation: Observation) -> np.ndarray:
    """An image of a few point sources in noise in Jy/beam, float32 of shape (pixels, pixels)."""
    pixels = observation.setup.image_pixels
    random = np.random.default_rng([observation.seed, observation.obsid])
    image = random.normal(0.0, 0.02, size=(pixels, pixels)).astype(np.float32)
    offsets = np.arange(pixels, dtype=np.float32)
    for flux_jy, x, y in zip(random.exponential(2.0, 8), *random.uniform(0, pixels, (2, 8)), strict=True):
        beam_x, beam_y = np.exp(-((offsets - x) ** 2) / 4.5), np.exp(-((offsets - y) ** 2) / 4.5)
        image += (flux_jy * np.outer(beam_y, beam_x)).astype(np.float32)
    return image
