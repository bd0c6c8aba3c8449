"""What a watcher writes down while it delivers: the answer for each product, and what is under way."""

from collections.abc import Callable, Iterable, Iterator

from hera_librarian.uploading import UploadResult
from hera_librarian.watching.journal import Entry, Journal, State
from hera_librarian.watching.stopping import Stopping

TOGETHER = 200  # answers that are written down at once
SMALL_BYTES = 2**20
NOTE_SECONDS = 5.0


class Answers:
    """Answers on their way into the journal; those of small products a few at a time, since each write is synced.

    What a crash loses of them is offered to the site again, and is "already here".
    """

    def __init__(self, journal: Journal, state_of: Callable[[Entry, UploadResult], State]) -> None:
        self._journal = journal
        self._state_of = state_of
        self._waiting: list[tuple[str, State, UploadResult]] = []
        self._answered: set[str] = set()

    def add(self, entry: Entry, result: UploadResult) -> None:
        self._answered.add(entry.path)
        self._waiting.append((entry.path, self._state_of(entry, result), result))
        if result.size_bytes > SMALL_BYTES or len(self._waiting) >= TOGETHER:
            self.write()

    def unanswered(self, paths: Iterable[str]) -> list[str]:
        """Those of the paths that nothing was said of."""
        return [path for path in paths if path not in self._answered]

    def write(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._journal.note_results(waiting)


class Telling:
    """What is being sent, noted now and then for whoever asks for the status."""

    def __init__(self, journal: Journal, stopping: Stopping, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._stopping = stopping
        self._clock = clock
        self._noted_at = clock()
        self._sent = 0
        self._path = ""

    def items(self, chunk: dict[str, Entry]) -> Iterator[tuple[str, str]]:
        for path, entry in chunk.items():
            self._stopping.check()
            self._path, self._sent = entry.path, 0
            yield path, entry.path

    def progress(self, count: int) -> None:
        self._stopping.check()
        self._sent += count
        if self._clock() - self._noted_at >= NOTE_SECONDS:
            self._noted_at = self._clock()
            path = self._path.encode("utf-8", "backslashreplace").decode()
            self._journal.note(sending={"path": path, "sent_bytes": self._sent})
