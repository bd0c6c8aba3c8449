"""Blocks of one file that were fetched lately, in bounded memory, and how much is fetched at a time."""

from collections import OrderedDict

from hera_librarian.finding.content import Content

BLOCK_BYTES = 128 * 1024
KEPT_BYTES = 32 * 2**20
MOST_AHEAD_BYTES = 4 * 2**20
DIRECT_BYTES = 8 * 2**20  # a read of more than this goes straight into the reader's memory


class BlockCache:
    """The least recently used blocks go first. A reader that goes on in order gets more and more read ahead."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._count = -(-content.size_bytes // BLOCK_BYTES)
        self._expected = -1  # the block that a reader in order would want next
        self._ahead = 0

    def read_into(self, view: memoryview, position: int) -> None:
        """Fill `view` with the bytes from `position`; all of them must lie within the file."""
        while view:
            index, offset = divmod(position, BLOCK_BYTES)
            block = self._kept.get(index)
            if block is None and len(view) > DIRECT_BYTES:
                self._fetch_direct(view, position)
                return
            if block is None:
                block = self._fetch(index, (position + len(view) - 1) // BLOCK_BYTES)
            self._kept.move_to_end(index)
            piece = block[offset : offset + len(view)]
            view[: len(piece)] = piece
            view, position = view[len(piece) :], position + len(piece)

    def clear(self) -> None:
        """Forget all blocks."""
        self._kept.clear()

    def _fetch(self, first: int, last: int) -> bytes:
        """Fetch the blocks from `first` to `last` as far as they are not kept, and what lies ahead; the first."""
        self._ahead = min(max(1, 2 * self._ahead), MOST_AHEAD_BYTES // BLOCK_BYTES) if first == self._expected else 0
        end = first + 1
        while end < min(last + 1 + self._ahead, self._count) and end not in self._kept:
            end += 1
        self._expected = end
        run = bytearray()
        for piece in self._content.blocks(first * BLOCK_BYTES, end * BLOCK_BYTES):
            run += piece
        blocks = [bytes(run[start : start + BLOCK_BYTES]) for start in range(0, len(run), BLOCK_BYTES)]
        self._kept.update(enumerate(blocks, start=first))
        while len(self._kept) * BLOCK_BYTES > KEPT_BYTES:
            self._kept.popitem(last=False)
        return blocks[0]

    def _fetch_direct(self, view: memoryview, position: int) -> None:
        self._expected = (position + len(view)) // BLOCK_BYTES
        for piece in self._content.blocks(position, position + len(view)):
            view[: len(piece)] = piece
            view = view[len(piece) :]
