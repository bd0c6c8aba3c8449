"""What the Globus of the tests does with a task: it moves the bytes between directories that stand for collections.

A task has the fields and events that the Transfer API documents. Faults are ordered on the `Mover`.
"""

import hashlib
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BLOCK = 64 * 1024


class Ended(Exception):
    """The task failed, with the code and the words of its last event."""

    def __init__(self, code: str, description: str, details: str = "") -> None:
        super().__init__(code)
        self.code, self.description, self.details = code, description, details or description


class Task:
    """One transfer task, as it was submitted and as far as it is."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.id = str(uuid.uuid4())
        self.document = dict(document)
        self.status, self.nice_status, self.is_paused = "ACTIVE", "OK", False
        self.fatal_error: dict[str, str] | None = None
        self.bytes, self.faults, self.skipped = 0, 0, 0
        self.events: list[dict[str, Any]] = []
        self.arrived: list[dict[str, str]] = []
        self.cancelled = threading.Event()
        self.over = threading.Event()

    def note(self, code: str, description: str, details: str = "", *, is_error: bool = False) -> None:
        """Put an event on top of its list."""
        event = {"DATA_TYPE": "event", "code": code, "description": description, "details": details or description}
        self.events.insert(0, {**event, "is_error": is_error, "time": _now()})
        self.faults += is_error

    def as_json(self) -> dict[str, Any]:
        """The task document."""
        asked = self.document
        return {
            "DATA_TYPE": "task",
            "task_id": self.id,
            "type": "TRANSFER",
            "status": self.status,
            "label": asked.get("label"),
            "source_endpoint_id": asked["source_endpoint"],
            "destination_endpoint_id": asked["destination_endpoint"],
            "bytes_transferred": self.bytes,
            "faults": self.faults,
            "files": len(asked["DATA"]),
            "files_transferred": len(self.arrived),
            "files_skipped": self.skipped,
            "is_paused": self.is_paused,
            "is_ok": None if self.over.is_set() else self.nice_status == "OK",
            "nice_status": None if self.over.is_set() else self.nice_status,
            "nice_status_short_description": None if self.over.is_set() else self.nice_status.capitalize(),
            "nice_status_details": None,
            "fatal_error": self.fatal_error,
            "completion_time": _now() if self.over.is_set() else None,
            "sync_level": asked.get("sync_level"),
            "verify_checksum": asked.get("verify_checksum"),
        }


class Mover:
    """Works on tasks, one thread each.

    Attributes
    ----------
    collections : dict
        Id -> the directory that the collection shows as /.
    writable : list
        Directories into which it may write; anywhere else permission is denied.
    denied : set
        Paths (as the task names them) for which permission is denied.
    full_after : int or None
        So many bytes fit at the destination in all.
    gate : threading.Event
        Cleared, tasks wait before each file; `hold_after` bytes of a file, where given, go first.
    """

    def __init__(self) -> None:
        self.collections: dict[str, Path] = {}
        self.writable: list[Path] = []
        self.denied: set[str] = set()
        self.full_after: int | None = None
        self.hold_after: int | None = None
        self.gate = threading.Event()
        self.gate.set()

    def start(self, task: Task) -> None:
        """Work on a task in a thread of its own."""
        threading.Thread(target=self._run, args=(task,), daemon=True).start()

    def _run(self, task: Task) -> None:
        task.note("STARTED", "started")
        try:
            for item in task.document["DATA"]:
                self._pass_gate(task)
                self._bring(task, item)
            task.note("SUCCEEDED", "succeeded")
            task.status = "SUCCEEDED"
        except Ended as error:
            task.note(error.code, error.description, error.details, is_error=True)
            task.fatal_error = {"code": error.code, "description": error.description}
            task.status = "FAILED"
        task.over.set()

    def _pass_gate(self, task: Task) -> None:
        while not self.gate.wait(0.01):
            if task.cancelled.is_set():
                break
        if task.cancelled.is_set():
            raise Ended("CANCELED", "canceled by the task owner")

    def _bring(self, task: Task, item: Mapping[str, Any]) -> None:
        source = self._at(task.document["source_endpoint"], item["source_path"])
        target = self._at(task.document["destination_endpoint"], item["destination_path"])
        self._check(item["source_path"], readable=source)
        if item.get("recursive"):
            for path, relative in _below(source):
                if path.is_dir():
                    (target / relative).mkdir(parents=True, exist_ok=True)
                else:
                    names = (f"{item['source_path']}/{relative}", f"{item['destination_path']}/{relative}")
                    self._bring_file(task, path, target / relative, *names)
        elif source.is_dir():
            raise Ended("IS_A_DIRECTORY", "not recursive", _details(item["source_path"], "is a directory"))
        else:
            self._bring_file(task, source, target, item["source_path"], item["destination_path"])

    def _bring_file(self, task: Task, source: Path, target: Path, source_name: str, target_name: str) -> None:
        self._check(source_name, readable=source)
        if target_name in self.denied or not any(target.is_relative_to(folder) for folder in self.writable):
            raise Ended("PERMISSION_DENIED", "permission denied", _details(target_name, "Path not allowed."))
        if not target.parent.is_dir():
            raise Ended("FILE_NOT_FOUND", "no such directory", _details(target_name, "No such file or directory"))
        level = task.document.get("sync_level")
        if target.exists() and (level == 0 or (level == 3 and _digest(source) == _digest(target))):
            task.skipped += 1
            return
        self._copy(task, source, target, target_name)
        shutil.copystat(source, target)
        target.chmod(0o664)
        task.arrived.append({"source_path": source_name, "destination_path": target_name})

    def _copy(self, task: Task, source: Path, target: Path, target_name: str) -> None:
        with source.open("rb") as reading, target.open("wb") as writing:
            while block := reading.read(self.hold_after or BLOCK):
                if self.full_after is not None and task.bytes + len(block) > self.full_after:
                    raise Ended("QUOTA_EXCEEDED", "disk quota exceeded", _details(target_name, "quota exceeded"))
                writing.write(block)
                writing.flush()
                task.bytes += len(block)
                if self.hold_after:
                    self._pass_gate(task)

    def _check(self, name: str, *, readable: Path) -> None:
        if name in self.denied:
            raise Ended("PERMISSION_DENIED", "permission denied", _details(name, "Permission denied"))
        if not readable.exists():
            raise Ended("FILE_NOT_FOUND", "file not found", _details(name, "No such file or directory"))

    def _at(self, collection: str, path: str) -> Path:
        return self.collections[collection] / path.lstrip("/")


def _below(folder: Path) -> Iterator[tuple[Path, str]]:
    yield folder, "."
    for path in sorted(folder.rglob("*")):
        yield path, path.relative_to(folder).as_posix()


def _details(path: str, message: str) -> str:
    return (
        f"Error (transfer)\nServer: tests (Globus Connect)\nFile: {path}\nMessage: Fatal FTP response\n---\n{message}"
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
