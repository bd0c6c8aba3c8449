"""The bytes of one flat file or member over HTTP, in blocks from any offset, going on where a connection broke.

Every range is asked for under the digest of the catalogue (`If-Range`), and every answer must name it (`ETag`): bytes
of two contents are never mixed. Which copy is read is the server's choice, with every request anew.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from requests import Response
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from hera_librarian.exceptions import LibrarianError, LibrarianTimeoutError
from hera_librarian.finding.pages import file_address

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient

BLOCK_BYTES = 256 * 1024
MOST_CUTS = 6  # one after the other, without a single byte in between
CUTS = (HTTPError, RequestException, OSError)
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 20.0


class Content:
    """Bytes that the catalogue knows by size and SHA-256. Used by one thread at a time.

    Attributes
    ----------
    size_bytes, sha256 : int, str
        Of the whole.
    store : str
        Read only the copy on the store of this name; empty: whichever the server chooses.
    bytes_fetched, requests_made : int
        What came over the network so far.
    """

    def __init__(
        self, client: "LibrarianClient", name: str, size_bytes: int, sha256: str, *, member: str | None = None
    ) -> None:
        self._transport = client.transport
        self._address = file_address(name, "content")
        self._member = member
        self._etag = f'"{sha256}"'
        self.store = ""
        self.shown_name = f"{name}/{member}" if member else name
        self.size_bytes = size_bytes
        self.sha256 = sha256
        self.bytes_fetched = 0
        self.requests_made = 0

    def blocks(
        self, first: int = 0, end: int | None = None, *, pause: Callable[[float], object] = time.sleep
    ) -> Iterator[bytes]:
        """Blocks of the bytes from `first` up to `end` (by default all the rest), each once and in order.

        Raises
        ------
        LibrarianTimeoutError
            The connection broke again and again without a byte.
        LibrarianError
            The bytes are not those of the catalogue, or come only as a whole (`no_ranges`).
        LibrarianHTTPError
            The server refuses, for instance because no copy can be read now.
        """
        end = self.size_bytes if end is None else min(end, self.size_bytes)
        cuts = 0
        while first < end:
            response: Response | None = None
            try:
                response = self._ask(first, end)
                while first < end:
                    block = response.raw.read(min(BLOCK_BYTES, end - first))
                    if not block:
                        raise ConnectionError("the body ended early")
                    first += len(block)
                    self.bytes_fetched += len(block)
                    cuts = 0
                    yield block
            except (*CUTS, LibrarianTimeoutError) as problem:
                cuts += 1
                if not self.requests_made:
                    raise  # the server was never reached, and the transport has tried often enough
                if cuts > MOST_CUTS:
                    raise self._broke(first) from problem
                pause(min(_FIRST_WAIT_SECONDS * 2 ** (cuts - 1), _LONGEST_WAIT_SECONDS))
            finally:
                if response is not None:
                    response.close()

    def _ask(self, first: int, end: int) -> Response:
        is_whole = first == 0 and end == self.size_bytes
        headers = {"Accept-Encoding": "identity"}
        if not is_whole:
            headers |= {"Range": f"bytes={first}-{end - 1}", "If-Range": self._etag}
        named = {"member": self._member, "store": self.store or None}
        response = self._transport.request(
            "GET", self._address, params=named, headers=headers, stream=True, expect=(200, 206)
        )
        self.requests_made += 1
        try:
            self._check(response, "" if is_whole else f"bytes {first}-{end - 1}/{self.size_bytes}")
        except LibrarianError:
            with response:
                if not response.raw.read(1):  # headers that a cut ended look complete to Python's http library
                    raise ConnectionError("the answer ended within its headers") from None
            raise
        return response

    def _check(self, response: Response, wanted_range: str) -> None:
        """Raise unless the answer is the range that was asked for (empty: the whole) of the bytes we know."""
        length = response.headers.get("Content-Length", str(self.size_bytes))
        is_whole = response.status_code == 200
        if response.headers.get("ETag", self._etag) != self._etag or (is_whole and length != str(self.size_bytes)):
            raise LibrarianError(
                f"The server has other bytes under the name {self.shown_name} than it said before.",
                remedy="Search again. If it stays so tell the site's operators: the bytes of a name never change.",
                code="file_changed",
            )
        if wanted_range and is_whole:
            raise LibrarianError(
                f"Of {self.shown_name} only the whole comes, not a part.",
                remedy="A proxy on the way drops ranges; reach the site past it, or download the whole file.",
                code="no_ranges",
            )
        if response.headers.get("Content-Range", "") != wanted_range:
            raise LibrarianError(
                f"Another part of {self.shown_name} came than was asked for.",
                remedy="Reach the site past the proxy that is on the way.",
                code="strange_answer",
            )

    def _broke(self, offset: int) -> LibrarianTimeoutError:
        return LibrarianTimeoutError(
            self._transport.root,
            f"The connection broke {MOST_CUTS + 1} times at byte {offset} of {self.shown_name}.",
            remedy="Try again: what has arrived is kept. If it breaks at the same byte, tell the site's operators.",
            code="connection_broke",
        )
