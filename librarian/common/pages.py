"""What pages share: the whole page or the fragment that htmx swaps, and exports that stream."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

_ROWS_PER_BLOCK = 500
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

Columns = Mapping[str, Callable[[Any], Any]]


def render_page(
    request: HttpRequest, template: str, context: Mapping[str, Any], *, fragment: str, status: int = 200
) -> HttpResponse:
    """Render the page, or only the fragment that it includes when htmx asks for that.

    Parameters
    ----------
    template, fragment : str
        The whole page, and the underscore-named template that the page itself includes.
    """
    response = render(request, fragment if wants_fragment(request) else template, dict(context), status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def wants_fragment(request: HttpRequest) -> bool:
    """True if htmx will swap the answer into the page, rather than show it as one."""
    asked = request.headers.get("HX-Request") == "true"
    whole = request.headers.get("HX-Boosted") == "true" or request.headers.get("HX-History-Restore-Request") == "true"
    return asked and not whole


def stream_csv(rows: Iterable[Any], columns: Columns, *, filename: str) -> StreamingHttpResponse:
    """Answer rows as CSV in constant memory.

    Parameters
    ----------
    rows : iterable
        For querysets `.iterator(chunk_size=...)`, so that they are not held in memory.
    columns : mapping
        Heading -> function that takes the value out of a row.
    """
    return _attachment(_csv_blocks(rows, columns), "text/csv; charset=utf-8", filename)


def stream_json_lines(rows: Iterable[Any], columns: Columns, *, filename: str) -> StreamingHttpResponse:
    """Answer rows as one JSON object a line, in constant memory; arguments as for `stream_csv`."""
    return _attachment(_json_blocks(rows, columns), "application/x-ndjson; charset=utf-8", filename)


def safe_cell(value: Any) -> Any:
    """A value as a spreadsheet may open it: text that would run as a formula gets an apostrophe in front."""
    if isinstance(value, datetime):
        return export_time(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def export_time(value: datetime) -> str:
    """ISO 8601 in UTC with a Z, as exports write times."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class _Line:
    """What csv.writer writes to: hands the line back instead of keeping it."""

    def write(self, text: str) -> str:
        return text


def _csv_blocks(rows: Iterable[Any], columns: Columns) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(columns.keys())
    readers = list(columns.values())
    yield from _blocks(writer.writerow([safe_cell(read(row)) for read in readers]) for row in rows)


def _json_blocks(rows: Iterable[Any], columns: Columns) -> Iterator[str]:
    yield from _blocks(
        json.dumps({name: read(row) for name, read in columns.items()}, default=_json_value, ensure_ascii=False) + "\n"
        for row in rows
    )


def _json_value(value: Any) -> str:
    return export_time(value) if isinstance(value, datetime) else str(value)


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """Lines joined into larger pieces, since each piece costs a write to the socket."""
    block: list[str] = []
    for line in lines:
        block.append(line)
        if len(block) >= _ROWS_PER_BLOCK:
            yield "".join(block)
            block = []
    if block:
        yield "".join(block)


def _attachment(blocks: Iterator[str], content_type: str, filename: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(blocks, content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{_plain_name(filename)}"'
    return response


def _plain_name(filename: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", filename)
