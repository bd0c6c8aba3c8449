"""Bytes on their way out: one paced block after the other, and an account of how much of the product went."""

from collections.abc import Callable, Iterable, Iterator

from hera_librarian.uploading.pace import Pace
from hera_librarian.uploading.results import Progress
from hera_librarian.uploading.sources import Source

GATHERED_BYTES = 16 * 1024


class Body:
    """Bytes on their way out as the HTTP library takes them: of known length, one paced block after the other."""

    def __init__(
        self, blocks: Iterator[memoryview], length: int, pace: Pace | None, sent: Callable[[int], None]
    ) -> None:
        self._blocks = blocks
        self._length = length
        self._pace = pace
        self._sent = sent

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[memoryview]:
        for block in gathered(self._blocks):
            if self._pace is not None:
                self._pace.wait(len(block))
            yield block
            self._sent(len(block))


class Meter:
    """Tells how much of the product went out, whatever the stream has besides its bytes."""

    def __init__(self, source: Source, progress: Progress | None) -> None:
        self._source = source
        self._progress = progress
        self._position = 0
        self._told = 0

    def add(self, count: int) -> None:
        self.at(self._position + count)

    def at(self, position: int) -> None:
        """The stream is known to have come so far."""
        self._position = position
        self._tell(self._source.size_bytes * position // max(self._source.length_bytes, 1))

    def finish(self) -> None:
        self._tell(self._source.size_bytes)

    def _tell(self, so_far: int) -> None:
        if self._progress is not None and so_far != self._told:
            self._progress(so_far - self._told)
        self._told = so_far


def gathered(blocks: Iterable[memoryview]) -> Iterator[memoryview]:
    """The same bytes with what comes in crumbs, as the headers of a tar do, put together."""
    crumbs = bytearray()
    for block in blocks:
        if not crumbs and len(block) >= GATHERED_BYTES:
            yield block
            continue
        crumbs += block
        if len(crumbs) >= GATHERED_BYTES:
            yield memoryview(crumbs)
            crumbs = bytearray()
    if crumbs:
        yield memoryview(crumbs)
