"""Filters of a search: from Python values to parameters of the API, and refusals that name the nearest filter."""

import difflib
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError
from hera_librarian.times import utc_text

_INSTEAD = {
    "limit": "Take as many as you want with search(...)[:5]; pages are asked for as they are needed.",
    "cursor": "Iterate over the search; pages are asked for as they are needed.",
    "format": "Use .dicts() or .to_table().",
}


def parameters(filters: Mapping[str, Any]) -> dict[str, str]:
    """Parameters of the API for filters given in Python. Raises LibrarianError for what cannot be meant."""
    return {name: _parameter(name, value) for name, value in filters.items()}


def _parameter(name: str, value: Any) -> str:
    if name in _INSTEAD:
        raise LibrarianError(f"{name} is not a filter.", remedy=_INSTEAD[name], code="invalid_request")
    if value is None:  # leaving it out would answer another question than the one that was asked
        remedy = "For files without an observation use has_obsid=False." if name == "obsid" else "Leave the filter out."
        raise LibrarianError(f"{name}=None is not a value to search by.", remedy=remedy, code="invalid_request")
    try:
        return _text(value)
    except ValueError as problem:
        raise LibrarianError(f"{name}: {problem}.", remedy="Give text, a number, a time or True/False.") from problem


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):  # numpy's own as well
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, float):  # such as a Julian Date; nine decimals of a day are 0.1 milliseconds
        return f"{value:.9f}".rstrip("0").rstrip(".")
    if isinstance(value, list | tuple):  # of `ordering`
        return ",".join(_text(part) for part in value)
    if hasattr(value, "__index__"):
        return str(int(value))
    return utc_text(value)


def with_nearest_names(problem: LibrarianHTTPError, filters: Mapping[str, Any]) -> LibrarianHTTPError:
    """The server's refusal of an unknown filter, with the known ones that are spelled most like it."""
    listed = re.search(r"Known here: (.+?)\.?$", problem.suggested_remedy)
    known = listed[1].split(", ") if listed else []
    nearest = [
        name
        for unknown in filters
        if unknown not in known
        for name in difflib.get_close_matches(unknown, known, n=3, cutoff=0.5)
    ]
    if not nearest:
        return problem
    remedy = f"Did you mean {' or '.join(dict.fromkeys(nearest))}? {problem.suggested_remedy}"
    return LibrarianHTTPError(problem.url, problem.status_code, problem.reason, remedy, problem.full_response)
