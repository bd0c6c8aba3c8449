"""The marker of a store in its bucket, and whether the service does what an archive needs.

Every operation asks here first; a look is believed for some seconds, or for a whole batch.
"""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from librarian.common.errors import Conflict, Misconfigured, StoreFull, StoreUnavailable
from stores.backends.base import Availability
from stores.backends.places import CORNER
from stores.backends.s3.bucket import Bucket
from stores.backends.s3.uploading import send_in_parts

MARKER = f"{CORNER}/store.json"
BELIEVED_SECONDS = 10.0
_LIMIT_BYTES = 65536
_OVERWRITES = (
    "the service at {where} overwrites objects that it was asked not to overwrite (If-None-Match)",
    "Use a service, or a version of it, with conditional writes; bytes could be lost on this one.",
)
_seen: dict[tuple[Any, ...], float] = {}  # when markers were last found to be ours
_lock = threading.Lock()


class Marker:
    """The marker of one store."""

    def __init__(self, bucket: Bucket, marker: str) -> None:
        self._bucket = bucket
        self._marker = marker
        self._name = bucket.store_name
        self._held = threading.local()

    @property
    def _key(self) -> tuple[Any, ...]:
        return (self._bucket.target, self._marker)

    # --- Looking ---

    def verify(self, *, fresh: bool = False) -> None:
        """See that the bucket carries our marker. Raises StoreUnavailable."""
        if not fresh and (getattr(self._held, "depth", 0) or self._is_believed()):
            return
        problem = self.problem()
        with _lock:
            if problem is None:
                _seen[self._key] = time.monotonic()
            else:
                _seen.pop(self._key, None)
        if problem is not None:
            raise self._bucket.unavailable(problem.reason, problem.remedy)

    def _is_believed(self) -> bool:
        with _lock:
            seen = _seen.get(self._key)
        return seen is not None and time.monotonic() - seen < BELIEVED_SECONDS

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Look once for all that this thread does inside."""
        if not getattr(self._held, "depth", 0):
            self.verify(fresh=True)
        self._held.depth = getattr(self._held, "depth", 0) + 1
        try:
            yield
        finally:
            self._held.depth -= 1

    def is_there(self) -> bool:
        """True if the bucket carries a marker, whosever it is. Raises StoreUnavailable."""
        return self._bucket.get_small(MARKER, limit_bytes=1) is not None

    def problem(self) -> Availability | None:
        """Why the bucket is not this store; None if it is. Raises StoreUnavailable when nothing can be seen."""
        text = self._bucket.get_small(MARKER, limit_bytes=_LIMIT_BYTES)
        address = self._bucket.address(MARKER)
        if text is None:
            return self._without_marker()
        try:
            found = json.loads(text)
            marker, name = str(found["marker"]), str(found["name"])
        except (ValueError, KeyError, TypeError):
            return Availability(
                False, f"its marker {address} is damaged", "Restore the object; `manage.py add_store` shows its form."
            )
        if marker == self._marker:
            return None
        return Availability(
            False,
            f"the bucket is not ours: {address} is the marker of store {name} ({marker}), "
            f"not that of {self._name} ({self._marker})",
            f"Configure the bucket and prefix of store {self._name}.",
        )

    def _without_marker(self) -> Availability:
        place = self._bucket.address("")
        if self._bucket.anything_below(""):
            return Availability(
                False,
                f"{place} holds objects but not our marker {MARKER}: it may be another store's",
                f"Correct 'bucket' and 'prefix'; if this is store {self._name}, run 'Write the marker' in the staff "
                "admin.",
            )
        return Availability(
            False, f"{place} is empty: our marker is not there", "Correct 'bucket', 'prefix' and 'endpoint_url'."
        )

    # --- Trying ---

    def check(self) -> Availability:
        """Look: reached, ours, listed, written, and never overwritten."""
        try:
            self.verify(fresh=True)
            self._bucket.anything_below(f"{CORNER}/")
            if not self._refuses_overwriting():
                reason, remedy = _OVERWRITES
                return Availability(False, reason.format(where=self._bucket.target.where), remedy)
        except StoreFull as error:
            return Availability(True, self._short(error), error.suggested_remedy)  # its bytes can be read
        except StoreUnavailable as error:
            return Availability(False, self._short(error), error.suggested_remedy)
        return Availability(True)

    def _short(self, error: StoreUnavailable) -> str:
        text = error.reason.removeprefix(f"Store {self._name} is not available: ")
        return text.removeprefix(f"Store {self._name}: ").removesuffix(".")

    def _refuses_overwriting(self, *, in_parts: bool = False) -> bool:
        """Really try; some services know the condition for objects of one request only, hence `in_parts`."""
        key = f"{CORNER}/probe-{secrets.token_hex(6)}"
        try:
            if not self._bucket.put_new(key, b"probe", {}) or self._bucket.put_new(key, b"other", {}):
                return False
            return not in_parts or not send_in_parts(self._bucket, key, b"other")
        finally:
            self._bucket.erase([key])

    # --- Beginning ---

    def examine(self) -> None:
        """See that the bucket may become ours. Raises Conflict for another store's, Misconfigured for a service that
        overwrites."""
        if self.is_there():
            self._refuse_other()
        if not self._refuses_overwriting(in_parts=True):
            reason, remedy = _OVERWRITES
            raise Misconfigured(f"Store {self._name}: {reason.format(where=self._bucket.target.where)}.", remedy=remedy)

    def write(self) -> None:
        """Write the marker unless it is there. Raises Conflict for another store's bucket."""
        text = json.dumps({"marker": self._marker, "name": self._name, "format": 1}).encode() + b"\n"
        if not self._bucket.put_new(MARKER, text, {}):
            self._refuse_other()
        self.verify(fresh=True)

    def _refuse_other(self) -> None:
        problem = self.problem()
        if problem is not None:
            raise Conflict(f"Store {self._name}: {problem.reason}.", remedy=problem.remedy)
