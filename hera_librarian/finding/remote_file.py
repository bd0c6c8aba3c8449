"""A file of the archive as a file object, read over HTTP only where somebody looks: for h5py, astropy and the like."""

import io
import threading
from typing import Any

from hera_librarian.finding.blocks import BlockCache
from hera_librarian.finding.content import Content


class RemoteFile(io.RawIOBase):
    """A seekable, read-only binary file. `read(n)` gives all of the n bytes unless the file ends.

    Small reads are answered from blocks that were fetched lately, reads in order are fetched ahead; memory stays below
    some 50 MB. A read goes on after a broken connection, from another copy if need be. Threads may share it; the
    position is then shared too.
    """

    mode = "rb"

    def __init__(self, content: Content, *, name: str) -> None:
        super().__init__()
        self.name = name
        self._content = content
        self._cache = BlockCache(content)
        self._position = 0
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<RemoteFile {self.name} ({self.size_bytes} bytes{', closed' if self.closed else ''})>"

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self._content.size_bytes

    @property
    def bytes_fetched(self) -> int:
        """How many of its bytes came over the network so far."""
        return self._content.bytes_fetched

    @property
    def requests_made(self) -> int:
        """How many requests that took."""
        return self._content.requests_made

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Offset of the next byte."""
        self._refuse_closed()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset from the beginning, from here or from the end; behind the end there is nothing to read."""
        with self._lock:
            self._refuse_closed()
            bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}
            if whence not in bases:
                raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
            position = bases[whence] + offset
            if position < 0:
                raise ValueError(f"negative seek value {position}")
            self._position = position
            return position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from here; the number of bytes, fewer than it takes only at the end of the file."""
        with self._lock:
            self._refuse_closed()
            view = memoryview(buffer).cast("B")
            length = max(0, min(len(view), self.size_bytes - self._position))
            self._cache.read_into(view[:length], self._position)
            self._position += length
            return length

    def readall(self) -> bytes:
        """All bytes from here to the end, in memory."""
        with self._lock:
            self._refuse_closed()
            rest = bytearray(max(0, self.size_bytes - self._position))
            self.readinto(rest)
            return bytes(rest)

    def close(self) -> None:
        """Forget what was fetched."""
        if not self.closed:
            self._cache.clear()
        super().close()

    def _refuse_closed(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
