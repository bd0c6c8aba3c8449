"""Calls to the far end of one store: over the link that a batch holds, or one from the pool; its failures explained."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from librarian.common.errors import StoreUnavailable
from stores.backends.ssh import streams
from stores.backends.ssh.exchange import Exchange
from stores.backends.ssh.links import Link, LinkBroken
from stores.backends.ssh.opening import broken_line, describe, unavailable
from stores.backends.ssh.pool import links
from stores.backends.ssh.sharing import forget_sharing

if TYPE_CHECKING:
    from stores.models import Store


class Lines:
    """Calls to the far end of a store; safe to share between threads."""

    def __init__(self, store: "Store") -> None:
        self._row, self._configuration = store, dict(store.configuration)
        self._held = threading.local()

    @property
    def _store(self) -> dict[str, Any]:
        return describe(self._row)

    def ask(self, act: str, **arguments: Any) -> Any:
        """The answer to a call of which nothing streams.

        All of these may be repeated: one that met a line which had broken while it was at rest goes over a new one.
        """
        with self._explained():
            ticket = self.begin(act, **arguments)
            try:
                return ticket.exchange.answer()
            except LinkBroken as error:
                if error.is_silent or not ticket.may_be_stale:
                    raise
            finally:
                ticket.close()
            ticket = self.begin(act, **arguments)
            try:
                return ticket.exchange.answer()
            finally:
                ticket.close()

    @contextmanager
    def calling(self, act: str, told: Mapping[str, Any] | None = None, /, **arguments: Any) -> Iterator[Exchange]:
        """A call for the length of a block. `told` holds what is to be called meanwhile."""
        with self._explained():
            ticket = self.begin(act, told, **arguments)
            try:
                yield ticket.exchange
            finally:
                ticket.close()

    def begin(self, act: str, told: Mapping[str, Any] | None = None, /, **arguments: Any) -> "Ticket":
        """A call that lasts until its ticket is closed."""
        link = self._free_held_link()
        is_held = link is not None
        if link is None:
            link = links.take(self._store, self._configuration)
        try:
            return Ticket(self, link, Exchange(link, self._store, act, arguments, **(told or {})), is_held=is_held)
        except BaseException:
            self.release(link, is_held=is_held)
            raise

    def begin_telling(self, kind: bytes, act: str, **arguments: Any) -> "Ticket":
        """A call of which the first part of a kind has come, or that has ended well before.

        One that met a line which had broken while it was at rest goes over a new one, as with `ask`.
        """
        with self._explained():
            ticket = self.begin(act, **arguments)
            try:
                return ticket.begun(kind)
            except LinkBroken as error:
                if error.is_silent or not ticket.may_be_stale:
                    raise
            return self.begin(act, **arguments).begun(kind)

    def rows(self, act: str, *, on_end: Callable[[Any], None] | None = None, **arguments: Any) -> Iterator[Any]:
        """The rows that a call tells, as they come."""
        with self._explained():
            yield from streams.rows(self.begin(act, **arguments), on_end)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep one link, and what the far end opens for it, for all calls of this thread inside."""
        if getattr(self._held, "link", None) is not None:
            yield
            return
        link = links.take(self._store, self._configuration)
        self._held.link, self._held.is_free, self._held.is_let_go = link, True, True
        try:
            self.ask("hold")
            self._held.is_let_go = False
            try:
                yield
            finally:
                self._let_go(link)
        finally:
            if not self._held.is_let_go:
                link.close()  # it failed, or is used by a reading that outlives the batch
            self._held.link = None
            links.give_back(self._configuration, link)

    def _let_go(self, link: Link) -> None:
        """Let the far end close what it opened; a line that fails at the very end of a batch spoils nothing."""
        if self._held.is_free and not link.is_closed:
            try:
                self.ask("release")
                self._held.is_let_go = True
            except StoreUnavailable:
                pass  # the far end closes it when the line is closed

    def _free_held_link(self) -> Link | None:
        link = getattr(self._held, "link", None)
        if link is None or link.is_closed or not self._held.is_free:
            return None
        self._held.is_free = False
        return link

    def release(self, link: Link, *, is_held: bool) -> None:
        """Let others use the link of a call that has ended."""
        if is_held and getattr(self._held, "link", None) is link:
            self._held.is_free = True
        elif not is_held:
            links.give_back(self._configuration, link)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except LinkBroken as error:
            raise self.explain(error) from error

    def explain(self, error: LinkBroken) -> StoreUnavailable:
        """What a line that broke means: nothing is known of what was to be done."""
        if error.is_silent:
            forget_sharing(self._configuration)
        return unavailable(self._store, broken_line(self._configuration["host"], error))


class Ticket:
    """A call under way, on its link."""

    def __init__(self, lines: Lines, link: Link, exchange: Exchange, *, is_held: bool) -> None:
        self._lines, self._link, self._is_held = lines, link, is_held
        self._is_closed = False
        self.may_be_stale = link.has_rested and not is_held
        self.exchange = exchange

    def begun(self, kind: bytes) -> "Ticket":
        """Wait for the first part; closed where it fails."""
        try:
            next(self.exchange.parts(kind), None)
            if self.exchange.has_ended:
                self.exchange.answer()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End the call, called off if it has not ended, and free the link."""
        if not self._is_closed:
            self._is_closed = True
            self.exchange.call_off()
            self._lines.release(self._link, is_held=self._is_held)

    def explain(self, error: LinkBroken) -> StoreUnavailable:
        return self._lines.explain(error)
