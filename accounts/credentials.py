"""Passwords proven a moment ago, remembered in this process so that a call does not cost an Argon2 run.

What is kept is an HMAC under a key that never leaves the process. It covers the row as it was when the password was
proven: a new password, level or active flag, set by any process, gives another digest, and the old one is never asked
for again.
"""

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from accounts.models import User
from librarian.common.errors import Busy

_KEY = secrets.token_bytes(32)


def digest_of(user: User, password: str) -> bytes:
    """Keyed digest of a credential together with everything whose change must undo it."""
    parts = [user.username, password, user.password, str(user.level), str(user.is_active)]
    framed = b"".join(b"%d:%s" % (len(part), part) for part in (text.encode() for text in parts))
    return hmac.digest(_KEY, framed, "sha256")


class ProvenCredentials:
    """A bounded memory of digests, each until its time is up; the one longest unused makes room.

    Parameters
    ----------
    limit : int
        Number of digests kept at most (32 bytes and some overhead each).
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._until)

    def knows(self, digest: bytes) -> bool:
        """True if `digest` was remembered and its time is not up."""
        with self._lock:
            until = self._until.get(digest)
            if until is None:
                return False
            if until <= time.monotonic():
                del self._until[digest]
                return False
            self._until.move_to_end(digest)
            return True

    def remember(self, digest: bytes, *, seconds: float) -> None:
        """Remember `digest` for `seconds`; zero or less remembers nothing."""
        if seconds <= 0:
            return
        with self._lock:
            self._until[digest] = time.monotonic() + seconds
            self._until.move_to_end(digest)
            while len(self._until) > self.limit:
                self._until.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._until.clear()


PROVEN = ProvenCredentials(limit=4096)

# One Argon2 run takes 100 MiB. Unbounded, every web thread of a site under a flood of passwords would hold that much.
_RUNS_AT_ONCE = 2
_LONGEST_WAIT_SECONDS = 20.0
_runs = threading.BoundedSemaphore(_RUNS_AT_ONCE)


@contextmanager
def turn_to_hash() -> Iterator[None]:
    """Hold one of this process's few places for checking a password. Raises Busy when none comes free in time."""
    if not _runs.acquire(timeout=_LONGEST_WAIT_SECONDS):
        raise Busy("Too many passwords are being checked at this moment.", retry_after_seconds=5)
    try:
        yield
    finally:
        _runs.release()
