"""A peer that files are sent to, played by a StandIn: of our kind, or foreign with its all-or-nothing answers.

It keeps what a receiver keeps (transfers by id, files that it holds), makes staging directories below a folder that the
tests share with it, and takes in what lies there when `take_in` is called. Faults are put over single paths with
`standin.answers`.
"""

import hashlib
import itertools
from pathlib import Path

from django.conf import settings

from hera_librarian.features import FEATURES
from tests.make import make_peer
from tests.network.standin import StandIn

INITIATED, ONGOING, STAGED, COMPLETED, FAILED, CANCELLED = range(6)
ALLOWED = {INITIATED: {ONGOING, STAGED, FAILED, CANCELLED}, ONGOING: {STAGED, FAILED, CANCELLED}, STAGED: {FAILED}}


class Destination:
    """What lies behind the address of a peer called `name`."""

    def __init__(self, standin: StandIn, folder: Path, *, name: str = "south", features: tuple[str, ...] = FEATURES):
        self.standin, self.folder, self.name, self.features = standin, folder, name, features
        self.ids = itertools.count(101)
        self.transfers: dict[int, dict] = {}
        self.files: dict[str, dict] = {}
        self.refusals: dict[str, dict] = {}  # name -> a refusal of our kind
        self.poison: dict[str, int] = {}  # name -> status with which a foreign one refuses its batch, naming none
        self.failures: dict[int, dict] = {}
        self.offers = {"local": {"hostnames": [settings.LIBRARIAN_HOST_NAME]}}
        for path, answer in {
            "v2/clone/batch_stage": self.batch_stage,
            "v2/checkin/update": self.update,
            "v2/checkin/status": self.status,
            "v2/clone/fail": self.fail,
            "v2/search/file": self.search,
            "v2/clone/holdings": self.holdings,
        }.items():
            standin.answers[path] = answer

    def make_peer(self, **fields):
        """Its row here."""
        fields = {"port": self.standin.port, "shared_directories": [str(self.folder)], **fields}
        return make_peer(self.name, authenticator=self.standin.authenticator, features=list(self.features), **fields)

    def hold(self, file, *, store_ids=(3,), content=None):
        """Let it hold a file, or other bytes under its name."""
        digest = file.digest if content is None else hashlib.sha256(content).hexdigest()
        checksum = file.checksum if content is None else f"sha256:::{digest}"
        size = file.size_bytes if content is None else len(content)
        held = {"checksum": checksum, "digest": digest, "size": size, "store_ids": list(store_ids)}
        self.files[file.name] = held

    def take_in(self):
        """Ingest what has been staged, as its background job does."""
        for transfer in self.transfers.values():
            if transfer["state"] == STAGED:
                content = Path(transfer["location"]).read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                transfer["state"] = COMPLETED
                self.files[transfer["name"]] = {
                    "checksum": transfer["checksum"],
                    "digest": digest,
                    "size": len(content),
                    "store_ids": [3],
                }

    def told(self, path):
        """Messages that were sent to a path, in order."""
        asked = zip(self.standin.paths, self.standin.messages, strict=True)
        return [message for where, message in asked if where == path]

    @property
    def states(self):
        return [transfer["state"] for transfer in self.transfers.values()]

    # --- Answers ---

    @property
    def message(self):
        return self.standin.messages[-1]

    def batch_stage(self):
        items = self.message["uploads"]
        refused = []
        if self.features:
            for item in items:
                if (refusal := self._refusal(item)) is not None:
                    refused.append({"source_transfer_id": item["source_transfer_id"], **refusal})
            names = {each["source_transfer_id"] for each in refused}
            items = [item for item in items if item["source_transfer_id"] not in names]
        elif (failure := self._all_or_nothing(items)) is not None:
            return failure
        answer = {
            "available_bytes_on_store": 10**12,
            "store_name": "store",
            "uploads": [self._stage(item) for item in items],
            "async_transfer_providers": self.offers,
        }
        if self.features:
            answer |= {"refused": refused, "librarian_features": list(self.features)}
        return 201, answer

    def _refusal(self, item):
        held = self.files.get(item["upload_name"])
        if held and item["facts"]["digest"] == held["digest"]:
            said = {"code": "already_held", "reason": "It is here.", "held": True}
            return said | {"store_ids": held["store_ids"], "checksum": held["checksum"]}
        if held:
            return {"code": "name_taken", "reason": "Other bytes are here.", "checksum": held["checksum"]}
        return self.refusals.get(item["upload_name"])

    def _all_or_nothing(self, items):
        poisoned = [self.poison[item["upload_name"]] for item in items if item["upload_name"] in self.poison]
        if poisoned:
            return poisoned[0], {"detail": '{"reason": "No."}'} if poisoned[0] != 500 else b"Internal Server Error"
        live = {each["name"]: each for each in self.transfers.values() if each["state"] in (INITIATED, ONGOING, STAGED)}
        ongoing = [each for each in items if live.get(each["upload_name"], {}).get("state") == ONGOING]
        held = [each for each in items if each["upload_name"] in self.files]
        older = [each for each in items if each["upload_name"] in live and each not in ongoing]
        for each in older:
            live[each["upload_name"]]["state"] = FAILED
        for status, reason, found in (
            (425, "Transfer is ongoing.", ongoing),
            (409, "File already exists on librarian.", held),
            (406, "Transfer was already initiated or staged.", older),
        ):
            if found:
                ids = [each["source_transfer_id"] for each in found]
                return status, {
                    "reason": reason,
                    "suggested_remedy": "",
                    "source_transfer_ids": ids,
                    "destination_transfer_ids": [-1],
                }
        return None

    def _stage(self, item):
        again = [
            key
            for key, each in self.transfers.items()
            if each["source_id"] == item["source_transfer_id"] and each["state"] == INITIATED
        ]
        key = again[0] if again and self.features else next(self.ids)
        location = self.folder / f"staging{key}" / "item"
        location.parent.mkdir(parents=True, exist_ok=True)
        self.transfers[key] = {
            "state": INITIATED,
            "name": item["upload_name"],
            "source_id": item["source_transfer_id"],
            "checksum": item["upload_checksum"],
            "location": str(location),
        }
        return {
            "staging_name": location.parent.name,
            "staging_location": str(location),
            "upload_name": item["upload_name"],
            "destination_location": item["destination_location"],
            "source_transfer_id": item["source_transfer_id"],
            "destination_transfer_id": key,
            **({"upload_id": key + 1000} if self.features else {}),
        }

    def _is_meant(self, key):
        ours = self.message.get("counterparts", {}).get(str(key))
        known = self.transfers.get(key)
        return known is not None and (ours is None or not self.features or ours == known["source_id"])

    def update(self):
        modified, rest = [], []
        for key in self.message["destination_transfer_ids"]:
            new = self.message["new_status"]
            if self._is_meant(key) and new in ALLOWED.get(self.transfers[key]["state"], ()):
                self.transfers[key]["state"] = new
                modified.append(key)
            else:
                rest.append(key)
        return 200, {
            "modified_source_transfer_ids": [],
            "modified_destination_transfer_ids": modified,
            "unmodified_source_transfer_ids": [],
            "unmodified_destination_transfer_ids": rest,
            "reasons": ["No."] if rest else [],
        }

    def status(self):
        keys = self.message["destination_transfer_ids"]
        found = {str(key): self.transfers[key]["state"] if self._is_meant(key) else None for key in keys}
        answer = {"source_transfer_status": {}, "destination_transfer_status": found}
        if self.features:
            answer["failures"] = {str(key): self.failures[key] for key in keys if key in self.failures}
        return 200, answer

    def fail(self):
        key = self.message["destination_transfer_id"]
        if key not in self.transfers:
            return 404, {"reason": f"Could not find transfer with ID {key}.", "suggested_remedy": ""}
        if self.transfers[key]["state"] != COMPLETED:
            self.transfers[key]["state"] = FAILED
        ids = {"source_transfer_id": self.message["source_transfer_id"], "destination_transfer_id": key}
        return 200, {**ids, "success": True}

    def search(self):
        name = self.message["name"]
        if (held := self.files.get(name)) is None:
            return 404, {"reason": "No files found.", "suggested_remedy": ""}
        copies = [
            {
                "path": f"/data/{name}",
                "deletion_policy": 0,
                "created_time": "2026-11-20T12:16:09.477708",
                "available": True,
                "id": None,
                "file_name": None,
                "store_id": store_id,
            }
            for store_id in held["store_ids"]
        ]
        entry = {"name": name, "create_time": "2026-11-20T12:16:09", "size": held["size"], "checksum": held["checksum"]}
        return 200, [{**entry, "uploader": "x", "source": "x", "instances": copies, "remote_instances": []}]

    def holdings(self):
        if not self.features:
            return 404, {"detail": "Not Found"}
        names = [name for name in self.message["names"] if name in self.files and self.files[name]["store_ids"]]
        return 200, {"holdings": [{"name": name, **self.files[name]} for name in names]}
