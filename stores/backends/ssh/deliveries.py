"""What happens to a delivery in the staging area of a far host, before its bytes get a place."""

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from librarian.common.errors import StoreUnavailable
from stores.backends.base import BLOCK_BYTES, Content, Part, Progress, StoreBackend, TreeEntry
from stores.backends.places import CORNER, split_new_place
from stores.backends.placing import ITEM
from stores.backends.ssh import frames, sending, streams
from stores.backends.ssh.lines import Lines
from stores.backends.staging_area import check_token

if TYPE_CHECKING:
    from stores.models import Store


class Deliveries(StoreBackend):
    """The half of the backend that brings bytes in."""

    def __init__(self, store: "Store", lines: Lines) -> None:
        super().__init__(store)
        self._lines = lines
        self._host: str = store.configuration["host"]
        self._root: str = store.configuration["root"]
        self._staging: str = store.configuration.get("staging") or f"{self._root}/{CORNER}/staging"

    def item_location(self, token: str) -> str:
        return f"{self._staging}/{check_token(token)}/{ITEM}"

    def stage(self, token: str, *, private: bool = False) -> str:
        return str(self._lines.ask("stage", token=check_token(token), private=private))

    def write_item(
        self, token: str, source: IO[bytes], algorithms: Iterable[str], progress: Progress | None = None
    ) -> Content:
        with self._lines.calling("write_item", token=check_token(token)) as call, sending.sending(call) as sender:
            content = sending.send_stream(sender, source, list(algorithms), progress)
            return self._agreed(content, call.answer())

    def take_over(self, token: str, part: Part, *, writer: str, durable_bytes: int) -> int:
        return int(
            self._lines.ask(
                "take_over", token=check_token(token), part=part, writer=writer, durable_bytes=durable_bytes
            )
        )

    def append(
        self,
        token: str,
        part: Part,
        source: IO[bytes],
        *,
        writer: str,
        at_bytes: int,
        hashers: Mapping[str, Any],
        on_durable: Callable[[int], None],
        accept: Callable[[int], bool] | None = None,
    ) -> int:
        arguments = {"token": check_token(token), "part": part, "writer": writer, "at_bytes": at_bytes}
        told = {"on_durable": on_durable, "accept": accept}
        piece = hashlib.sha256()
        with (
            self._lines.calling("append", told, **arguments, asks=accept is not None) as call,
            sending.sending(call) as sender,
        ):
            sender.send(sending.reader(source), {**hashers, "": piece}, None)
            call.send_facts(frames.END, {"digest": piece.hexdigest()})
            return int(call.answer()["kept"])

    def part_size(self, token: str, part: Part) -> int:
        return int(self._lines.ask("part_size", token=check_token(token), part=part))

    @contextmanager
    def open_part(self, token: str, part: Part) -> Iterator[IO[bytes]]:
        read = partial(self._read_part, check_token(token), part)
        size, _ = read(0, 0)
        with io.BufferedReader(streams.Part(size, lambda *where: read(*where)[1]), BLOCK_BYTES) as file:
            yield file

    def _read_part(self, token: str, part: Part, offset: int, length: int) -> tuple[int, bytes]:
        with self._lines.calling("read_part", token=token, part=part, offset=offset, length=length) as call:
            data = b"".join(call.parts(frames.DATA))
            return int(call.answer()), data

    def keep_item(self, token: str) -> int:
        return int(self._lines.ask("keep_item", token=check_token(token)))

    def write_tree(
        self,
        token: str,
        entries: Iterable[TreeEntry],
        algorithms: Iterable[str],
        progress: Progress | None = None,
        *,
        limit_bytes: int | None = None,
    ) -> Content:
        arguments = {"token": check_token(token), "algorithms": list(algorithms), "limit_bytes": limit_bytes}
        with (
            self._lines.calling("write_tree", {"progress": progress}, **arguments) as call,
            sending.sending(call) as sender,
        ):
            sending.send_entries(sender, entries)
            return streams.receive_content(call)

    def copy_in(self, token: str, source: str, algorithms: Iterable[str], progress: Progress | None = None) -> Content:
        check_token(token)
        with sending.opened(source) as fd:
            act, send = ("write_members", sending.send_tree) if _is_directory(fd) else ("write_item", sending.send_file)
            with self._lines.calling(act, token=token) as call, sending.sending(call) as sender:
                content = send(sender, fd, source, list(algorithms), progress)
                return self._agreed(content, call.answer())

    def _agreed(self, content: Content, found: dict[str, Any]) -> Content:
        """What we read, once the far end has found the same."""
        if (content.size_bytes, content.digest) != (found["size"], found["digest"]):
            raise StoreUnavailable(
                f"Store {self.store.name}: the host {self._host} did not receive what was sent.",
                remedy="It is sent again. If it happens often, have the memory of both machines checked.",
            )
        return content

    def adopt(
        self, token: str, algorithms: Iterable[str], progress: Progress | None = None, *, fresh: bool = False
    ) -> Content:
        arguments = {"token": check_token(token), "algorithms": list(algorithms), "fresh": fresh}
        with self._lines.calling("adopt", {"progress": progress}, **arguments) as call:
            return streams.receive_content(call)

    def set_aside_item(self, token: str) -> str:
        return str(self._lines.ask("set_aside_item", token=check_token(token)))

    def has_item(self, token: str) -> bool:
        return bool(self._lines.ask("has_item", token=check_token(token)))

    def sync_items(self, tokens: Iterable[str]) -> None:
        self._lines.ask("sync_items", tokens=[check_token(token) for token in tokens])

    def place_item(self, token: str, place: str) -> None:
        split_new_place(place)
        self._lines.ask("place_item", token=check_token(token), place=place)

    def sync_bytes(self, places: Iterable[str]) -> None:
        self._lines.ask("sync_bytes", places=list(places))

    def sync_places(self, places: Iterable[str]) -> None:
        self._lines.ask("sync_places", places=list(places))

    def is_placed(self, token: str, place: str) -> bool:
        return bool(self._lines.ask("is_placed", token=check_token(token), place=place))

    def drop_staging(self, token: str) -> None:
        self._lines.ask("drop_staging", token=check_token(token))

    def list_staging(self) -> Iterator[tuple[str, float]]:
        return ((token, changed) for token, changed in self._lines.rows("list_staging"))


def _is_directory(fd: int) -> bool:
    return os.path.isdir(fd)
