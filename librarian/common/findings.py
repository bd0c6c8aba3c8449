"""What a look at something found, in a form for people: it works, it fails, or it is doubtful, and what mends it.

Whoever knows a thing looks at it: each floor has its own looks, and `librarian.doctor` runs them all.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

LOOK_SECONDS = 30.0
WORKS, DOUBTFUL, FAILS = "works", "doubtful", "FAILS"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. `reason` says what was seen, `remedy` what to do when it does not work.

    What is doubtful works, yet a person should look at it.
    """

    works: bool
    subject: str
    reason: str = ""
    remedy: str = ""
    doubtful: bool = False

    @property
    def verdict(self) -> str:
        """`works`, `doubtful` or `FAILS`."""
        return DOUBTFUL if self.works and self.doubtful else WORKS if self.works else FAILS

    def __str__(self) -> str:
        said = f"{self.verdict}: {self.subject}{' - ' if self.reason else ''}{self.reason}"
        return f"{said.rstrip('.')}. {self.remedy}" if self.remedy else said


@dataclass(frozen=True, slots=True)
class Look:
    """Something to be looked at, possibly beside other looks and in a thread: `run` touches no database.

    Parameters
    ----------
    group : str
        What it is about, such as "store main".
    run : callable
        Yields its findings, as they come.
    subject : str
        What is looked at, for when no answer comes.
    seconds : float
        How long an answer may take.
    """

    group: str
    run: Callable[[], Iterable[Finding]]
    subject: str = "look"
    seconds: float = LOOK_SECONDS


def works(subject: str, reason: str = "") -> Finding:
    """It is as it should be."""
    return Finding(True, subject, reason)


def fails(subject: str, reason: str, remedy: str) -> Finding:
    """It has to be mended."""
    return Finding(False, subject, reason, remedy)


def doubts(subject: str, reason: str, remedy: str) -> Finding:
    """It works, and is mostly a mistake."""
    return Finding(True, subject, reason, remedy, doubtful=True)


def settled(group: str, findings: Iterable[Finding]) -> Look:
    """A look that was had already, such as one that needed the database."""
    found = list(findings)
    return Look(group, lambda: found)
