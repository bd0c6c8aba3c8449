"""What a far host tells piece by piece, for whoever reads on as long as it pleases, or leaves off."""

import io
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from librarian.common.errors import StoreUnavailable
from stores.backends.base import Content, Member, RecordLine
from stores.backends.sorting import MemberRecords
from stores.backends.ssh import frames
from stores.backends.ssh.exchange import Exchange
from stores.backends.ssh.links import LinkBroken


class Ticket(Protocol):
    """A call that somebody else may end."""

    exchange: Exchange

    def close(self) -> None: ...
    def explain(self, error: LinkBroken) -> StoreUnavailable: ...


class Blocks:
    """Blocks of bytes; ends its call when it is read to its end, closed or forgotten."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self._parts = ticket.exchange.parts(frames.DATA)

    def __iter__(self) -> "Blocks":
        return self

    def __next__(self) -> bytes:
        try:
            block = next(self._parts, None)
            if block is not None:
                return bytes(block)
            self._ticket.exchange.answer()
        except LinkBroken as error:
            self.close()
            raise self._ticket.explain(error) from error
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Leave off."""
        self._ticket.close()

    def __del__(self) -> None:
        self.close()


def rows(ticket: Ticket, on_end: Callable[[Any], None] | None) -> Iterator[Any]:
    """Rows of plain facts; the call ends with the iterator."""
    try:
        for part in ticket.exchange.parts(frames.ROWS):
            yield from frames.unpacked(part)
        answer = ticket.exchange.answer()
        if on_end is not None:
            on_end(answer)
    finally:
        ticket.close()


def receive_content(exchange: Exchange) -> Content:
    """What a read at the far end found."""
    records, rest = MemberRecords(), b""
    for part in exchange.parts(frames.DATA):
        *whole, rest = (rest + part).split(b"\0")
        for record in whole:
            records.add(record + b"\0")
    facts = exchange.answer()
    return Content(
        kind=facts["kind"],
        size_bytes=facts["size"],
        digest=facts["digest"],
        checksums=facts["checksums"],
        members=records if facts["member_count"] else (),
        member_count=facts["member_count"],
    )


def record_lines(told: Iterator[Any]) -> Iterator[tuple[RecordLine, Iterator[Member]]]:
    """Products, each with its members: objects and the lists behind them."""
    ahead = next(told, None)

    def members() -> Iterator[Member]:
        nonlocal ahead
        while isinstance(ahead, list):
            member = Member(*ahead)
            ahead = next(told, None)
            yield member

    while ahead is not None:
        line = RecordLine(ahead["place"], ahead["facts"])
        ahead = next(told, None)
        mine = members()
        yield line, mine
        for _ in mine:
            pass  # what the caller left


class Part(io.RawIOBase):
    """A part of a delivery, seekable; each read is a call."""

    def __init__(self, size_bytes: int, read: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size, self._read, self._position = size_bytes, read, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._read(self._position, len(buffer))
        memoryview(buffer)[: len(data)] = data
        self._position += len(data)
        return len(data)
