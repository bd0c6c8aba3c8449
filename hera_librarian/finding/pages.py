"""Lists of version 3 of the API, page after page, only as far as somebody reads them."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from hera_librarian.exceptions import LibrarianError

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient

MOST_PER_PAGE = 1000
MOST_EMPTY_ANSWERS = 4


def file_address(name: str, part: str = "") -> str:
    """Address of a file below the API's root, or of what belongs to it: `members`, `content`."""
    try:
        return f"v3/files/{quote(name, safe='/')}/{part}"
    except UnicodeError:
        raise LibrarianError(f"{name!r} is not text in UTF-8, so no file has that name.", code="invalid_name") from None


def pages(client: "LibrarianClient", path: str, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The pages of a list, each asked for when the one before has been used up.

    The transport repeats a request whose connection breaks. Raises what it raises.
    """
    asked: Mapping[str, Any] | list[tuple[str, Any]] | None = parameters
    while asked is not None:
        page = read_json(client, path, asked)
        if not isinstance(page.get("results"), list):
            raise LibrarianError(
                f"{path} did not answer a list.",
                remedy="Check that the address is that of a Librarian.",
                code="strange_answer",
            )
        # Of the link only its question is taken: behind a tunnel the server may not know how we address it.
        asked = parse_qsl(urlsplit(page["next"]).query, keep_blank_values=True) if page.get("next") else None
        yield page


def rows(
    client: "LibrarianClient", path: str, parameters: Mapping[str, Any], seen: Callable[[], None] = lambda: None
) -> Iterator[dict[str, Any]]:
    """The rows of a list; `seen` is called once a page."""
    for page in pages(client, path, parameters):
        seen()
        yield from page["results"]


def read_json(client: "LibrarianClient", path: str, parameters: Any = None) -> dict[str, Any]:
    """The JSON object that an address answers."""
    for _ in range(MOST_EMPTY_ANSWERS):
        response = client.transport.request("GET", path, params=parameters)
        if response.content:  # none at all: the connection broke within the headers, which looks like an answer
            break
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise LibrarianError(
            f"{path} did not answer a JSON object.",
            remedy="Check that the address is that of a Librarian.",
            code="strange_answer",
        )
    return answer
