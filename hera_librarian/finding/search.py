"""`client.search(...)`: files of the catalogue, asked for page by page while somebody reads them."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError
from hera_librarian.finding.pages import MOST_PER_PAGE, pages, rows
from hera_librarian.finding.parameters import parameters, with_nearest_names
from hera_librarian.finding.results import FileResult

if TYPE_CHECKING:
    from astropy.table import Table

    from hera_librarian.client import LibrarianClient

ADDRESS = "v3/files/"
PER_PAGE = 500
MOST_COUNTED = 100_000


def search(client: "LibrarianClient", **filters: Any) -> "Search":
    """Files that meet all filters, newest first. Nothing is asked before the first result is wanted.

    Parameters
    ----------
    **filters
        The filters of `GET /api/v3/files/`, such as `name_glob="zen.*.uvh5"`, `size_min=10**6` (bytes),
        `registered_after=` (a datetime, an astropy Time, ISO 8601 text or a Julian Date, in UTC), `has_obsid=True`, and
        `ordering="-size_bytes,name"`.

    Raises
    ------
    LibrarianError
        A filter has no value, or cannot be one. What only the server can tell is raised with the first result.
    """
    return Search(client, filters)


class Search:
    """Files that meet some filters. Each iteration asks the server anew; nothing is kept.

    Attributes
    ----------
    requests_made : int
        How many pages were asked for so far.
    """

    def __init__(self, client: "LibrarianClient", filters: dict[str, Any]) -> None:
        self._client = client
        self.filters = dict(filters)
        self._parameters = parameters(filters)
        self.requests_made = 0

    def __repr__(self) -> str:
        return f"search({', '.join(f'{name}={value!r}' for name, value in self.filters.items())})"

    def __iter__(self) -> Iterator[FileResult]:
        return self._results(PER_PAGE)

    def __getitem__(self, wanted: int | slice) -> FileResult | list[FileResult]:
        """`search[3]`, `search[:10]`, `search[5:20:5]`: asks for no more than that. From the end it does not count."""
        if isinstance(wanted, slice):
            return list(self._slice(wanted))
        _refuse_negative(wanted)
        found = list(self._slice(slice(wanted, wanted + 1)))
        if not found:
            raise IndexError(f"fewer than {wanted + 1} files are found")
        return found[0]

    def dicts(self) -> Iterator[dict[str, Any]]:
        """The files as plain dictionaries, as the API gives them: times are ISO 8601 text in UTC."""
        return self._rows(PER_PAGE)

    def first(self) -> FileResult | None:
        """The first file; None if nothing is found."""
        return next(self._results(1), None)

    def count(self, at_most: int = MOST_COUNTED) -> int:
        """How many files there are: asked of a server that tells, else counted page by page.

        Raises LibrarianError when there are more than `at_most`.
        """
        found = 0
        for page in self._refusals_explained(pages(self._client, ADDRESS, self._page(MOST_PER_PAGE))):
            self.requests_made += 1
            if isinstance(page.get("count"), int):
                return page["count"]
            found += len(page["results"])
            if found > at_most:
                remedy = "Narrow the search, or allow more with at_most=."
                raise LibrarianError(f"More than {at_most} files are found.", remedy=remedy, code="too_many")
        return found

    def to_table(self) -> "Table":
        """All of them as an astropy Table: sizes in bytes, times as Time columns in UTC, unknown obsids masked."""
        from hera_librarian.finding.table import table_of

        return table_of(self, meta={"search": repr(self)})

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _slice(self, wanted: slice) -> Iterator[FileResult]:
        for number in (wanted.start, wanted.stop, wanted.step):
            _refuse_negative(number or 0)
        per_page = PER_PAGE if wanted.stop is None else max(1, min(wanted.stop, PER_PAGE))
        return islice(self._results(per_page), wanted.start, wanted.stop, wanted.step)

    def _results(self, per_page: int) -> Iterator[FileResult]:
        return (FileResult.from_row(self._client, row) for row in self._rows(per_page))

    def _rows(self, per_page: int) -> Iterator[dict[str, Any]]:
        return self._refusals_explained(rows(self._client, ADDRESS, self._page(per_page), self._seen))

    def _page(self, per_page: int) -> dict[str, str]:
        return {**self._parameters, "limit": str(per_page)}

    def _seen(self) -> None:
        self.requests_made += 1

    def _refusals_explained(self, found: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        try:
            yield from found
        except LibrarianHTTPError as problem:
            if problem.status_code == 404:
                raise LibrarianError(
                    f"{self._client.transport.root} has no version 3 of the API.",
                    remedy="Use client.search_files(...), which older servers know.",
                    code="no_version_3",
                ) from problem
            raise with_nearest_names(problem, self.filters) from None


def _refuse_negative(number: int) -> None:
    if number < 0:
        raise LibrarianError(
            "A search cannot be counted from its end.",
            remedy="Turn it around with ordering=, for instance ordering='registered_at' for the oldest first.",
            code="invalid_request",
        )
