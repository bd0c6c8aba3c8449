"""Where uploads stand, kept in the journal: what `uploading.Memory` keeps in files."""

from collections.abc import Iterator
from contextlib import contextmanager

from hera_librarian.uploading.memory import Held, Memory, UploadKey
from hera_librarian.watching.journal import Journal

KEPT_DAYS = 30.0  # longer than any site keeps an upload that nobody goes on with


class JournalMemory(Memory):
    """Memory of the one process that holds the spool, so nothing needs to be locked."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal.spool)
        self._journal = journal

    @contextmanager
    def holding(self, key: UploadKey) -> Iterator[Held]:
        yield _Held(self._journal, key)

    def drop_expired(self) -> int:
        return self._journal.forget_locations_before(KEPT_DAYS)


class _Held:
    def __init__(self, journal: Journal, key: UploadKey) -> None:
        self._journal = journal
        self._key = key
        self.location = journal.location(key.digest())

    def remember(self, location: str, expires_at: str) -> None:
        self.location = location
        self._journal.note_location(self._key.digest(), self._key.path, location, expires_at)

    def forget(self) -> None:
        if self.location:
            self._journal.forget_location(self._key.digest())
        self.location = ""
