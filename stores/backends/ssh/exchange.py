"""One call over a link: what is sent for it, what comes of it, and its end, after which the link is free again."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hera_librarian.checksums import new_hasher
from librarian.common.errors import StoreUnavailable, rebuild_error
from stores.backends.base import Progress
from stores.backends.ssh import frames
from stores.backends.ssh.links import Link, LinkBroken

_END_SECONDS = 10.0  # for the far end to tidy up after a call that was called off
_ENDS = (frames.ANSWER, frames.ERROR)


class Exchange:
    """A call that is under way.

    Parameters
    ----------
    store : mapping
        What the far end has to know of the store that it is about.
    progress, on_durable, accept : callable, optional
        What the contract's methods are given; called while something is sent or waited for.
    """

    def __init__(
        self,
        link: Link,
        store: Mapping[str, Any],
        act: str,
        arguments: Mapping[str, Any],
        *,
        progress: Progress | None = None,
        on_durable: Callable[[int], None] | None = None,
        accept: Callable[[int], bool] | None = None,
    ) -> None:
        self._link = link
        self._progress, self._on_durable, self._accept = progress, on_durable, accept
        self._hashers: dict[int, Any] = {}
        self._end: tuple[bytes, Any] | None = None
        self._is_over = False
        link.send(frames.CALL, frames.packed({"act": act, "store": store, "arguments": arguments}))

    def send(self, kind: bytes, payload: bytes | memoryview = b"") -> None:
        """Send a frame of the call. Raises what the far end has met meanwhile."""
        self._link.send(kind, payload)
        while self._end is None and (frame := self._link.receive_waiting()) is not None:
            self._heed(*frame)
        if self._end is not None:
            self.answer()

    def send_facts(self, kind: bytes, facts: Any) -> None:
        self.send(kind, frames.packed(facts))

    def parts(self, kind: bytes) -> Iterator[bytearray]:
        """Payloads of one kind, up to the end of the call."""
        while self._end is None:
            frame = self._link.receive()
            if frame[0] == kind:
                yield frame[1]
            else:
                self._heed(*frame)

    @property
    def has_ended(self) -> bool:
        """True once the far end has said its last word."""
        return self._end is not None

    def answer(self) -> Any:
        """Wait for the end of the call; returns the answer, or raises the error of the far end."""
        while self._end is None:
            self._heed(*self._link.receive())
        self._finish()
        kind, facts = self._end
        if kind == frames.ERROR:
            raise _rebuilt(facts)
        return facts

    def call_off(self) -> None:
        """End the call before its end and let the far end tidy up; the link is closed where it does not in time."""
        if self._link.is_closed:
            return
        try:
            self._finish()
            while self._end is None:
                kind, payload = self._link.receive(within_seconds=_END_SECONDS)
                if kind in _ENDS:
                    self._end = kind, frames.unpacked(payload)
        except LinkBroken:
            pass  # closed then, as it is when the far end has died

    def _finish(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._link.send(frames.OVER)
            self._link.flush()

    def _heed(self, kind: bytes, payload: bytearray) -> None:
        """Deal with what the far end tells by the way."""
        if kind in _ENDS:
            self._end = kind, frames.unpacked(payload)
        elif kind == frames.PROGRESS:
            for size in frames.unpacked(payload) if self._progress is not None else ():
                self._progress(size)  # type: ignore[misc]
        elif kind == frames.DURABLE:
            if self._on_durable is not None:
                self._on_durable(frames.unpacked(payload))
        elif kind == frames.HASH:
            (name,) = frames.HASHER.unpack_from(payload)
            self._hasher(name).update(memoryview(payload)[frames.HASHER.size :])
        elif kind == frames.QUESTION:
            self._link.send(frames.REPLY, frames.packed(self._reply(frames.unpacked(payload))))
            self._link.flush()

    def _reply(self, question: dict[str, Any]) -> Any:
        if "hasher" in question:
            hasher = self._hasher(question["hasher"])
            del self._hashers[question["hasher"]]
            return hasher.hexdigest()
        return self._accept is not None and self._accept(question["came"])

    def _hasher(self, name: int) -> Any:
        if name not in self._hashers:
            self._hashers[name] = new_hasher("xxh3")
        return self._hashers[name]


def _rebuilt(facts: dict[str, Any]) -> Exception:
    """The error that the far end met."""
    if facts["code"] == frames.NO_PLACE:
        return ValueError(facts["reason"])
    if not facts["code"] or facts["code"] == frames.CALLED_OFF:
        return StoreUnavailable(f"The far end of the store failed: {facts['reason'] or 'it gave up'}.")
    error = rebuild_error(facts["code"], facts["reason"])
    error.suggested_remedy, error.extra = facts["remedy"], facts["extra"]
    return error
