"""A state as people see it: word, tone, meaning. Each app keeps one table from its states to these.

And what a thing that waits waits for, in the form in which pages and endpoints tell it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Tone = Literal["good", "warn", "bad", "note", "quiet"]

# The sign drawn for each tone, since colour never speaks alone.
SIGNS: dict[str, str] = {"good": "check", "warn": "alert", "bad": "cross", "note": "info", "quiet": "dot"}


@dataclass(frozen=True, slots=True)
class Badge:
    """Word and tone of a state; `meaning` is the hint that explains it."""

    label: str
    tone: Tone = "quiet"
    meaning: str = ""


ADMINS = "an administrator of this site"
ITSELF = "nobody: it goes on by itself"


@dataclass(frozen=True, slots=True)
class Standing:
    """What something waits for: in a sentence, when it goes on by itself, and who can mend it."""

    sentence: str
    next_at: datetime | None = None
    who: str = ITSELF
