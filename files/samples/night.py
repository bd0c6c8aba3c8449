"""A night of sample files: which ones it consists of, and writing them below `<directory>/<integer JD>/`.

Observations follow each other without a gap. Every one has its UVH5 file, every second one an image, every fourth one a
MIRIAD dataset; every integer JD has a log, written as its second file. A night that runs on over noon (UTC) goes on in
the directory of the next JD.
"""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

from .array import Observation, SampleFile, Setup
from .fits import write_image
from .logs import write_log
from .miriad import write_miriad
from .uvh5 import write_uvh5

DEFAULT_START_JD = 2459122.1
DEFAULT_FILE_COUNT = 24
WRITERS = {"uvh5": write_uvh5, "fits": write_image, "miriad": write_miriad}
EARLIEST_JD, LATEST_JD = 2_444_245.0, 2_500_000.0  # obsids count from 6 January 1980; further ahead UTC is a guess
SHORTEST_DAYS = 1.1e-5  # names have five decimals of a day; a little more, so that rounding never makes two the same


class PlannedFile(NamedTuple):
    """One file of a night: its kind and which observation, counted from 0, it belongs to (a log: begins with)."""

    kind: str
    observation: int


def write_night(
    directory: Path,
    *,
    start_jd: float = DEFAULT_START_JD,
    file_count: int = DEFAULT_FILE_COUNT,
    setup: Setup | None = None,
    seed: int = 0,
) -> list[Path]:
    """Write a night of files and return their paths; the options are those of `stream_night`."""
    files = stream_night(directory, start_jd=start_jd, file_count=file_count, setup=setup, seed=seed)
    return [file.path for file in files]


def stream_night(
    directory: Path,
    *,
    start_jd: float = DEFAULT_START_JD,
    file_count: int = DEFAULT_FILE_COUNT,
    setup: Setup | None = None,
    seed: int = 0,
) -> Iterator[SampleFile]:
    """Write a night file by file while the result is iterated over.

    Parameters
    ----------
    directory : Path
        Where the directories of the JDs are made; created when missing.
    start_jd : float
        JD (UTC) at which the first integration begins. Names and obsids have the middle of it, as HERA's do.
    file_count : int
        How many files altogether, a MIRIAD dataset counted as one.
    setup : Setup, optional
        Antennas, channels, integrations, pixels; small by default.
    seed : int
        Seed of the contents, not negative. The same arguments give the same bytes.

    Yields
    ------
    SampleFile
        Each file when it is complete, with the facts of its header.

    Raises
    ------
    FileExistsError
        A file of that name is there; it is left alone.
    ValueError
        An argument makes no sense.
    """
    setup = setup or Setup()
    if not EARLIEST_JD <= start_jd <= LATEST_JD:
        raise ValueError(f"start_jd must be between {EARLIEST_JD:.0f} and {LATEST_JD:.0f}, not {start_jd}")
    if file_count < 1 or seed < 0:
        raise ValueError(f"at least one file and a seed from 0 on are needed, not {file_count} files and seed {seed}")
    if setup.duration_days < SHORTEST_DAYS:
        raise ValueError("files shorter than 0.95 s could have the same names; ask for more or longer integrations")
    return _stream(directory, Night(start_jd, setup, seed), file_count)


class Night(NamedTuple):
    """The unbroken sequence of observations of a night."""

    start_jd: float
    setup: Setup
    seed: int

    def observation(self, index: int) -> Observation:
        """The observation at this place, counted from 0."""
        return Observation(self.start_jd + index * self.setup.duration_days, self.setup, self.seed)

    def plan(self) -> Iterator[PlannedFile]:
        """All files in order of writing, without end."""
        day = ""
        for index in count():
            yield PlannedFile("uvh5", index)
            if (new_day := self.observation(index).directory_name) != day:
                yield PlannedFile("log", index)
                day = new_day
            if index % 2 == 1:
                yield PlannedFile("fits", index)
            if index % 4 == 3:
                yield PlannedFile("miriad", index)

    def same_day(self, first: int, last: int) -> Iterator[Observation]:
        """The observations of the integer JD of the first, up to the last one of the night."""
        day = self.observation(first).directory_name
        for index in range(first, last + 1):
            observation = self.observation(index)
            if observation.directory_name != day:
                return
            yield observation


def _stream(directory: Path, night: Night, file_count: int) -> Iterator[SampleFile]:
    last = _last_observation(night, file_count)
    for planned in islice(night.plan(), file_count):
        observation = night.observation(planned.observation)
        day = directory / observation.directory_name
        day.mkdir(parents=True, exist_ok=True)
        if planned.kind == "log":
            yield write_log(day, night.same_day(planned.observation, last))
        else:
            yield WRITERS[planned.kind](day, observation)


def _last_observation(night: Night, file_count: int) -> int:
    """Index of the observation that the last file of the night belongs to."""
    return max(planned.observation for planned in islice(night.plan(), file_count))
