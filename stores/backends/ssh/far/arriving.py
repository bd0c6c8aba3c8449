"""The posix kind of store at the far end, and how bytes sent over a link get into its staging.

Each attempt writes into a directory of its own below the token's, and becomes the item once what arrived is what was
sent. So half of an item is never one, and an attempt whose line broke long ago cannot disturb the next.
"""

import errno
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from librarian.common.errors import StoreUnavailable
from stores.backends import durable, staging
from stores.backends.base import Part
from stores.backends.pipe import INLINE_BYTES, Digested, digest_bytes, run_through
from stores.backends.places import check_member_name
from stores.backends.placing import ITEM
from stores.backends.posix import PosixBackend
from stores.backends.ssh import frames
from stores.backends.ssh.far.talk import Incoming, Talk
from stores.backends.trees import NewTree, TreeTally

_ATTEMPT = "attempt-"


class FarStore(PosixBackend):
    """A posix store that also takes what comes over a link."""

    def __init__(self, store: Any, talk: Talk) -> None:
        super().__init__(store)
        self._talk = talk

    def receive_item(self, token: str) -> dict[str, Any]:
        """A flat item; what its sender saw of it comes at its end."""
        with self._token("writing to staging", token) as fd, _attempt(fd) as attempt:
            incoming = Incoming(self._talk)
            found = staging.write_stream(attempt, incoming, [], self._settling, None)
            self._compare({"size": found.size_bytes, "digest": found.digest}, incoming.seal)
        return {"size": found.size_bytes, "digest": found.digest}

    def receive_members(self, token: str) -> dict[str, Any]:
        """A tree, step by step in the order of its digest."""
        with self._token("writing to staging", token) as fd, _attempt(fd) as attempt:
            tree = _Tree(NewTree(ITEM, at=attempt, settling=self._settling), self._talk)
            found, seal = tree.receive()
            self._compare(found, seal)
        return found

    def receive_piece(self, token: str, part: Part, writer: str, at_bytes: int, asks: bool) -> dict[str, Any]:
        """A piece of a delivery; it is cut off again if what arrived is not what was sent."""
        incoming, hasher = Incoming(self._talk), hashlib.sha256()

        def accept(came: int) -> bool:
            is_whole = incoming.seal == {"digest": hasher.hexdigest()}
            return is_whole and bool(self._talk.ask({"came": came}))

        def append(source: io.BufferedIOBase, **options: Any) -> int:
            place = {"token": token, "part": part, "writer": writer, "at_bytes": at_bytes}
            return self.append(source=source, **place, **options)

        came = append(
            incoming,
            hashers={"sha256": hasher},
            on_durable=lambda size: self._talk.tell_facts(frames.DURABLE, size),
            accept=accept if asks else None,
        )
        found = {"digest": hasher.hexdigest()}
        try:
            self._compare(found, incoming.seal)
        except StoreUnavailable:
            append(io.BytesIO(b""), hashers={}, on_durable=lambda _: None)
            raise
        return {"kept": came, **found}

    def _compare(self, found: dict[str, Any], sent: dict[str, Any] | None) -> None:
        if found != sent:
            raise StoreUnavailable(
                f"Store {self.store.name}: what arrived there is not what was sent ({found} instead of {sent}).",
                remedy="It is sent again. If it happens often, have the memory of both machines checked.",
            )


@contextmanager
def _attempt(token: int) -> Iterator[int]:
    """A new directory in that of the token; what is in it as the item becomes the item at the end."""
    for entry in os.scandir(token):
        if entry.name.startswith(_ATTEMPT):
            durable.remove_tree(entry.name, at=token)
    name = _ATTEMPT + secrets.token_hex(6)
    os.mkdir(name, 0o700, dir_fd=token)
    try:
        with durable.closing(durable.open_directory(name, at=token)) as attempt:
            _clear_item(token)  # of an earlier attempt: from here on there is none
            yield attempt
            os.rename(ITEM, ITEM, src_dir_fd=attempt, dst_dir_fd=token)
    finally:
        durable.remove_tree(name, at=token)


def _clear_item(token: int) -> None:
    problems = durable.remove_tree(ITEM, at=token)
    if problems:
        raise PermissionError(errno.EPERM, f"what an earlier attempt left cannot be removed ({problems[0]})", ITEM)


class _Tree:
    """Writes a tree as it arrives, and takes its digest."""

    def __init__(self, sink: NewTree, talk: Talk) -> None:
        self._sink, self._talk = sink, talk
        self._tally = TreeTally([])
        self._above: list[tuple[bytes, int]] = []  # path, and the members told before it, of each open directory

    def receive(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns what was found and what the sender says of it."""
        steps: dict[str, Callable[[str], None]] = {"enter": self._enter, "leave": self._leave, "file": self._file}
        try:
            while True:
                kind, facts = self._talk.take_facts(frames.STEP, frames.END)
                if kind == frames.END:
                    found = self._tally.content()
                    return {"size": found.size_bytes, "digest": found.digest, "count": found.member_count}, facts
                ((step, name),) = facts.items()
                steps[step](name)
        finally:
            self._sink.close()

    def _path(self, name: str) -> bytes:
        return check_member_name(name, self._above[-1][0] + b"/" if self._above else b"")

    def _enter(self, name: str) -> None:
        self._above.append((self._path(name), self._tally.count))
        self._sink.enter(name)

    def _leave(self, _: str) -> None:
        path, before = self._above.pop()
        if self._tally.count == before:
            self._tally.add_empty_directory(path)
        self._sink.leave()

    def _file(self, name: str) -> None:
        path = self._path(name)
        with durable.closing(self._sink.create(name)) as target:
            found = _receive_file(Incoming(self._talk), target)
            self._sink.finish(target)
        self._tally.add_file(path, found)


def _receive_file(incoming: Incoming, target: int) -> Digested:
    parts, size = [], 0
    while size < INLINE_BYTES and (part := incoming.read(INLINE_BYTES - size)):
        parts.append(part)
        size += len(part)
    start = b"".join(parts)
    if size == INLINE_BYTES:
        return run_through(incoming.readinto, ["sha256"], target=target, start=start)
    durable.write_all(target, start)
    return Digested(size, digest_bytes(start, ["sha256"]))
