"""Taking in a whole disk, one file or one batch after the other."""

from collections.abc import Iterator

from hera_librarian.carrying import foreign
from hera_librarian.carrying.ours import Batch, Hand
from hera_librarian.carrying.results import EntryResult
from hera_librarian.models.admin import ManifestEntry

BATCH_FILES = 256
BATCH_BYTES = 2**30


class Carrier:
    """Hands the files of a manifest to one site. What is wrong with a file becomes its result.

    Repeating it is harmless, whenever it was interrupted.
    """

    def __init__(self, hand: Hand) -> None:
        self.hand = hand

    def run(self) -> Iterator[EntryResult]:
        """How each file fared. Raises LibrarianHTTPError (401, 403, no such endpoint) and LibrarianTimeoutError."""
        if self.hand.client.site() is None:
            for entry in self.hand.manifest.entries():
                yield foreign.hand_over(self.hand, entry)
            return
        for entries in self._batches():
            yield from Batch(self.hand, entries).hand_over()

    def _batches(self) -> Iterator[list[ManifestEntry]]:
        batch: list[ManifestEntry] = []
        size_bytes = 0
        for entry in self.hand.manifest.entries():
            if batch and (len(batch) >= BATCH_FILES or size_bytes + entry.size > BATCH_BYTES):
                yield batch
                batch, size_bytes = [], 0
            batch.append(entry)
            size_bytes += entry.size
        if batch:
            yield batch
