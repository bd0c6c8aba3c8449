"""How one file of a disk fared."""

from dataclasses import dataclass
from typing import Any

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError

NEW = "new"  # handed over: the site checks it and takes it in
ALREADY_HERE = "already here"  # the site holds it, or has been given it before
COMING = "coming"  # somebody else is bringing it at this moment
FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryResult:
    """One file of a manifest; `transfer_id` is the sender's, `store_ids` are the stores that hold it already."""

    name: str
    outcome: str
    size_bytes: int = 0
    transfer_id: int = -1
    store_ids: tuple[int, ...] = ()
    code: str = ""
    reason: str = ""
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As `--json` shows it."""
        said = {"code": self.code, "reason": self.reason, "suggested_remedy": self.remedy}
        return {"name": self.name, "outcome": self.outcome, **({} if not self.reason else said)}


def failed(name: str, problem: Exception, *, transfer_id: int = -1) -> EntryResult:
    """What an exception means for one file."""
    if isinstance(problem, LibrarianError | LibrarianHTTPError):
        said = {"code": problem.code, "reason": problem.reason, "remedy": problem.suggested_remedy}
    elif isinstance(problem, OSError):
        where = f"{problem.filename}: " if problem.filename else ""
        said = {"code": "os_error", "reason": f"{where}{problem.strerror or problem}.", "remedy": "Look at the disk."}
    else:
        said = {"code": "failed", "reason": str(problem), "remedy": ""}
    return EntryResult(name=name, outcome=FAILED, transfer_id=transfer_id, **said)
