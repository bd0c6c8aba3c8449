"""The tar stream of a directory product as the file object that the unpacking reads."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from hera_librarian.exceptions import LibrarianError
from hera_librarian.finding.content import CUTS
from hera_librarian.finding.pages import file_address

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient
    from hera_librarian.finding.results import FileResult

_MOST_PADDING_BYTES = 2**20


class Cut(Exception):
    """The connection broke before the stream was complete."""


class TarAnswer:
    """One request for the stream. Raises LibrarianError if it is that of other bytes than the catalogue's, and Cut."""

    def __init__(self, client: "LibrarianClient", file: "FileResult", store: str = "") -> None:
        self.bytes_fetched = 0
        address, named = file_address(file.name, "content"), {"store": store or None}
        headers = {"Accept-Encoding": "identity"}
        self._response = client.transport.request(
            "GET", address, params=named, headers=headers, stream=True, expect=(200,)
        )
        etag = f'"tar-{file.digest}"'
        if self._response.headers.get("ETag", etag) != etag:
            with self._response:
                self.read(1)  # Cut, if the answer ended within its headers
            raise LibrarianError(
                f"The server has another product under the name {file.name} than it said before.",
                remedy="Search again. If it stays so tell the site's operators: a product never changes.",
                code="file_changed",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, at: TracebackType | None
    ) -> None:
        self._response.close()

    def read(self, size: int) -> bytes:
        """The next bytes, none at the end. Raises Cut."""
        try:
            block = self._response.raw.read(size)
        except CUTS as problem:
            raise Cut from problem
        if not block and not self.bytes_fetched:
            raise Cut
        self.bytes_fetched += len(block)
        return block

    def drain(self) -> None:
        """Read what follows the last entry, so that the connection can be used again. Raises Cut."""
        end = self.bytes_fetched + _MOST_PADDING_BYTES
        while self.bytes_fetched < end and self.read(65536):
            pass
