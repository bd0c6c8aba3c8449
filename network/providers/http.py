"""Resumable uploads (tus 1.0) to the peer's own API: several files at once, one stream each.

The peer has begun each upload when it took the offer; here its bytes are sent, from whatever store holds them. Threads
carry the streams, each over a kept-alive connection of its own; they touch no database, and what they report is handed
on by the thread that iterates.
"""

import math
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

from django.conf import settings

from hera_librarian.exceptions import LibrarianError
from hera_librarian.transport import Transport
from librarian.common.errors import ArchiveError
from network.models import Peer
from network.providers.base import CouldNotStart, Offer, Outcome, Parcel, Provider, Sending, failed, stopped
from network.providers.http_stream import Fatal, Stopped, Stream

TICK_SECONDS = 0.25
PATIENCE_SECONDS = 10.0  # for threads that wait for the network when they shall end
_UPLOAD_PATH = re.compile(r"v3/[a-z/]{1,64}/")


class HttpProvider(Provider):
    """Sends pieces to the uploads that the peer began."""

    name = "http"

    def offered_as(self, offer: Offer) -> bool:
        path = offer.get("upload_path")
        return isinstance(path, str) and _UPLOAD_PATH.fullmatch(path) is not None

    def why_not(self, peer: Peer, offer: Offer) -> str | None:
        return None

    def send(self, peer: Peer, offer: Offer, parcels: Sequence[Parcel], sending: Sending) -> Iterator[Outcome]:
        transport = _transport(peer)
        crew = _Crew(transport, offer["upload_path"], parcels, sending)
        try:
            yield from crew.outcomes()
        finally:
            crew.end()
            transport.close()


def _transport(peer: Peer) -> Transport:
    """Calls of the peer's API, as our account there."""
    try:
        account = peer.account()
        user, colon, password = account.authenticator.partition(":")
        credentials = {"user": user, "password": password} if colon else {"token": account.authenticator}
        return Transport(account.url, account.port, retries=0, **credentials)
    except (LibrarianError, ArchiveError) as problem:
        raise CouldNotStart(problem.reason, remedy=problem.suggested_remedy) from problem


class _Ended:
    """A thread has nothing more to do."""


class _Crew:
    """The threads of one batch and what they say."""

    def __init__(self, transport: Transport, root: str, parcels: Sequence[Parcel], sending: Sending) -> None:
        self._transport, self._root, self._sending = transport, root, sending
        self._todo = deque(parcels)
        self._open = {parcel.transfer_id: parcel for parcel in parcels}
        self._said: queue.SimpleQueue[Outcome | BaseException | _Ended] = queue.SimpleQueue()
        self._moved: dict[int, int] = {}  # bytes by transfer, written by the threads
        self._told: dict[int, int] = {}
        self._stop, self._answered = threading.Event(), threading.Event()
        self._ends_at = math.inf
        self._has_begun = False
        count = max(1, min(settings.LIBRARIAN_HTTP_STREAMS, len(parcels)))
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]

    def outcomes(self) -> Iterator[Outcome]:
        """The outcome of every parcel as it is settled. Raises CouldNotStart."""
        for thread in self._threads:
            thread.start()
        fatal: CouldNotStart | None = None
        working = len(self._threads)
        while working and (said := self._next()) is not None:
            if isinstance(said, Outcome):
                self._has_begun = True
                yield self._settle(said)
            elif isinstance(said, Fatal):
                fatal = fatal or said.problem
                self.end()
            elif isinstance(said, _Ended):
                working -= 1
            else:
                raise said
        if fatal is not None and not self._has_begun:
            raise fatal
        for parcel in list(self._open.values()):
            yield stopped(parcel) if fatal is None else failed(parcel, fatal)

    def end(self) -> None:
        """Let the threads go; they end with the block that they send."""
        if not self._stop.is_set():
            self._stop.set()
            self._ends_at = time.monotonic() + PATIENCE_SECONDS

    def _next(self) -> "Outcome | BaseException | _Ended | None":
        """What a thread says next, None when they take too long to end; tells of the bytes that went meanwhile."""
        while time.monotonic() < self._ends_at:
            self._tell()
            if not self._sending.goes_on():
                self.end()
            try:
                return self._said.get(timeout=TICK_SECONDS)
            except queue.Empty:
                pass
        return None

    def _settle(self, outcome: Outcome) -> Outcome:
        self._tell()
        self._open.pop(outcome.transfer_id, None)
        return outcome

    def _tell(self) -> None:
        for transfer_id, count in list(self._moved.items()):
            if self._told.get(transfer_id) != count:
                self._told[transfer_id] = count
                self._sending.progress(transfer_id, count)

    # --- In the threads -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Send one parcel after the other."""
        try:
            while not self._stop.is_set():
                try:
                    parcel = self._todo.popleft()
                except IndexError:
                    return
                self._said.put(self._stream(parcel).run())
        except Stopped:
            pass
        except BaseException as problem:
            self._said.put(problem)  # raised where somebody sees it
        finally:
            self._said.put(_Ended())

    def _stream(self, parcel: Parcel) -> Stream:
        def moved(count: int) -> None:
            self._moved[parcel.transfer_id] = count

        return Stream(
            self._transport,
            self._root,
            parcel,
            stop=self._stop,
            answered=self._answered,
            moved=moved,
            pace=self._sending.pace,
        )
