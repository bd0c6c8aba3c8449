"""The JSON search language for files: one text, one tree, one condition for the database.

Of the classic language this compiles `name-matches`, `not-older-than`, `not-newer-than` and `and`; every other clause
is refused by name. Nothing reaches the database that was not compiled here.
"""

import json
import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from files.lookups import MAX_PATTERN_CHARACTERS, check_like
from librarian.common.errors import ArchiveError

EVERY_FILE = '{"name-matches": "%"}'
MAX_CHARACTERS = 20_000
MAX_DEPTH = 20
LONGEST_DAYS = 1_000_000.0
_COMMENT = re.compile(r'("(?:[^"\\\n]|\\.)*")|#[^\n]*')


class InvalidSearch(ArchiveError):
    """A search that cannot be understood; the reason names the clause."""

    code = "invalid_search"
    status = 400
    remedy = 'Write a JSON object of clauses such as {"name-matches": "zen.%", "not-older-than": 14}.'


def compile_search(text: str, *, now: datetime | None = None) -> Q:
    """The condition on files that a search means.

    Parameters
    ----------
    text : str
        A JSON object of clauses, all of which must hold. `#` outside of a string begins a comment.
    now : datetime, optional
        What ages count from; the present if left out.

    Raises
    ------
    InvalidSearch
        With the path to the clause that is wrong.
    """
    return _all_of(read_search(text), path="", now=now or timezone.now())


def read_search(text: str) -> dict[str, Any]:
    """The clauses of a search as plain data. Raises InvalidSearch for what is no object, or names a clause twice."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidSearch(f"The search has {len(text)} characters; {MAX_CHARACTERS} are allowed.")
    plain = _COMMENT.sub(lambda found: found.group(1) or "", text)
    try:
        tree = json.loads(plain, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except InvalidSearch:
        raise
    except (ValueError, RecursionError) as problem:
        where = f" (line {problem.lineno}, column {problem.colno})" if isinstance(problem, json.JSONDecodeError) else ""
        raise InvalidSearch(f"The search is not valid JSON{where}.") from None
    if not isinstance(tree, dict):
        raise InvalidSearch("The search must be a JSON object.")
    return tree


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    clauses: dict[str, Any] = {}
    for name, value in pairs:
        if name in clauses:
            raise InvalidSearch(
                f"The clause {name} stands twice in one object, where the first would be lost.",
                remedy='Put the second one into an "and" of its own.',
            )
        clauses[name] = value
    return clauses


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _all_of(clauses: Any, *, path: str, now: datetime, depth: int = 0) -> Q:
    where = path or "the search"
    if not isinstance(clauses, dict):
        raise InvalidSearch(f"{where}: an object of clauses is expected.")
    if not clauses:
        raise InvalidSearch(f"{where}: there is no clause in it.")
    if depth > MAX_DEPTH:
        raise InvalidSearch(f"{where}: clauses may be nested {MAX_DEPTH} deep.")
    condition = Q()
    for name, value in clauses.items():
        here = f"{path}/{name}" if path else name
        if name == "and":
            condition &= _all_of(value, path=here, now=now, depth=depth + 1)
        elif name in CLAUSES:
            condition &= CLAUSES[name](value, here, now)
        else:
            raise InvalidSearch(f"{here}: there is no such clause.", remedy=f"Known are {', '.join(sorted(KNOWN))}.")
    return condition


def _name_matches(value: Any, path: str, now: datetime) -> Q:
    if not isinstance(value, str):
        raise InvalidSearch(f"{path}: a text is expected, in which % stands for any characters and _ for one.")
    if "\x00" in value or len(value) > MAX_PATTERN_CHARACTERS:
        raise InvalidSearch(f"{path}: the pattern must have no null character and {MAX_PATTERN_CHARACTERS} at most.")
    try:
        check_like(value)
    except ValueError as problem:
        raise InvalidSearch(f"{path}: {problem}") from None
    return Q(name__like=value)


def _not_older_than(value: Any, path: str, now: datetime) -> Q:
    return Q(registered_at__gt=_days_ago(value, path, now))


def _not_newer_than(value: Any, path: str, now: datetime) -> Q:
    return Q(registered_at__lt=_days_ago(value, path, now))


def _days_ago(value: Any, path: str, now: datetime) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidSearch(f"{path}: a number of days is expected.")
    if not 0 <= value <= LONGEST_DAYS:
        raise InvalidSearch(f"{path}: 0 to {LONGEST_DAYS:.0f} days are expected.")
    try:
        return now - timedelta(days=value)
    except OverflowError:
        return datetime.min.replace(tzinfo=now.tzinfo)


CLAUSES: dict[str, Callable[[Any, str, datetime], Q]] = {
    "name-matches": _name_matches,
    "name-like": _name_matches,  # its old name
    "not-older-than": _not_older_than,
    "not-newer-than": _not_newer_than,
}
KNOWN = ("and", *CLAUSES)
