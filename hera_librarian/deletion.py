"""Whether a copy may ever be erased."""

from enum import IntEnum


class DeletionPolicy(IntEnum):
    """Integers of the wire."""

    DISALLOWED = 0
    ALLOWED = 1

    @classmethod
    def from_str(cls, text: str) -> "DeletionPolicy":
        """Policy of a word in any case, or of its number as text.

        Everything that is not `allowed` or `1` means DISALLOWED: a slip of the pen must not permit an erasure.
        """
        return cls.ALLOWED if text.strip().lower() in ("allowed", "1") else cls.DISALLOWED
