"""Logs of the correlator: plain text, one per integer JD, of no observation in particular."""

from collections.abc import Iterable
from pathlib import Path

from astropy.time import Time

from .array import Observation, SampleFile


def log_name(directory_name: str) -> str:
    """Name of the log of an integer JD given as text."""
    return f"correlator.{directory_name}.log"


def write_log(directory: Path, observations: Iterable[Observation]) -> SampleFile:
    """Write the log of one integer JD.

    Parameters
    ----------
    directory : Path
        An existing directory, named like the integer JD.
    observations : iterable of Observation
        The observations of that JD in order of time, at least one.

    Returns
    -------
    SampleFile
        The log; it belongs to no observation.

    Raises
    ------
    FileExistsError
        A file of this name is there; it is left alone.
    """
    path = directory / log_name(directory.name)
    with path.open("x", encoding="ascii", newline="\n") as file:
        for position, observation in enumerate(observations):
            if position == 0:
                file.write(_setup_line(observation))
            file.write(_observation_line(observation))
    return SampleFile(path=path, kind="log", observation=None)


def _setup_line(observation: Observation) -> str:
    setup = observation.setup
    return (
        f"{_utc(observation.begins_jd)} correlator INFO started: {setup.antenna_count} antennas, "
        f"{setup.channel_count} channels, {setup.integration_seconds} s per integration\n"
    )


def _observation_line(observation: Observation) -> str:
    setup = observation.setup
    return (
        f"{_utc(observation.start_jd)} correlator INFO {observation.stem} obsid {observation.obsid}: "
        f"{setup.integration_count} integrations, {setup.baseline_count} baselines, no packets lost\n"
    )


def _utc(jd: float) -> str:
    return f"{Time(jd, format='jd', scale='utc', precision=3).isot}Z"
