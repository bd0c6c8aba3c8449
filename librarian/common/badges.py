"""A state as people see it: word, tone, meaning. Each app keeps one table from its states to these."""

from dataclasses import dataclass
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
