"""A Librarian of the wire protocol that is not ours, source and destination, written from the reference alone.

    python -m tests.foreign_librarian --root DIR --port N --name NAME

It has the faults that the reference (section 0) warns of, on purpose:

8.  as a sender it takes the first provider offered, whatever it is, and makes one missing directory level only;
9.  it writes STAGED to its own transfer after our answer, over whatever has become of that transfer meanwhile;
11. a manifest is brought in with the file's source for `source` and the writing Librarian for `uploader`;
19. `clone/complete` is called at most once per transfer; with the sender away one transfer is taken in per run and its
    call is lost;
20. `search/file` without a match is 404 `No files found.`, and every other failure leaves stale transfers alone.

State lies in SQLite below DIR, so it may be killed and started again. Nothing runs by itself: a task runs when
`POST /control/run` asks for it (tests.rig.foreign), one after another as in the original. XXH3 is not in the standard
library, hence `xxhash`; nothing else here is from outside of it, and nothing is of ours.
"""

import argparse
import base64
import hashlib
import http.client
import json
import os
import shutil
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import xxhash

NONE, READONLY, CALLBACK, READAPPEND, ADMIN = 0, 1, 2, 3, 100
INITIATED, ONGOING, STAGED, COMPLETED, FAILED, CANCELLED = range(6)
STATUS = ("INITIATED", "ONGOING", "STAGED", "COMPLETED", "FAILED", "CANCELLED")
LIVE = (INITIATED, ONGOING, STAGED)
ALLOWED = {INITIATED: (1, 2, 4, 5), ONGOING: (2, 4, 5), STAGED: (4, 5), COMPLETED: (), FAILED: (), CANCELLED: ()}
LONGEST_TEXT, LARGEST_ID = 256, 2**31 - 1
REMEDY = "Ask the people who run this site."

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, password TEXT, level INTEGER);
CREATE TABLE IF NOT EXISTS librarians (id INTEGER PRIMARY KEY, name TEXT UNIQUE, url TEXT, port INTEGER,
    authenticator TEXT, transfers_enabled INTEGER DEFAULT 1);
CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, create_time TEXT, size INTEGER, checksum TEXT, uploader TEXT,
    source TEXT);
CREATE TABLE IF NOT EXISTS instances (id INTEGER PRIMARY KEY, path TEXT, file_name TEXT, store_id INTEGER,
    created_time TEXT, deletion_policy INTEGER DEFAULT 0, available INTEGER DEFAULT 1);
CREATE TABLE IF NOT EXISTS remote_instances (id INTEGER PRIMARY KEY, file_name TEXT, store_id INTEGER,
    librarian_name TEXT, copy_time TEXT, sender TEXT);
CREATE TABLE IF NOT EXISTS incoming (id INTEGER PRIMARY KEY AUTOINCREMENT, status INTEGER DEFAULT 0, source TEXT,
    uploader TEXT, upload_name TEXT, size INTEGER, checksum TEXT, store_path TEXT, staging_path TEXT,
    source_transfer_id INTEGER, start_time TEXT, end_time TEXT);
CREATE TABLE IF NOT EXISTS outgoing (id INTEGER PRIMARY KEY AUTOINCREMENT, status INTEGER DEFAULT 0, destination TEXT,
    file_name TEXT, remote_transfer_id INTEGER, source_path TEXT, dest_path TEXT, send_queue_id INTEGER,
    start_time TEXT, end_time TEXT);
CREATE TABLE IF NOT EXISTS send_queue (id INTEGER PRIMARY KEY, destination TEXT, manager TEXT, priority INTEGER
    DEFAULT 0, retries INTEGER DEFAULT 0, consumed INTEGER DEFAULT 0, completed INTEGER DEFAULT 0,
    failed INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS knobs (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS calls (id INTEGER PRIMARY KEY, endpoint TEXT, user TEXT, body TEXT, status INTEGER);
"""
TABLES = ("files", "instances", "remote_instances", "incoming", "outgoing", "send_queue", "calls")
KNOBS: dict[str, Any] = {
    "faults": [],  # [{"endpoint", "what": late | garbage | cut_before | cut_after | fail, "times", "seconds"}]
    "lie_about_checksum": False,  # search/file gives the checksum of other bytes
    "completes_without_bytes": False,  # the receive task calls back without having looked
    "nothing_found_reason": "No files found.",
    "offers": None,  # async_transfer_providers in place of the usual
    "free_bytes": 10**12,
    "pause_before_staged_seconds": 0,  # between the peer's answer and our own STAGED
    "pretends_to_be": "",  # `source` of its offers
}


def now() -> str:
    """The present as on the wire: naive, UTC."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


# --- Sizes and checksums (reference 3.3, 3.4) -------------------------------------------------------------------------


def split_checksum(text: str) -> tuple[str, str]:
    algorithm, separator, digest = text.partition(":::")
    known = separator and algorithm in ("md5", "xxh3", "sha1", "sha256", "sha512")
    return (algorithm, digest) if known else ("md5", text)


def same_checksum(one: str, other: str) -> bool:
    return split_checksum(one) == split_checksum(other)


def new_hasher(algorithm: str) -> Any:
    return xxhash.xxh3_128() if algorithm == "xxh3" else hashlib.new(algorithm)


def files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())


def size_of(path: Path) -> int:
    return sum(each.stat().st_size for each in files_of(path))


def checksum_of(path: Path, algorithm: str = "xxh3") -> str:
    def one(content: bytes) -> str:
        hasher = new_hasher(algorithm)
        hasher.update(content)
        return hasher.hexdigest()

    if path.is_dir():
        return f"{algorithm}:::{one(''.join(sorted(one(each.read_bytes()) for each in files_of(path))).encode())}"
    return f"{algorithm}:::{one(path.read_bytes())}"


# --- State ------------------------------------------------------------------------------------------------------------


class Book:
    """Rows. One statement at a time, or several in `together`."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(SCHEMA)

    @contextmanager
    def together(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def all(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(row) for row in self._connection.execute(statement, values)]

    def one(self, statement: str, *values: Any) -> dict[str, Any] | None:
        found = self.all(statement, *values)
        return found[0] if found else None

    def insert(self, table: str, **columns: Any) -> int:
        for name, value in columns.items():  # varchar(256) and 32-bit columns of the original's PostgreSQL
            if isinstance(value, str) and len(value) > LONGEST_TEXT and table not in ("calls", "send_queue"):
                raise ValueError(f"value too long for type character varying(256): {table}.{name}")
            if name.endswith("_id") and value is not None and not -1 <= value <= LARGEST_ID:
                raise ValueError(f"integer out of range: {table}.{name}")
        marks = ", ".join("?" * len(columns))
        with self._lock:
            statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
            return int(self._connection.execute(statement, tuple(columns.values())).lastrowid or 0)

    def update(self, table: str, ids: list[int], **columns: Any) -> None:
        changes = ", ".join(f"{name} = ?" for name in columns)
        with self._lock:
            for row_id in ids:
                self._connection.execute(f"UPDATE {table} SET {changes} WHERE id = ?", (*columns.values(), row_id))

    def knob(self, name: str) -> Any:
        found = self.one("SELECT value FROM knobs WHERE name = ?", name)
        return json.loads(found["value"]) if found else KNOBS[name]

    def turn(self, name: str, value: Any) -> None:
        if name not in KNOBS:
            raise KeyError(name)
        self.all("INSERT OR REPLACE INTO knobs VALUES (?, ?)", name, json.dumps(value))


# --- Calling a peer (reference 1.5) -----------------------------------------------------------------------------------


class NoAnswer(Exception):
    """LibrarianTimeoutError of the original."""


class CallFailed(Exception):
    """LibrarianHTTPError of the original."""

    def __init__(self, status: int, content: dict[str, Any]) -> None:
        self.status, self.content = status, content
        self.reason = content.get("reason", "<no reason provided>")
        super().__init__(f"{status}: {self.reason}")


def call(peer: dict[str, Any], endpoint: str, **message: Any) -> Any:
    """One request, as the original's client makes it: a dict or list under `detail` lets a TypeError escape."""
    root = urlsplit(peer["url"])
    kind = http.client.HTTPSConnection if root.scheme == "https" else http.client.HTTPConnection
    connection = kind(root.hostname or "", peer["port"], timeout=30)
    credential = base64.b64encode(peer["authenticator"].encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {credential}"}
    body = json.dumps(message, separators=(",", ":")).encode()
    try:
        connection.request("POST", f"{root.path.rstrip('/')}/api/v2/{endpoint}", body, headers)
        answer = connection.getresponse()
        raw = answer.read()
    except (OSError, http.client.HTTPException) as problem:
        raise NoAnswer(str(problem)) from problem
    finally:
        connection.close()
    if answer.status // 100 != 2:
        try:
            content = json.loads(raw)
        except ValueError:
            content = {}
        if "detail" in content:
            try:
                content = json.loads(content["detail"])
            except ValueError:
                content = {}
        raise CallFailed(answer.status, content)
    return json.loads(raw)


def shape_of(manager: dict[str, Any]) -> str:
    """Kind of a provider by its shape; ValueError (the original's ValidationError) for one that matches none."""
    for kind, field, wanted in (
        ("globus", "destination_endpoint", str),
        ("rsync", "hostname", str),
        ("local", "hostnames", list),
    ):
        if isinstance(manager.get(field), wanted):
            return kind
    raise ValueError(f"validation error: {manager} is no transfer manager")


# --- The Librarian ----------------------------------------------------------------------------------------------------


class Refused(Exception):
    """A failure answer, in whatever shape the endpoint gives it."""

    def __init__(self, status: int, content: Any) -> None:
        self.status, self.content = status, content


def refusal(status: int, reason: str, **more: Any) -> Refused:
    return Refused(status, {"reason": reason, "suggested_remedy": REMEDY, **more})


def in_detail(refused: Refused) -> Refused:
    """The failure as JSON text under `detail`."""
    return Refused(refused.status, {"detail": json.dumps(refused.content)})


class Librarian:
    """Rows, store and staging of the foreign site, and what both its halves do with them."""

    def __init__(self, root: Path, name: str, port: int, store_id: int) -> None:
        self.name, self.port, self.store_id = name, port, store_id
        self.store, self.staging = root / "store", root / "staging"
        for folder in (self.store, self.staging):
            folder.mkdir(parents=True, exist_ok=True)
        self.book = Book(root / "librarian.sqlite3")
        self.background = threading.Lock()

    def level_of(self, user: str, password: str) -> int:
        found = self.book.one("SELECT level FROM users WHERE name = ? AND password = ?", user, password)
        return found["level"] if found else NONE

    def peer(self, name: str) -> dict[str, Any] | None:
        return self.book.one("SELECT * FROM librarians WHERE name = ?", name)

    def add_file(self, name: str, path: Path, *, uploader: str, source: str, checksum: str = "") -> None:
        """Rows for a product that lies in the store."""
        facts = {"size": size_of(path), "checksum": checksum or checksum_of(path)}
        with self.book.together():
            self.book.insert("files", name=name, create_time=now(), uploader=uploader, source=source, **facts)
            place = {"path": str(path), "store_id": self.store_id, "created_time": now()}
            self.book.insert("instances", file_name=name, **place)

    def add_remote_instance(self, file_name: str, librarian: str, store_id: int) -> None:
        facts = {"librarian_name": librarian, "store_id": store_id, "copy_time": now(), "sender": self.name}
        self.book.insert("remote_instances", file_name=file_name, **facts)

    # --- Endpoints: destination ---------------------------------------------------------------------------------------

    def _expect(self, item: dict[str, Any], *, source: str, user: str) -> dict[str, Any]:
        """Row and staging of one incoming file. Only the random directory is made, not what lies between."""
        token = str(uuid.uuid4())
        transfer = self.book.insert(
            "incoming",
            source=source,
            uploader=user,
            upload_name=item["upload_name"],
            size=item["upload_size"],
            checksum=item["upload_checksum"],
            store_path=item["destination_location"],
            staging_path=token,
            source_transfer_id=item["source_transfer_id"],
            start_time=now(),
        )
        (self.staging / token).mkdir(mode=0o777)
        return {
            "staging_name": token,
            "staging_location": f"{self.staging.resolve()}/{token}/{item['upload_name']}",
            "upload_name": item["upload_name"],
            "destination_location": item["destination_location"],
            "source_transfer_id": item["source_transfer_id"],
            "destination_transfer_id": transfer,
        }

    def _conflict(self, item: dict[str, Any]) -> tuple[int, int] | None:
        """(status, id) of what stands in the way of an item. An older transfer INITIATED or STAGED is failed by it."""
        if self.book.one("SELECT 1 FROM files WHERE name = ?", item["destination_location"]):
            return 409, -1
        statement = "SELECT * FROM incoming WHERE checksum = ? AND store_path = ? AND status IN (0, 1, 2)"
        older = self.book.all(statement, item["upload_checksum"], item["destination_location"])
        if len(older) > 1:
            raise RuntimeError("Multiple rows were found when one or none was required")
        if not older:
            return None
        if older[0]["status"] == ONGOING:
            return 425, older[0]["id"]
        shutil.rmtree(self.staging / older[0]["staging_path"], ignore_errors=True)
        self.book.update("incoming", [older[0]["id"]], status=FAILED, end_time=now())
        return 406, older[0]["id"]

    def _check_room(self, size: int, **ids: Any) -> None:
        if size < 0:
            raise in_detail(refusal(400, "Upload size must be positive.", **ids))
        if size >= self.book.knob("free_bytes"):
            reason = "No stores available for upload. Your upload is too large."
            raise in_detail(refusal(413, reason, **ids))

    CONFLICTS = {
        425: "Transfer is ongoing.",
        409: "File already exists on librarian.",
        406: "Transfer was already initiated or staged.",
    }

    def clone_stage(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        ids = {"source_transfer_id": body["source_transfer_id"], "destination_transfer_id": -1}
        self._check_room(body["upload_size"], **ids)
        if conflict := self._conflict(body):
            status, older = conflict
            raise in_detail(refusal(status, self.CONFLICTS[status], **{**ids, "destination_transfer_id": older}))
        staged = self._expect(body, source=body["source"], user=user)
        providers = {"local": {"hostnames": [socket.gethostname()]}}
        return 201, {**self._store(), **staged, "transfer_providers": providers}

    def clone_batch_stage(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        """All or nothing, one failure for the whole batch: 425 before 409 before 406."""
        self._check_room(body["total_size"], source_transfer_id=-1, destination_transfer_id=-1)
        found: dict[int, list[int]] = {}
        for item in body["uploads"]:
            if conflict := self._conflict(item):
                found.setdefault(conflict[0], []).append(item["source_transfer_id"])
        for status in (425, 409, 406):
            if ids := found.get(status):
                none = [-1] * len(ids)
                reason = self.CONFLICTS[status]
                raise refusal(status, reason, source_transfer_ids=ids, destination_transfer_ids=none)
        with self.book.together():
            staged = [self._expect(item, source=body["source"], user=user) for item in body["uploads"]]
        usual = {
            "local": {
                "hostnames": [socket.gethostname()],
                "transfer_attempted": False,
                "transfer_complete": False,
                "start_time_transfer": None,
                "bytes_transfer": None,
            }
        }
        chosen = self.book.knob("offers")
        offers = usual if chosen is None else chosen
        return 201, {**self._store(), "uploads": staged, "async_transfer_providers": offers}

    def _store(self) -> dict[str, Any]:
        return {"available_bytes_on_store": self.book.knob("free_bytes"), "store_name": "local_store"}

    def _advance(self, body: dict[str, Any], before: int, after: int) -> dict[str, Any]:
        """One step of an incoming transfer, without asking whose it is; a repetition fails."""
        ids = {key: body[key] for key in ("source_transfer_id", "destination_transfer_id")}
        found = self.book.one("SELECT * FROM incoming WHERE id = ?", ids["destination_transfer_id"])
        if found is None:
            raise refusal(404, "Could not find transfer.", **ids)
        if found["status"] != before:
            raise refusal(406, f"Transfer is not in {STATUS[before]} status.", **ids)
        self.book.update("incoming", [found["id"]], status=after)
        return ids

    def clone_ongoing(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        return 200, self._advance(body, INITIATED, ONGOING)

    def clone_staged(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        return 200, {**self._advance(body, ONGOING, STAGED), "success": True}

    def clone_fail(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        """FAILED from any state, even COMPLETED; what is staged stays."""
        ids = {key: body[key] for key in ("source_transfer_id", "destination_transfer_id")}
        found = self.book.one("SELECT * FROM incoming WHERE id = ?", ids["destination_transfer_id"])
        if found is None or (level != ADMIN and found["uploader"] != user):
            raise refusal(404, f"Could not find transfer with ID {ids['destination_transfer_id']}.", **ids)
        self.book.update("incoming", [found["id"]], status=FAILED)
        return 200, {**ids, "success": True}

    # --- Endpoints: source --------------------------------------------------------------------------------------------

    def clone_complete(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        ids = {key: body[key] for key in ("source_transfer_id", "destination_transfer_id")}
        found = self.book.one("SELECT * FROM outgoing WHERE id = ?", ids["source_transfer_id"])
        if found is None or (level != ADMIN and found["destination"] != user):
            raise refusal(400, "Could not find transfer.", **ids)
        if found["status"] not in (ONGOING, STAGED):
            raise refusal(406, "Transfer is not in ONGOING or STAGED status.", **ids)
        if self.peer(found["destination"]) is None:
            raise refusal(400, f"Could not find librarian {found['destination']}.", **ids)
        with self.book.together():
            self.book.update("outgoing", [found["id"]], status=COMPLETED)
            self.add_remote_instance(found["file_name"], found["destination"], body["store_id"])
        return 200, ids

    # --- Endpoints: both ----------------------------------------------------------------------------------------------

    def _transfer(self, side: str, transfer_id: int) -> dict[str, Any] | None:
        return self.book.one(f"SELECT * FROM {side} WHERE id = ?", transfer_id)

    def _may(self, side: str, row: dict[str, Any], user: str, level: int) -> bool:
        owners = (row["destination"],) if side == "outgoing" else (row["source"], row["uploader"])
        return level == ADMIN or user in owners

    def checkin_update(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        answer: dict[str, Any] = {}
        reasons = set()
        for word, side in (("source", "outgoing"), ("destination", "incoming")):
            done, left = [], []
            for transfer_id in body[f"{word}_transfer_ids"]:
                row = self._transfer(side, transfer_id)
                if row is None:
                    reasons.add(f"No {word} transfer with the appropriate ID was found.")
                elif not self._may(side, row, user, level):
                    reasons.add("You are not authorized to modify the transfer.")
                elif body["new_status"] not in ALLOWED[row["status"]]:
                    step = f"TransferStatus.{STATUS[row['status']]} to TransferStatus.{STATUS[body['new_status']]}"
                    reasons.add(f"Transition from {step} is not permitted.")
                else:
                    self.book.update(side, [transfer_id], status=body["new_status"])
                    done.append(transfer_id)
                    continue
                left.append(transfer_id)
            answer[f"modified_{word}_transfer_ids"], answer[f"unmodified_{word}_transfer_ids"] = done, left
        return 200, {**answer, "reasons": sorted(reasons)}

    def checkin_status(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        answer = {}
        for word, side in (("source", "outgoing"), ("destination", "incoming")):
            states = {}
            for transfer_id in body[f"{word}_transfer_ids"]:
                row = self._transfer(side, transfer_id)
                states[str(transfer_id)] = row["status"] if row and self._may(side, row, user, level) else None
            answer[f"{word}_transfer_status"] = states
        return 200, answer

    def search_file(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        wanted = {key: body.get(key) for key in ("name", "uploader", "source") if body.get(key) is not None}
        condition = " AND ".join(f"{key} = ?" for key in wanted) or "1"
        most = min(int(body.get("max_results") or 64), 64)
        statement = f"SELECT * FROM files WHERE {condition} ORDER BY create_time DESC LIMIT {max(0, most)}"
        found = self.book.all(statement, *wanted.values())
        if not found:
            raise refusal(404, self.book.knob("nothing_found_reason"))
        return 200, [self._described(file) for file in found]

    def _described(self, file: dict[str, Any]) -> dict[str, Any]:
        if self.book.knob("lie_about_checksum"):
            algorithm, digest = split_checksum(file["checksum"])
            file = {**file, "checksum": f"{algorithm}:::{'0' * len(digest)}"}
        instances = self.book.all("SELECT * FROM instances WHERE file_name = ?", file["name"])
        remote = self.book.all("SELECT * FROM remote_instances WHERE file_name = ?", file["name"])
        nothing = {"id": None, "file_name": None}
        return {
            **file,
            "instances": [{**each, **nothing, "available": bool(each["available"])} for each in instances],
            "remote_instances": [{**each, **nothing, "store_id": None, "sender": None} for each in remote],
        }

    def search_instance_remote(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        found = self.book.all("SELECT * FROM remote_instances ORDER BY id DESC")
        wanted = {key: body[key] for key in ("id", "file_name", "store_id", "sender") if body.get(key) is not None}
        found = [row for row in found if all(row[key] == value for key, value in wanted.items())]
        if not found:
            raise refusal(404, "No instances found.")
        return 200, found[:64]

    def corrupt(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        """It sends nothing again; its failures have an object under `detail`."""
        known = body["librarian_name"] == user and self.peer(user)
        status, reason = (409, "We are not able to send you files") if known else (401, "Unauthorized")
        raise Refused(status, {"detail": {"reason": reason, "suggested_remedy": REMEDY}})

    def ping(self, user: str, level: int, body: dict[str, Any]) -> tuple[int, Any]:
        return 200, {"name": f"Site {self.name}", "description": "a Librarian that is not ours"}

    # --- Tasks: source (reference 4.1) --------------------------------------------------------------------------------

    def send_clone(self, destination: str, batch_size: int = 128) -> dict[str, Any]:
        """Choose, offer, queue, and say ONGOING. One refused file fails the batch and ends the run."""
        peer = self.peer(destination)
        try:
            call(peer, "ping/")
        except (NoAnswer, CallFailed) as problem:
            return {"skipped": str(problem)}
        statement = """
            SELECT f.*, i.path FROM files f JOIN instances i ON i.file_name = f.name AND i.available
            WHERE NOT EXISTS (SELECT 1 FROM remote_instances r WHERE r.file_name = f.name AND r.librarian_name = ?)
            AND NOT EXISTS (SELECT 1 FROM outgoing o WHERE o.file_name = f.name AND o.destination = ?
            AND o.status IN (0, 1, 2)) GROUP BY f.name ORDER BY f.create_time"""
        files, sent = self.book.all(statement, destination, destination), 0
        for first in range(0, len(files), batch_size):
            batch = files[first : first + batch_size]
            with self.book.together():
                start = {"destination": destination, "start_time": now()}
                ids = [self.book.insert("outgoing", file_name=f["name"], source_path=f["path"], **start) for f in batch]
            if not self._offer(peer, batch, ids):
                return {"sent": sent, "refused": len(batch)}
            sent += len(batch)
        return {"sent": sent}

    def _offer(self, peer: dict[str, Any], batch: list[dict[str, Any]], ids: list[int]) -> bool:
        uploads = [
            {
                "upload_size": file["size"],
                "upload_checksum": file["checksum"],
                "upload_name": file["name"],
                "destination_location": file["name"],
                "uploader": file["uploader"],
                "source_transfer_id": transfer,
            }
            for file, transfer in zip(batch, ids, strict=True)
        ]
        source = self.book.knob("pretends_to_be") or self.name
        total = sum(file["size"] for file in batch)
        try:
            answer = call(peer, "clone/batch_stage", uploads=uploads, source=source, total_size=total)
        except (NoAnswer, CallFailed) as problem:
            if isinstance(problem, CallFailed) and problem.status == 409:
                for transfer in problem.content.get("source_transfer_ids", []):
                    self._handle_existing(peer, transfer)
            self.book.update("outgoing", ids, status=FAILED, end_time=now())
            return False
        kinds = [shape_of(manager) for manager in answer["async_transfer_providers"].values()]
        self._queue(peer, answer, kinds, ids)
        return True

    def _handle_existing(self, peer: dict[str, Any], transfer: int) -> None:
        """B says that it has the file: look whether it is the same, and remember that copy."""
        row = self._transfer("outgoing", transfer)
        file = self.book.one("SELECT * FROM files WHERE name = ?", row["file_name"])
        try:
            call(peer, "ping/")
            found = call(peer, "search/file", name=row["file_name"])
        except (NoAnswer, CallFailed):
            return
        checksums = {each["checksum"] for each in found}
        if len(checksums) == 1 and same_checksum(checksums.pop(), file["checksum"]):
            stores = [instance["store_id"] for each in found for instance in each["instances"]]
            self.add_remote_instance(row["file_name"], peer["name"], int(stores[0]))

    def _queue(self, peer: dict[str, Any], answer: dict[str, Any], kinds: list[str], ids: list[int]) -> None:
        told = {each["source_transfer_id"]: each for each in answer["uploads"]}
        self.book.update("outgoing", [each for each in ids if each not in told], status=FAILED, end_time=now())
        ids = [each for each in ids if each in told]
        if not kinds:  # B is not told; its transfers stay INITIATED and answer the next offer with 406
            self.book.update("outgoing", ids, status=FAILED, end_time=now())
            return
        with self.book.together():
            item = self.book.insert("send_queue", destination=peer["name"], manager=kinds[0])
            for each in ids:
                place, remote = told[each]["staging_location"], told[each]["destination_transfer_id"]
                if len(place) > LONGEST_TEXT or not 0 <= remote <= LARGEST_ID:
                    raise ValueError("value out of range for its column")
                self.book.update("outgoing", [each], dest_path=place, remote_transfer_id=remote, send_queue_id=item)
        remote = [told[each]["destination_transfer_id"] for each in ids]
        if self._say(peer, remote, ONGOING):
            self.book.update("outgoing", ids, status=ONGOING)

    def _say(self, peer: dict[str, Any], remote: list[int], status: int) -> bool:
        """`checkin/update` about B's transfers; a failure is only logged."""
        message = {"source_transfer_ids": [], "destination_transfer_ids": remote, "new_status": status}
        try:
            call(peer, "checkin/update", **message)
        except (NoAnswer, CallFailed):
            return False
        return True

    def consume_queue(self) -> dict[str, Any]:
        """Move the bytes of one batch. An exception ends the task before the attempt is counted."""
        item = self.book.one("SELECT * FROM send_queue WHERE NOT consumed AND NOT failed ORDER BY priority DESC, id")
        if item is None:
            return {"items": 0}
        if item["manager"] == "rsync":
            raise AttributeError("module 'sysrsync' has no attribute 'RsyncError'")
        if item["manager"] == "globus":
            self._fail_item(item)  # nobody is logged in there
            return {"items": 1, "failed": 1}
        for transfer in self.book.all("SELECT * FROM outgoing WHERE send_queue_id = ?", item["id"]):
            self._copy(Path(transfer["source_path"]), Path(transfer["dest_path"]))
        self.book.update("send_queue", [item["id"]], consumed=1)
        return {"items": 1}

    def _copy(self, source: Path, target: Path) -> None:
        if not target.parent.exists():
            os.mkdir(target.parent, 0o775)  # one level; a second missing one raises FileNotFoundError
        if source.is_dir():
            shutil.copytree(source, target)
            os.chmod(target, 0o775)
        else:
            shutil.copy2(source, target)
            os.chmod(target, 0o664)

    def _fail_item(self, item: dict[str, Any]) -> None:
        for transfer in self.book.all("SELECT * FROM outgoing WHERE send_queue_id = ?", item["id"]):
            self._fail_outgoing(transfer)
        self.book.update("send_queue", [item["id"]], failed=1, completed=1)

    def _fail_outgoing(self, transfer: dict[str, Any]) -> None:
        self.book.update("outgoing", [transfer["id"]], status=FAILED, end_time=now())
        ids = {"source_transfer_id": transfer["id"], "destination_transfer_id": transfer["remote_transfer_id"]}
        peer = self.peer(transfer["destination"])
        if transfer["remote_transfer_id"] is not None and peer is not None:
            try:
                call(peer, "clone/fail", reason="Transfer failed on source librarian.", **ids)
            except (NoAnswer, CallFailed):
                pass  # only logged

    def check_consumed_queue(self) -> dict[str, Any]:
        """Say STAGED, and then write STAGED to every transfer of the batch, whatever B said and whatever it is now."""
        items = self.book.all("SELECT * FROM send_queue WHERE consumed AND NOT completed")
        for item in items:
            transfers = self.book.all("SELECT * FROM outgoing WHERE send_queue_id = ?", item["id"])
            remote = [each["remote_transfer_id"] for each in transfers]
            if not self._say(self.peer(item["destination"]), remote, STAGED):
                continue
            time.sleep(self.book.knob("pause_before_staged_seconds"))
            self.book.update("outgoing", [each["id"] for each in transfers], status=STAGED)
            self.book.update("send_queue", [item["id"]], completed=1)
        return {"items": len(items)}

    def outgoing_transfer_hypervisor(self, older_than_seconds: float = 0) -> dict[str, Any]:
        done = []
        for transfer in self._stale("outgoing", older_than_seconds):
            peer = self.peer(transfer["destination"])
            if peer is not None:
                done.append(self._settle_outgoing(transfer, peer))
        return {"settled": done}

    def forget_file(self, name: str) -> None:
        """Take a file out of the catalogue, as its people do with one that must not be sent."""
        for table, column in (("files", "name"), ("instances", "file_name"), ("outgoing", "file_name")):
            self.book.all(f"DELETE FROM {table} WHERE {column} = ?", name)

    def give_up_in_silence(self, name: str) -> dict[str, Any]:
        """Fail the live transfers of a file, and never tell: what a database from before an offer comes to."""
        rows = self.book.all("SELECT * FROM outgoing WHERE file_name = ? AND status IN (0, 1, 2)", name)
        self.book.update("outgoing", [row["id"] for row in rows], status=FAILED, end_time=now())
        self.book.update("send_queue", [row["send_queue_id"] for row in rows], failed=1, completed=1)
        return {"given_up": len(rows)}

    def _settle_outgoing(self, transfer: dict[str, Any], peer: dict[str, Any]) -> str:
        file = self.book.one("SELECT * FROM files WHERE name = ?", transfer["file_name"])
        try:
            call(peer, "ping/")
            found = call(peer, "search/file", name=transfer["file_name"])
        except NoAnswer:
            return "skipped"
        except CallFailed as problem:
            if problem.status != 404 or problem.reason != "No files found.":
                return "skipped"
            found = []
        checksums = {each["checksum"] for each in found}
        if len(checksums) != 1 or not same_checksum(checksums.pop(), file["checksum"]):
            self._fail_outgoing(transfer)
            return "failed"
        stores = [instance["store_id"] for each in found for instance in each["instances"]]
        with self.book.together():
            self.add_remote_instance(transfer["file_name"], peer["name"], int(stores[0]))
            self.book.update("outgoing", [transfer["id"]], status=COMPLETED, end_time=now())
        return "completed"

    def duplicate_remote_instance_hypervisor(self) -> dict[str, Any]:
        statement = "SELECT * FROM remote_instances ORDER BY copy_time"
        seen, doubles = set(), []
        for row in self.book.all(statement):
            key = (row["file_name"], row["store_id"], row["librarian_name"])
            doubles += [row["id"]] if key in seen else []
            seen.add(key)
        for row_id in doubles:
            self.book.all("DELETE FROM remote_instances WHERE id = ?", row_id)
        return {"removed": len(doubles)}

    def _stale(self, side: str, older_than_seconds: float) -> list[dict[str, Any]]:
        before = (datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=older_than_seconds)).isoformat()
        return self.book.all(f"SELECT * FROM {side} WHERE status IN (0, 1, 2) AND start_time <= ?", before)

    # --- Tasks: destination -------------------------------------------------------------------------------------------

    def recieve_clone(self) -> dict[str, Any]:
        """Take in what is STAGED, and call back once. With the sender away the first call ends the run."""
        taken, failed = 0, 0
        for transfer in self.book.all("SELECT * FROM incoming WHERE status = 2 ORDER BY id"):
            try:
                self._take_in(transfer)
            except ValueError:
                self._fail_incoming(transfer)
                failed += 1
                continue
            taken += 1
            peer = self.peer(transfer["source"])
            if peer is None:
                continue
            ids = {
                "source_transfer_id": transfer["source_transfer_id"],
                "destination_transfer_id": transfer["id"],
            }
            try:
                call(peer, "clone/complete", store_id=self.store_id, **ids)
            except CallFailed:
                pass  # only logged, never repeated
        return {"taken": taken, "failed": failed}

    def _take_in(self, transfer: dict[str, Any]) -> None:
        if self.book.knob("completes_without_bytes"):
            self.book.update("incoming", [transfer["id"]], status=COMPLETED, end_time=now())
            return
        staged = self.staging / transfer["staging_path"] / transfer["upload_name"]
        algorithm, _ = split_checksum(transfer["checksum"])
        if not staged.exists() or size_of(staged) != transfer["size"]:
            raise ValueError("size")
        if not same_checksum(checksum_of(staged, algorithm), transfer["checksum"]):
            raise ValueError("checksum")
        placed = self.store / transfer["store_path"]
        if placed.exists():
            raise ValueError("exists")
        placed.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(staged, placed)
        shutil.rmtree(self.staging / transfer["staging_path"], ignore_errors=True)
        who = {"uploader": transfer["uploader"], "source": transfer["source"]}
        self.add_file(transfer["store_path"], placed, checksum=transfer["checksum"], **who)
        self.book.update("incoming", [transfer["id"]], status=COMPLETED, end_time=now())

    def _fail_incoming(self, transfer: dict[str, Any]) -> None:
        self.book.update("incoming", [transfer["id"]], status=FAILED, end_time=now())
        shutil.rmtree(self.staging / transfer["staging_path"], ignore_errors=True)
        peer = self.peer(transfer["source"])
        if peer is None or transfer["source_transfer_id"] is None:
            return
        message = {"source_transfer_ids": [transfer["source_transfer_id"]], "destination_transfer_ids": []}
        try:
            call(peer, "checkin/update", new_status=FAILED, **message)
        except (NoAnswer, CallFailed):
            pass  # only logged

    def incoming_transfer_hypervisor(self, older_than_seconds: float = 0) -> dict[str, Any]:
        done = [self._settle_incoming(transfer) for transfer in self._stale("incoming", older_than_seconds)]
        return {"settled": done}

    def _settle_incoming(self, transfer: dict[str, Any]) -> str:
        peer, state = self.peer(transfer["source"]), transfer["status"]
        if peer is None:
            self.book.update("incoming", [transfer["id"]], status=FAILED, end_time=now())
            return "failed"
        ours = transfer["source_transfer_id"]
        try:
            call(peer, "ping/")
        except (NoAnswer, CallFailed):
            return "skipped"
        try:
            answer = call(peer, "checkin/status", source_transfer_ids=[ours], destination_transfer_ids=[])
            theirs = answer["source_transfer_status"].get(str(ours))
        except (NoAnswer, CallFailed):
            theirs = None
        if theirs == state:
            return "left"
        if theirs is None or theirs in (COMPLETED, FAILED, CANCELLED) or (theirs, state) == (INITIATED, ONGOING):
            self._fail_incoming(transfer)
            return "failed"
        if state != STAGED:
            self.book.update("incoming", [transfer["id"]], status=theirs)
            return STATUS[theirs]
        return "left"

    # --- The command line that carries a manifest (reference 5.2) ----------------------------------------------------

    def ingest_manifest(self, destination: str, names: list[str]) -> dict[str, Any]:
        """Bring files to `destination` as `ingest-manifest` does: fault 11."""
        peer, brought = self.peer(destination), 0
        files = self.book.all("SELECT f.*, i.path FROM files f JOIN instances i ON i.file_name = f.name")
        for file in [each for each in files if each["name"] in names]:
            transfer = self.book.insert(
                "outgoing", status=ONGOING, destination=destination, file_name=file["name"], start_time=now()
            )
            message = {
                "upload_size": file["size"],
                "upload_checksum": file["checksum"],
                "upload_name": file["name"].rpartition("/")[2],
                "destination_location": file["name"],
                "uploader": self.name,
                "source": file["source"],
                "source_transfer_id": transfer,
            }
            staged = call(peer, "clone/stage", **message)
            ids = {
                "source_transfer_id": staged["source_transfer_id"],
                "destination_transfer_id": staged["destination_transfer_id"],
            }
            call(peer, "clone/ongoing", **ids)
            self._copy(Path(file["path"]), Path(staged["staging_location"]))
            call(peer, "clone/staged", **ids)
            brought += 1
        return {"brought": brought}


# --- HTTP -------------------------------------------------------------------------------------------------------------

_IDS = {"source_transfer_id": int, "destination_transfer_id": int}
_ITEM = {
    "upload_size": int,
    "upload_checksum": str,
    "upload_name": str,
    "destination_location": str,
    "uploader": str,
    "source_transfer_id": int,
}
_LISTS = {"source_transfer_ids": [int], "destination_transfer_ids": [int]}
_WHO = {"file_name": str, "librarian_name": str}
# Path below /api/v2/: level, fields that must be there, method.
ENDPOINTS: dict[str, tuple[int, dict[str, Any], str]] = {
    "ping/": (NONE, {}, "ping"),
    "ping/logged": (READONLY, {}, "ping"),
    "ping/admin": (ADMIN, {}, "ping"),
    "clone/stage": (READAPPEND, {**_ITEM, "source": str}, "clone_stage"),
    "clone/batch_stage": (
        READAPPEND,
        {"uploads": [_ITEM], "source": str, "total_size": int},
        "clone_batch_stage",
    ),
    "clone/ongoing": (READAPPEND, _IDS, "clone_ongoing"),
    "clone/staged": (CALLBACK, _IDS, "clone_staged"),
    "clone/complete": (CALLBACK, {**_IDS, "store_id": int}, "clone_complete"),
    "clone/fail": (READAPPEND, {**_IDS, "reason": str}, "clone_fail"),
    "checkin/update": (CALLBACK, {**_LISTS, "new_status": int}, "checkin_update"),
    "checkin/status": (CALLBACK, _LISTS, "checkin_status"),
    "search/file": (READONLY, {}, "search_file"),
    "search/instance_remote": (ADMIN, {}, "search_instance_remote"),
    "corrupt/prepare": (CALLBACK, _WHO, "corrupt"),
    "corrupt/resend": (CALLBACK, _WHO, "corrupt"),
}


def complaints(value: Any, shape: Any, where: tuple[Any, ...] = ("body",)) -> list[dict[str, Any]]:
    """What is wrong with a body, as the original lists it under `detail`. Fields beyond the shape are ignored."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [{"type": "model_attributes_type", "loc": where, "msg": "Input should be an object", "input": value}]
        missing = [
            {"type": "missing", "loc": (*where, name), "msg": "Field required", "input": value}
            for name in shape
            if name not in value
        ]
        return missing + [
            each for name in shape if name in value for each in complaints(value[name], shape[name], (*where, name))
        ]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [{"type": "list_type", "loc": where, "msg": "Input should be a valid list", "input": value}]
        return [wrong for i, each in enumerate(value) for wrong in complaints(each, shape[0], (*where, i))]
    fits = isinstance(value, shape) and not (shape is int and isinstance(value, bool))
    kind = "integer" if shape is int else "string"
    wrong = {"type": f"{kind}_type", "loc": where, "msg": f"Input should be a valid {kind}", "input": value}
    return [] if fits else [wrong]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    librarian: Librarian

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/control/"):
            return self._control(self.path.removeprefix("/control/"), json.loads(raw or b"{}"))
        endpoint = self.path.removeprefix("/api/v2/")
        fault = self._due_fault(endpoint)
        what = fault.get("what")
        if what == "cut_before":
            self.close_connection = True
            return None
        if what == "fail":
            return self._answer(500, b"Internal Server Error", "text/plain; charset=utf-8")
        status, content = self._perform(endpoint, raw)
        if what == "late":
            time.sleep(fault["seconds"])
        if what == "cut_after":
            self.close_connection = True
            return None
        body = b"<html>It works!</html>" if what == "garbage" else json.dumps(content).encode()
        return self._answer(status, body)

    def do_GET(self) -> None:
        self._answer(405, b'{"detail":"Method Not Allowed"}', "application/json", Allow="POST")

    do_PUT = do_PATCH = do_DELETE = do_GET

    def _perform(self, endpoint: str, raw: bytes) -> tuple[int, Any]:
        user = ""
        try:
            level, shape, method = self._endpoint(endpoint)
            try:
                body = json.loads(raw or b"null")
            except ValueError:
                body = None
                raise Refused(422, {"detail": [{"type": "json_invalid", "loc": ["body", 0]}]}) from None
            user, password = self._credentials()
            has = self.librarian.level_of(user, password)
            if has < level:
                raise Refused(401, {"detail": "Incorrect username or password"})
            if wrong := complaints(body, shape):
                raise Refused(422, {"detail": wrong})
            status, content = getattr(self.librarian, method)(user, has, body)
        except Refused as refused:
            status, content = refused.status, refused.content
        except Exception as problem:
            status, content = 500, f"Internal Server Error: {problem}"
        self.librarian.book.insert("calls", endpoint=endpoint, user=user, body=raw.decode(), status=status)
        return status, content

    def _endpoint(self, endpoint: str) -> tuple[int, dict[str, Any], str]:
        if endpoint not in ENDPOINTS:
            raise Refused(404, {"detail": "Not Found"})
        return ENDPOINTS[endpoint]

    def _credentials(self) -> tuple[str, str]:
        scheme, _, credential = self.headers.get("Authorization", "").partition(" ")
        try:
            user, separator, password = base64.b64decode(credential, validate=True).decode().partition(":")
        except ValueError:
            separator = ""
        if scheme.lower() != "basic" or not separator:
            raise Refused(401, {"detail": "Not authenticated"})
        return user, password

    def _due_fault(self, endpoint: str) -> dict[str, Any]:
        """The misbehaviour that is due for this call; each happens as often as its `times` say."""
        book = self.librarian.book
        with book.together():
            faults = book.knob("faults")
            for fault in faults:
                if fault["endpoint"] == endpoint and fault.get("times", 1) > 0:
                    fault["times"] = fault.get("times", 1) - 1
                    book.turn("faults", faults)
                    return fault
        return {}

    def _control(self, what: str, body: dict[str, Any]) -> None:
        try:
            answer = CONTROLS[what](self.librarian, **body)
            status, content = 200, {"answer": answer}
        except Exception as problem:  # the task of the original died of it
            status, content = 500, {"died": f"{type(problem).__name__}: {problem}"}
        self._answer(status, json.dumps(content).encode())

    def _answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        if status == 401:
            self.send_header("WWW-Authenticate", "Basic")
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass  # the caller did not wait

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


# --- What tests ask of it ---------------------------------------------------------------------------------------------


def run_task(librarian: Librarian, task: str, **options: Any) -> Any:
    """Run one task; never two at once."""
    with librarian.background:
        return getattr(librarian, task)(**options)


def put_file(librarian: Librarian, name: str, members: dict[str, str], source: str = "a person") -> None:
    """A file with bytes: `members` maps a relative path to base64; the path "" is a flat file."""
    path = librarian.store / name
    for member, content in members.items():
        target = path / member if member else path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(base64.b64decode(content))
    librarian.add_file(name, path, uploader=source, source=source)


def state(librarian: Librarian) -> dict[str, Any]:
    rows = {table: librarian.book.all(f"SELECT * FROM {table}") for table in TABLES}
    return {**rows, "staged": sorted(path.name for path in librarian.staging.iterdir())}


def turn(librarian: Librarian, **knobs: Any) -> None:
    for name, value in knobs.items():
        librarian.book.turn(name, value)


def make_user(librarian: Librarian, name: str, password: str, level: int) -> None:
    librarian.book.all("INSERT OR REPLACE INTO users VALUES (?, ?, ?)", name, password, level)


def make_peer(librarian: Librarian, name: str, url: str, port: int, authenticator: str) -> None:
    statement = "INSERT OR REPLACE INTO librarians (name, url, port, authenticator) VALUES (?, ?, ?, ?)"
    librarian.book.all(statement, name, url, port, authenticator)


CONTROLS: dict[str, Callable[..., Any]] = {
    "run": run_task,
    "put_file": put_file,
    "state": state,
    "turn": turn,
    "make_user": make_user,
    "make_peer": make_peer,
}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a caller that goes away is part of some tests."""


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="directory of its rows, store and staging")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--store-id", type=int, default=1)
    chosen = parser.parse_args()
    Handler.librarian = Librarian(chosen.root, chosen.name, chosen.port, chosen.store_id)
    Server(("127.0.0.1", chosen.port), Handler).serve_forever(0.02)


if __name__ == "__main__":
    main()
