"""What was handed over of a disk, on this machine's own disk: whoever was interrupted goes on where it was.

A line of JSON for each step, only ever appended. Losing it loses no data: a site of our kind recognises what it has
been given, and any other is given the file again.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEGUN, COPIED, STAGED = "begun", "copied", "staged"


@dataclass(frozen=True, slots=True)
class Noted:
    """How far one file had got: the site's transfer and staging place, and the step."""

    step: str
    transfer_id: int
    location: str


def default_folder() -> Path:
    """`~/.local/state/librarian/disks`, or below `XDG_STATE_HOME`."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "librarian" / "disks"


class Journal:
    """The journal of one disk and one site. Used as a context manager."""

    def __init__(self, seal: str, server: str, *, folder: Path | None = None, anew: bool = False) -> None:
        self.path = (
            folder or default_folder()
        ) / f"{hashlib.sha256(f'{seal} {server}'.encode()).hexdigest()[:32]}.jsonl"
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._noted: dict[str, Noted] = {} if anew else _read(self.path)
        self._file = self.path.open("w" if anew else "a", encoding="utf-8")
        if self._file.tell():
            self._file.write("\n")  # the last line may have been torn by a power cut

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def find(self, name: str) -> Noted | None:
        """How far a file had got; None if nothing is known of it."""
        return self._noted.get(name)

    def note(self, step: str, names: dict[str, tuple[int, str]]) -> None:
        """Note a step of files: their names, each with its transfer and place. On disk when this returns."""
        for name, (transfer_id, location) in names.items():
            self._noted[name] = Noted(step, transfer_id, location)
            line = {"name": name, "step": step, "transfer_id": transfer_id, "location": location}
            self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _read(path: Path) -> dict[str, Noted]:
    found: dict[str, Noted] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return found
    for line in lines:
        try:
            said: dict[str, Any] = json.loads(line)
            found[said["name"]] = Noted(said["step"], said["transfer_id"], said["location"])
        except (ValueError, KeyError, TypeError):
            continue  # torn, or empty
    return found
