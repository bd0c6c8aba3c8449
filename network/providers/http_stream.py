"""One parcel as one resumable upload: what is sent, what the peer's answers mean, and when to ask it again.

The peer is asked how far it got before a large file and after any trouble; what it has is never sent again. A small
file is one request.
"""

import threading
from collections.abc import Callable, Iterator

import requests

from hera_librarian.exceptions import LibrarianError, LibrarianTimeoutError
from hera_librarian.failures import failure
from hera_librarian.transport import Transport
from hera_librarian.uploading.body import Body
from hera_librarian.uploading.pace import Pace
from hera_librarian.uploading.patience import next_pause
from hera_librarian.uploading.tus_words import BODY, VERSION
from librarian.common.errors import ArchiveError
from network.providers import trouble
from network.providers.base import CouldNotStart, Outcome, Parcel, failed, sent
from network.providers.streams import SourceChanged, exactly, tar_length, tar_part

PIECE_BYTES = 64 * 2**20
SMALL_BYTES = 2**20  # up to here a file goes off without asking first
TIMEOUT_SECONDS = (60.0, 300.0)  # the first also bounds each block that goes out
TRIES = 5  # in a row in which nothing went on
LONGEST_PAUSE_SECONDS = 10.0
LONGEST_ASKED_SECONDS = 120.0
ANY_STATUS = range(100, 600)
PASSING = (408, 423, 429, 500, 502, 503, 504)
PERMANENT = ("unknown_host", "not_trusted", "other_server", "redirected", "invalid_request", "invalid_address")
MOST_SAID = 500


class HttpRefused(CouldNotStart):
    code = "http_refused"
    remedy = "The peer does not let our account upload: check its level there (READAPPEND), and the authenticator here."
    passing = False


class HttpUnreachable(CouldNotStart):
    code = "http_unreachable"
    remedy = "Check the peer's address, and the tunnel, proxy or firewall between; it is tried again."


class Stopped(Exception):
    """The provider shall end."""


class Fatal(Exception):
    """What stands in the way of every parcel."""

    def __init__(self, problem: CouldNotStart) -> None:
        super().__init__(problem.reason)
        self.problem = problem


class _Settled(Exception):
    """The outcome is known."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class _Trouble(Exception):
    """What may be over in a moment; `pause` is the peer's word on when, in seconds."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pause = pause


class Stream:
    """Brings one parcel to its upload at the peer.

    Parameters
    ----------
    transport : Transport
    root : str
        Path of the peer's uploads below its API's root.
    stop : threading.Event
        Set when the provider shall end.
    answered : threading.Event
        Set here once the peer answers; one that never did cannot be reached at all.
    moved : callable
        Told how many bytes of the file are over there by now.
    """

    def __init__(
        self,
        transport: Transport,
        root: str,
        parcel: Parcel,
        *,
        stop: threading.Event,
        answered: threading.Event,
        moved: Callable[[int], None],
        pace: Pace | None,
    ) -> None:
        self._transport, self._parcel, self._pace = transport, parcel, pace
        self._stop, self._answered, self._moved = stop, answered, moved
        self._path = f"{root}{parcel.upload_id}/"
        self._top = parcel.file_name.rpartition("/")[2]
        self._length = parcel.size_bytes
        if parcel.is_directory:
            self._length = tar_length(self._top, parcel.entries)
        self._offset: int | None = 0 if self._length <= SMALL_BYTES else None  # None: the peer has to say
        self._furthest = self._position = 0
        self._tries = 0

    def run(self) -> Outcome:
        """Send it. Raises Stopped, Fatal."""
        if self._parcel.upload_id is None:
            return trouble.destination_refused(self._parcel, "it began no upload for it")
        try:
            while self._step():
                pass
            return sent(self._parcel)
        except _Settled as settled:
            return settled.outcome
        except SourceChanged as problem:
            return trouble.short(self._parcel, str(problem))
        except ArchiveError as problem:  # of the store that holds the copy
            return failed(self._parcel, problem)

    def _step(self) -> bool:
        """The next thing to do, once; False when all is over there."""
        if self._stop.is_set():
            raise Stopped
        try:
            if self._offset is None:
                self._ask()
            else:
                self._send_piece(self._offset)
        except _Trouble as problem:
            self._wait(problem)
        except LibrarianTimeoutError as problem:
            if problem.code in PERMANENT or (problem.code == "not_reached" and not self._answered.is_set()):
                raise Fatal(HttpUnreachable(problem.reason, remedy=problem.suggested_remedy)) from problem
            self._wait(_Trouble(problem.reason))
        except LibrarianError as problem:
            raise Fatal(CouldNotStart(problem.reason, remedy=problem.suggested_remedy)) from problem
        return self._offset is None or self._offset < self._length

    def _wait(self, problem: _Trouble) -> None:
        """Pause and ask the peer how far it got, or give up."""
        self._offset = None
        self._tries += 1
        pause = next_pause(self._tries - 1, longest=LONGEST_PAUSE_SECONDS)
        if problem.pause is not None:
            pause = max(pause, problem.pause)
        if self._tries >= TRIES or pause > LONGEST_ASKED_SECONDS:
            raise _Settled(self._cut(problem.reason))
        if self._stop.wait(pause):
            raise Stopped

    def _cut(self, reason: str) -> Outcome:
        return failed(
            self._parcel,
            code="connection_cut",
            reason=reason,
            remedy="Sending goes on where it ended; look at the line between the sites if it stays so.",
            passing=True,
        )

    # --- Asking and sending -------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """How far the peer got; this also ends what an earlier process of ours still sends."""
        answer = self._request("HEAD", VERSION)
        length = answer.headers.get("Upload-Length", "")
        if length != str(self._length):
            raise _Settled(self._no(f"its upload is of {length[:20] or 'unknown'} bytes, ours of {self._length}"))
        self._arrived(answer)

    def _send_piece(self, start: int) -> None:
        stop = min(start + PIECE_BYTES, self._length)
        body = Body(self._blocks(start, stop), stop - start, self._pace, self._count) if start < stop else b""
        self._position = start
        self._arrived(self._request("PATCH", {**BODY, "Upload-Offset": str(start)}, body))
        if self._offset <= start < self._length:
            raise _Trouble("The peer took nothing of what was sent.")

    def _blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        """Bytes of the stream, in blocks that the pace allows."""
        most = 2**20 if self._pace is None else self._pace.block_bytes
        for block in self._source(start, stop):
            for low in range(0, len(block), most):
                if self._stop.is_set():
                    raise Stopped
                yield block[low : low + most]

    def _source(self, start: int, stop: int) -> Iterator[memoryview]:
        copy, members = self._parcel.source, self._parcel.entries
        if self._parcel.is_directory:
            return tar_part(copy.backend, copy.place, top=self._top, members=members, start=start, stop=stop)
        return exactly(copy.backend, copy.place, "", offset=start, length=stop - start)

    def _count(self, count: int) -> None:
        self._position += count
        self._tell(self._position)

    def _tell(self, position: int) -> None:
        self._moved(self._parcel.size_bytes * position // max(self._length, 1))

    def _arrived(self, answer: requests.Response) -> None:
        offset = answer.headers.get("Upload-Offset", "")
        if not offset.isdecimal() or len(offset) > 18 or int(offset) > self._length:
            raise _Settled(self._no(f"it answers with the offset {offset[:20]!r}"))
        self._offset = int(offset)
        self._tell(self._offset)
        if self._offset > self._furthest:
            self._furthest, self._tries = self._offset, 0

    # --- Answers ------------------------------------------------------------------------------------------------------

    def _request(self, method: str, headers: dict[str, str], body: Body | bytes | None = None) -> requests.Response:
        """The peer's answer if it is a good one; what another means is raised."""
        answer = self._transport.request(
            method,
            self._path,
            headers=headers,
            data=body,
            stream=True,
            safe=False,
            timeout=TIMEOUT_SECONDS,
            expect=ANY_STATUS,
        )
        self._answered.set()
        if answer.status_code in (200, 204):
            answer.raw.read(2**16)  # to its end, so that the connection can be used again
            answer.close()
            return answer
        raise self._meaning(answer)

    def _meaning(self, answer: requests.Response) -> Exception:
        said = failure(answer, self._path)
        reason = said.reason[:MOST_SAID]
        status = answer.status_code
        if status in (401, 403):
            return Fatal(HttpRefused(f"The peer refuses our account: {reason}"))
        if status in (404, 410):
            return _Settled(trouble.destination_gone(self._parcel))
        if status == 413:
            return _Settled(trouble.destination_full(self._parcel))
        if status in PASSING or status == 409:  # 409: it has got further, or less far, than we believe
            return _Trouble(f"The peer answered with status {status}: {reason}", said.retry_after_seconds)
        return _Settled(self._no(f"status {status}, {reason}"))

    def _no(self, why: str) -> Outcome:
        return failed(
            self._parcel,
            code="peer_answers_no",
            reason=f"The peer does not take {self._parcel.file_name}: {why}.".replace("..", "."),
            remedy="Do what its reason says, or ask the people who run that site.",
        )
