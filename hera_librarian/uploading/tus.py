"""One resumable delivery of one stream to `/api/v3/uploads/` (tus 1.0), over one kept-alive connection.

After any cut the server is asked how far it got, and what it has is never sent again. What the server says of the
product is returned; what a cut, an expired upload or a busy site means is decided here and nowhere else.
"""

from collections.abc import Mapping
from typing import Any

import requests

from hera_librarian.exceptions import LibrarianError, LibrarianTimeoutError
from hera_librarian.failures import retry_after_seconds
from hera_librarian.transport import Transport
from hera_librarian.uploading.body import Body, Meter
from hera_librarian.uploading.memory import Held
from hera_librarian.uploading.pace import Pace
from hera_librarian.uploading.patience import Patience
from hera_librarian.uploading.problems import LocalProblem, Refused, UploadError, refused
from hera_librarian.uploading.results import Progress
from hera_librarian.uploading.sources import Source
from hera_librarian.uploading.tus_words import (
    BODY,
    ENDPOINT,
    VERSION,
    answer_of_headers,
    encode_metadata,
    upload_path_of,
)

PIECE_BYTES = 64 * 2**20
TIMEOUT_SECONDS = (60, 300)  # the first also bounds each block that goes out
ANY_STATUS = range(100, 600)
GONE = (404, 410)
PASSING = (408, 423, 429, 500, 502, 503, 504)
ASK_AGAIN = ("offset_mismatch", "piece_mismatch", "cut_short", "upload_incomplete", "lost_race")
PERMANENT = ("unknown_host", "not_trusted", "other_server", "redirected", "invalid_request")
TIMES_ANEW = 3
SERVER_ERRORS = 3
COMMIT_SECONDS = 300.0
COMMIT_BYTES_PER_SECOND = 10_000_000.0  # how slowly a site may read back what it has got


class _BeginAnew(Exception):
    """The server no longer has the upload; `trouble` says what it said."""

    def __init__(self, trouble: Exception) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


class _Passing(Exception):
    """What may be over in a moment; `retry_after` is the server's word on when, in seconds."""

    def __init__(self, trouble: Exception, retry_after: float | None = None) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble
        self.retry_after = retry_after


class Delivery:
    """Brings one stream to the server.

    Parameters
    ----------
    transport : Transport
    source : Source
    metadata : mapping
        Keys and values of `Upload-Metadata`.
    held : Held
        What an earlier process knew of this upload, and where to note what a later one needs.
    at_once : bool
        Send the bytes with the first request and let the server commit them: for small files whose checksum is in
        the metadata.
    """

    def __init__(
        self,
        transport: Transport,
        source: Source,
        metadata: Mapping[str, str],
        *,
        held: Held,
        patience: Patience,
        pace: Pace | None = None,
        progress: Progress | None = None,
        at_once: bool = False,
    ) -> None:
        self._transport = transport
        self._source = source
        self._metadata = metadata
        self._held = held
        self._patience = patience
        self._pace = pace
        self._at_once = at_once
        self._meter = Meter(source, progress)
        self._path = ""  # of the upload on the server; empty before it is begun
        self._offset = 0  # how far the server is known to have got
        self._furthest = 0
        self._is_sure = True  # that `_offset` is what the server would say
        self._is_finishing = False
        self._server_errors = 0
        self._answer: dict[str, Any] | None = None
        if pace is not None:
            source.block_bytes = pace.block_bytes

    def run(self) -> dict[str, Any]:
        """Deliver and return what the server says of the upload.

        Raises UploadError for this product, LibrarianHTTPError when the account may not upload, LibrarianTimeoutError
        when the server stays away; in the last two cases the upload stays where it is and can be gone on with.
        """
        for left in reversed(range(TIMES_ANEW)):
            try:
                return self._deliver()
            except _BeginAnew as lost:
                self._held.forget()
                if not left:
                    raise lost.trouble from None
            except LocalProblem:
                self._terminate()
                raise
            except Refused as refusal:
                if refusal.code == "name_taken":
                    self._held.forget()
                raise
        raise AssertionError("the last round returns or raises")

    def _deliver(self) -> dict[str, Any]:
        self._path = upload_path_of(self._held.location) if self._held.location else ""
        self._offset, self._is_sure, self._is_finishing = 0, not self._path, False
        while self._answer is None:
            try:
                self._step()
            except UploadError:
                raise
            except _Passing as passing:
                self._pause(passing.trouble, passing.retry_after)
            except LibrarianError as away:
                if away.code in PERMANENT:
                    raise
                self._pause(away)
        self._held.forget()
        self._meter.finish()
        return self._answer

    def _step(self) -> None:
        """The next thing to do, once."""
        if not self._path:
            self._create()
        elif not self._is_sure:
            self._ask_offset()
        elif self._offset < self._source.length_bytes:
            self._send_piece()
        else:
            self._finish()

    def _pause(self, trouble: Exception, retry_after: float | None = None) -> None:
        """Wait, or give up; what was under way may have arrived or not, so the server is asked first."""
        self._is_sure = False
        if isinstance(trouble, Refused):  # a fault of the server: worth another try, not a long wait
            self._server_errors += 1
            if self._server_errors > SERVER_ERRORS:
                raise trouble
        self._patience.wait(trouble, retry_after=retry_after)

    # --- Steps --------------------------------------------------------------------------------------------------------

    def _create(self) -> None:
        headers = {"Upload-Length": str(self._source.length_bytes), "Upload-Metadata": encode_metadata(self._metadata)}
        stop = self._source.length_bytes if self._at_once else 0
        self._meter.at(0)
        body = self._body(0, stop) if stop else None
        answer = self._request("POST", ENDPOINT, {**(BODY if body else VERSION), **headers}, body)
        if answer.status_code != 201:
            raise self._failure(answer)
        location = answer.headers.get("Location", "")
        self._path = upload_path_of(location)
        if not self._at_once:
            self._held.remember(location, answer.headers.get("Upload-Expires", ""))
        self._patience.renew()
        self._arrived(answer)

    def _ask_offset(self) -> None:
        """How far the server got; this takes the upload over from whoever still writes to it."""
        answer = self._request("HEAD", self._path, VERSION)
        if answer.status_code not in (200, 204):
            raise self._failure(answer)
        self._arrived(answer)
        self._source.catch_up(self._offset)

    def _send_piece(self) -> None:
        stop = min(self._offset + PIECE_BYTES, self._source.length_bytes)
        headers = {**BODY, "Upload-Offset": str(self._offset)}
        answer = self._request("PATCH", self._path, headers, self._body(self._offset, stop))
        if answer.status_code != 204:
            raise self._failure(answer)
        self._arrived(answer)

    def _finish(self) -> None:
        """Everything is there: have it committed, or look at what the server said already."""
        if not self._is_finishing:
            self._is_finishing = True
            self._source.check()
            self._patience.renew(at_least=COMMIT_SECONDS + self._source.length_bytes / COMMIT_BYTES_PER_SECOND)
        digests = {"stream_checksum": self._source.stream_checksum(), "checksum": self._source.checksum()}
        answer = self._request(
            "POST", f"{self._path}commit", VERSION, json={key: value for key, value in digests.items() if value}
        )
        if answer.status_code != 200:
            raise self._failure(answer)
        self._answer = _json(answer)

    def _arrived(self, answer: requests.Response) -> None:
        """Note how far the server got. Any answer to the last bytes may tell the outcome as well."""
        offset = answer.headers.get("Upload-Offset", "")
        if not offset.isdigit() or int(offset) > self._source.length_bytes:
            raise LibrarianTimeoutError(answer.url, f"{answer.url} answered with the upload offset {offset!r}.")
        self._offset, self._is_sure = int(offset), True
        self._meter.at(self._offset)
        if self._offset > self._furthest:
            self._furthest = self._offset
            self._patience.renew()
        if "Librarian-Outcome" in answer.headers and self._source.hashed_bytes == self._source.length_bytes:
            self._answer = answer_of_headers(answer.headers)

    def _terminate(self) -> None:
        """Tell the server that nothing more will come; if it does not hear that, the upload expires there."""
        self._held.forget()
        if self._path:
            try:
                self._transport.request("DELETE", self._path, headers=VERSION, safe=False, expect=ANY_STATUS)
            except LibrarianError:
                pass  # the product's own trouble is what the caller has to know

    # --- Asking -------------------------------------------------------------------------------------------------------

    def _request(
        self, method: str, path: str, headers: dict[str, str], body: Body | None = None, json: Any = None
    ) -> requests.Response:
        return self._transport.request(
            method,
            path,
            headers=headers,
            data=body,
            json=json,
            safe=False,
            timeout=TIMEOUT_SECONDS,
            expect=ANY_STATUS,
        )

    def _failure(self, answer: requests.Response) -> Exception:
        """What a failure that the server answered with means for the upload."""
        trouble = refused(answer, self._path or ENDPOINT)
        if answer.status_code in PASSING:
            return _Passing(trouble, retry_after_seconds(answer))
        if trouble.code in ASK_AGAIN:
            return _Passing(LibrarianTimeoutError(str(answer.url), trouble.reason, code=trouble.code))
        if trouble.code == "content_mismatch" or (self._path and answer.status_code in GONE):
            return _BeginAnew(trouble)
        return trouble

    def _body(self, start: int, stop: int) -> Body:
        return Body(self._source.blocks(start, stop), stop - start, self._pace, lambda count: self._meter.add(count))


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:  # a proxy's page
        return {}
    return said if isinstance(said, dict) else {}
