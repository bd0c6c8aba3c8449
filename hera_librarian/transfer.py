"""States of a transfer between two Librarians."""

from enum import IntEnum


class TransferStatus(IntEnum):
    """Integers of the wire."""

    INITIATED = 0
    ONGOING = 1
    STAGED = 2
    COMPLETED = 3
    FAILED = 4
    CANCELLED = 5
