"""How one product fared."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

NEW = "new"
ALREADY_HERE = "already here"
RESTORED = "restored"
FAILED = "failed"

Progress = Callable[[int], None]
"""Is told how many bytes of the product went out just now; negative when a cut is resumed further back. The calls of a
delivered product add up to its size."""


@dataclass(slots=True)
class UploadResult:
    """The answer for one product.

    Attributes
    ----------
    path : str
        On this machine.
    name : str
        As filed; empty if it was not.
    outcome : str
        `new`, `already here` (same name, same bytes), `restored` (its last copy was gone) or `failed`.
    size_bytes : int
    checksum : str
        `xxh3:::<hex>`, computed here from the bytes that were sent.
    way : str
        `http`, `disk`, or empty when nothing needed to be sent.
    code, reason, remedy : str
        Why it failed.
    receipt : dict
        What the server answered.
    """

    path: str
    name: str = ""
    outcome: str = ""
    size_bytes: int = 0
    checksum: str = ""
    way: str = ""
    code: str = ""
    reason: str = ""
    remedy: str = ""
    receipt: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True if the archive holds these bytes under this name now."""
        return self.outcome in (NEW, ALREADY_HERE, RESTORED)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)
