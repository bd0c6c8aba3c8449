"""What can be asked of the far end. Most is a method of the posix kind of store; the rest streams."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from stores.backends.base import BLOCK_BYTES, Content, Member, RecordLine
from stores.backends.ssh import frames
from stores.backends.ssh.far.arriving import FarStore
from stores.backends.ssh.far.entries import SentEntries
from stores.backends.ssh.far.recording import collected
from stores.backends.ssh.far.talk import Incoming, Talk

PLAIN = frozenset(
    (
        *("initialise", "carries_marker", "check", "space"),
        *("stage", "take_over", "part_size", "keep_item", "set_aside_item", "has_item", "drop_staging"),
        *("sync_items", "place_item", "sync_bytes", "sync_places", "is_placed"),
        *("stat", "set_aside", "remove"),
    )
)
_TELL_SECONDS = 0.5
_TELL_COUNT = 256


class Acts:
    """Answers calls about one store."""

    def __init__(self, store: Any, talk: Talk) -> None:
        self._store = FarStore(store, talk)
        self._talk = talk
        self._held = ExitStack()

    def do(self, act: str, arguments: dict[str, Any]) -> Any:
        """The answer to one call, as plain facts."""
        if act in PLAIN:
            found = getattr(self._store, act)(**arguments)
            return dataclasses.astuple(found) if dataclasses.is_dataclass(found) else found
        return getattr(self, f"_do_{act}")(**arguments)

    def _do_hold(self) -> None:
        self._held.enter_context(self._store.holding())

    def _do_release(self) -> None:
        self._held.close()

    # --- Papers ---

    def _do_write_paper(self, name: str) -> None:
        self._store.write_paper(name, iter(partial(Incoming(self._talk).read, BLOCK_BYTES), b""))

    def _do_read_paper(self, name: str, limit_bytes: int) -> bool:
        paper = self._store.read_paper(name, limit_bytes=limit_bytes)
        self._talk.tell(frames.DATA, paper or b"")
        return paper is not None

    # --- Bytes in ---

    def _do_write_item(self, token: str) -> dict[str, Any]:
        return self._store.receive_item(token)

    def _do_write_members(self, token: str) -> dict[str, Any]:
        return self._store.receive_members(token)

    def _do_append(self, **arguments: Any) -> dict[str, Any]:
        return self._store.receive_piece(**arguments)

    def _do_write_tree(self, token: str, algorithms: list[str], limit_bytes: int | None) -> dict[str, Any]:
        entries = SentEntries(self._talk)
        with _Progress(self._talk, listens=lambda: entries.is_over) as progress:
            return self._told(self._store.write_tree(token, entries, algorithms, progress, limit_bytes=limit_bytes))

    def _do_adopt(self, token: str, algorithms: list[str], fresh: bool) -> dict[str, Any]:
        with _Progress(self._talk) as progress:
            return self._told(self._store.adopt(token, algorithms, progress, fresh=fresh))

    def _do_read_part(self, token: str, part: Any, offset: int, length: int) -> int:
        """Some bytes of a part; answers how many it has in all."""
        with self._store.open_part(token, part) as file:
            size = file.seek(0, 2)
            file.seek(offset)
            while length > 0 and (block := file.read(min(length, BLOCK_BYTES))):
                self._talk.tell(frames.DATA, block)
                length -= len(block)
        return size

    # --- Bytes held ---

    def _do_read(self, place: str, member: str, offset: int, length: int | None) -> None:
        blocks = self._store.read(place, member, offset, length)
        self._talk.tell_facts(frames.ROWS, [])  # it is there
        for block in blocks:
            self._talk.refuse_if_called_off()
            self._talk.tell(frames.DATA, block)

    def _do_digest(self, place: str, algorithms: list[str]) -> dict[str, Any]:
        with _Progress(self._talk) as progress:
            return self._told(self._store.digest(place, algorithms, progress))

    def _do_list(self, below: str) -> None:
        self._tell_rows([entry.place, entry.size_bytes, entry.modified_ns] for entry in self._store.list(below))

    def _do_list_staging(self) -> None:
        self._tell_rows(list(found) for found in self._store.list_staging())

    # --- The commit record ---

    def _do_append_record(self) -> None:
        with collected(self._talk) as lines:
            self._store.append_record(lines)

    def _do_read_record(self) -> list[str]:
        self._tell_rows(_record_rows(self._store.read_record()))
        return self._store.record_problems

    # --- Telling ---

    def _tell_rows(self, rows: Iterator[Any]) -> None:
        """Rows in frames of a handy size, and what there is at least every half second."""
        waiting, size, told_at = [], 0, time.monotonic()
        for row in rows:
            text = frames.packed(row)
            waiting.append(text)
            size += len(text)
            if size >= frames.ROWS_BYTES or time.monotonic() - told_at > _TELL_SECONDS:
                self._talk.refuse_if_called_off()
                self._talk.tell(frames.ROWS, b"[" + b",".join(waiting) + b"]")
                waiting, size, told_at = [], 0, time.monotonic()
        self._talk.tell(frames.ROWS, b"[" + b",".join(waiting) + b"]")

    def _told(self, content: Content) -> dict[str, Any]:
        """Send the members; returns what else there is to say."""
        waiting, size = [], 0
        for member in content.members:
            waiting.append(frames.member_record(member))
            size += len(waiting[-1])
            if size >= BLOCK_BYTES:
                self._talk.tell(frames.DATA, b"".join(waiting))
                waiting, size = [], 0
        self._talk.tell(frames.DATA, b"".join(waiting))
        return {"kind": content.kind, "size": content.size_bytes, "digest": content.digest, **_checksums(content)}


def _checksums(content: Content) -> dict[str, Any]:
    return {"checksums": content.checksums, "member_count": content.member_count}


def _record_rows(record: Iterator[tuple[RecordLine, Iterator[Member]]]) -> Iterator[Any]:
    for line, members in record:
        yield {"place": line.place, "facts": line.facts}
        for member in members:
            yield frames.member_row(member)


class _Progress:
    """Numbers of bytes just read, told some at a time; also where the near end can call it off."""

    def __init__(self, talk: Talk, *, listens: Callable[[], bool] = lambda: True) -> None:
        self._talk = talk
        self._listens = listens  # False while more of the call is on its way
        self._waiting: list[int] = []
        self._told_at = time.monotonic()

    def __enter__(self) -> Callable[[int], None]:
        return self._read

    def __exit__(self, *_: object) -> None:
        if self._waiting:
            self._talk.tell_facts(frames.PROGRESS, self._waiting)

    def _read(self, size_bytes: int) -> None:
        self._waiting.append(size_bytes)
        if len(self._waiting) >= _TELL_COUNT or time.monotonic() - self._told_at > _TELL_SECONDS:
            waiting, self._waiting, self._told_at = self._waiting, [], time.monotonic()
            self._talk.tell_facts(frames.PROGRESS, waiting)
            if self._listens():
                self._talk.refuse_if_called_off()
