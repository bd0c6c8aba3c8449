"""Auth levels as integers of the wire. A level includes all lower ones."""

from enum import IntEnum


class AuthLevel(IntEnum):
    """What an account may do."""

    NONE = 0
    READONLY = 1
    CALLBACK = 2
    READAPPEND = 3
    READWRITE = 4
    ADMIN = 100
