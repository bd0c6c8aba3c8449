"""Auth levels, with the numbers of the wire protocol. A level includes all lower ones."""

from django.db import models


class Level(models.IntegerChoices):
    """What an account or token may do."""

    NONE = 0, "none"
    READONLY = 1, "read only"
    CALLBACK = 2, "callback"
    READAPPEND = 3, "read and append"
    READWRITE = 4, "read and write"
    ADMIN = 100, "admin"


MEANINGS: dict[Level, str] = {
    Level.NONE: "may do nothing",
    Level.READONLY: "may search, read and download",
    Level.CALLBACK: "may read, and report on transfers (another site)",
    Level.READAPPEND: "may read, and add files (an instrument, another site)",
    Level.READWRITE: "may read, add files, and clear errors",
    Level.ADMIN: "may do everything, here and in the staff admin",
}


def parse_level(text: str) -> Level:
    """Level of a name (`READAPPEND`, any case) or number (`3`). Raises ValueError naming the choices."""
    try:
        return Level(int(text)) if text.strip().isdigit() else Level[text.strip().upper()]
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is not a level; choose one of {', '.join(Level.names)}") from None
