"""Stores in a directory of another machine, whose far end runs our own posix kind of store.

Configuration: `host` (a destination of ssh, maybe user@host; whatever else is needed to get there stands in the ssh
configuration), `root`, `staging` if it is not to be below the root, `python` if it is not to be python3, `ssh_config`
if it is not to be the user's own. Paths are those of the far host.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from librarian.common.errors import Misconfigured, StoreUnavailable
from stores.backends.base import (
    BLOCK_BYTES,
    Availability,
    Content,
    Entry,
    Kind,
    Member,
    Progress,
    RecordLine,
    Space,
)
from stores.backends.places import CORNER, PAPERS, split_place
from stores.backends.ssh import frames, recording, streams
from stores.backends.ssh.configuration import check_configuration
from stores.backends.ssh.deliveries import Deliveries
from stores.backends.ssh.lines import Lines
from stores.backends.staging_area import check_token

if TYPE_CHECKING:
    from stores.models import Store


class SshBackend(Deliveries):
    """Bytes below a directory of a far host."""

    def __init__(self, store: "Store") -> None:
        problems = check_configuration(store.configuration)
        if problems:
            raise Misconfigured(f"Store {store.name}: {' '.join(problems)}")
        super().__init__(store, Lines(store))
        self._problems: list[str] = []

    # --- The store itself ---

    @staticmethod
    def check_configuration(configuration: dict[str, Any]) -> list[str]:
        return check_configuration(configuration)

    def initialise(self) -> None:
        self._lines.ask("initialise")

    def carries_marker(self) -> bool:
        return bool(self._lines.ask("carries_marker"))

    def check(self) -> Availability:
        try:
            return Availability(*self._lines.ask("check"))
        except StoreUnavailable as error:
            prefix = f"Store {self.store.name} is not available: "
            return Availability(False, error.reason.removeprefix(prefix).removesuffix("."), error.suggested_remedy)

    def space(self) -> Space:
        return Space(*self._lines.ask("space"))

    def holding(self) -> AbstractContextManager[None]:
        return self._lines.holding()

    # --- Bytes held ---

    def locate(self, place: str) -> str:
        split_place(place)
        return f"{self._host}:{self._root}/{place}"  # as scp and rsync understand it

    def place_of(self, location: str) -> str | None:
        path = location.removeprefix(f"{self._host}:")
        if path == location or not path.startswith("/") or "\x00" in path or ".." in path.split("/"):
            return None  # what '..' leads to behind a link is known to the far host only
        path = os.path.normpath(path)
        if not path.startswith(f"{self._root}/"):
            return None
        place = path[len(self._root) + 1 :]
        is_paper = self.store.travelling and place in PAPERS
        return None if place.split("/")[0] == CORNER or is_paper else place

    def stat(self, place: str) -> tuple[Kind, int]:
        kind, size = self._lines.ask("stat", place=place)
        return kind, size

    def read(self, place: str, member: str = "", offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        arguments = {"place": place, "member": member, "offset": offset, "length": length}
        blocks = streams.Blocks(self._lines.begin_telling(frames.ROWS, "read", **arguments))  # it is there
        if length is not None and length <= BLOCK_BYTES:
            return iter(list(blocks))  # at once, which frees the line
        return blocks

    def digest(self, place: str, algorithms: Iterable[str], progress: Progress | None = None) -> Content:
        arguments = {"place": place, "algorithms": list(algorithms)}
        with self._lines.calling("digest", {"progress": progress}, **arguments) as call:
            return streams.receive_content(call)

    def list(self, below: str = "") -> Iterator[Entry]:
        return (Entry(*row) for row in self._lines.rows("list", below=below))

    def set_aside(self, place: str, token: str) -> str:
        return str(self._lines.ask("set_aside", place=place, token=check_token(token)))

    def remove(self, place: str) -> None:
        self._lines.ask("remove", place=place)

    # --- Papers ---

    def write_paper(self, name: str, blocks: Iterable[bytes]) -> None:
        with self._lines.calling("write_paper", name=name) as call:
            for block in blocks:
                call.send(frames.DATA, block)
            call.send(frames.END)
            call.answer()

    def read_paper(self, name: str, *, limit_bytes: int) -> bytes | None:
        with self._lines.calling("read_paper", name=name, limit_bytes=limit_bytes) as call:
            paper = b"".join(call.parts(frames.DATA))
            return paper if call.answer() else None

    # --- The commit record ---

    def append_record(self, lines: Iterable[tuple[RecordLine, Iterable[Member]]]) -> None:
        with self._lines.calling("append_record") as call:
            recording.send_lines(call, lines)
            call.answer()

    def read_record(self) -> Iterator[tuple[RecordLine, Iterator[Member]]]:
        self._problems = []
        return streams.record_lines(self._lines.rows("read_record", on_end=self._problems.extend))

    @property
    def record_problems(self) -> "list[str]":
        return [*self._problems]
