"""How many threads of this web process may take bytes or commit at once: half of them, so that the rest can answer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from librarian.common.errors import Busy

RETRY_SECONDS = 2
_slots = threading.BoundedSemaphore(max(1, settings.LIBRARIAN_WEB_THREADS // 2))


class UploadsBusy(Busy):
    code = "uploads_busy"
    retry_seconds = RETRY_SECONDS


@contextmanager
def upload_slot() -> Iterator[None]:
    """One of the places for work on uploads. Raises UploadsBusy at once when all are taken."""
    if not _slots.acquire(blocking=False):
        raise UploadsBusy("As many uploads as this site takes at once are under way.")
    try:
        yield
    finally:
        _slots.release()
