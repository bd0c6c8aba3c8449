"""What became of one download."""

from dataclasses import dataclass
from pathlib import Path

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError

DOWNLOADED = "downloaded"
ALREADY_HERE = "already here"
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """One file of a batch.

    Attributes
    ----------
    path : Path or None
        Where it lies now; None if it failed.
    outcome : str
        `downloaded`, `already here` (the same bytes lay there, read again for that) or `failed`.
    digest : str
        SHA-256 of a flat file, tree digest of a directory product, as computed from what arrived.
    bytes_fetched : int
        What came over the network this time.
    code, reason, remedy : str
        Why it failed and what helps; empty otherwise.
    """

    name: str
    path: Path | None
    outcome: str
    size_bytes: int = 0
    digest: str = ""
    bytes_fetched: int = 0
    code: str = ""
    reason: str = ""
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """True unless it failed."""
        return self.outcome != FAILED


def failed(name: str, problem: LibrarianError | LibrarianHTTPError, size_bytes: int = 0) -> DownloadResult:
    """The result of a download that ended with an error."""
    return DownloadResult(
        name,
        None,
        FAILED,
        size_bytes=size_bytes,
        code=problem.code,
        reason=problem.reason,
        remedy=problem.suggested_remedy,
    )
