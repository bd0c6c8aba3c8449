"""Lists of the portal: one page of rows by cursor, and counts that never cost more than a page."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.core.cache import cache
from django.db.models import QuerySet
from django.http import HttpRequest
from rest_framework.request import Request

from librarian.common.paging import CursorPages

COUNT_CEILING = 10_000
_CHEAP_SECONDS = 0.05
_HELD_TIMES = 100  # an answer is held a hundred times as long as it took, so it never costs more than 1 % of the time

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ListPage:
    """Rows of one page, and the query strings of its neighbours (None where there is none)."""

    rows: list[Any]
    next: str | None
    previous: str | None

    @property
    def is_only_one(self) -> bool:
        return self.next is None and self.previous is None


def list_page(request: HttpRequest, queryset: QuerySet, *, limit: int = 50, cursor: str = "cursor") -> ListPage:
    """One page of an ordered queryset.

    Parameters
    ----------
    cursor : str
        Name of the parameter, for pages with several lists.

    Raises
    ------
    InvalidRequest
        For a cursor that belongs to another list or order.
    """
    pages = CursorPages()
    pages.default_limit, pages.cursor_parameter = limit, cursor
    rows = pages.paginate_queryset(queryset, Request(request))
    return ListPage(rows, _query_of(pages.get_next_link()), _query_of(pages.get_previous_link()))


def count_cheaply(queryset: QuerySet, ceiling: int = COUNT_CEILING) -> tuple[int, bool]:
    """How many rows there are, up to `ceiling`, and whether there are more than that."""
    found = queryset.order_by()[: ceiling + 1].count()
    return min(found, ceiling), found > ceiling


def remembered(key: str, compute: Callable[[], T]) -> T:
    """The value of `compute`, held for a while in this process when it was dear.

    For sums over whole tables, which a page may show a little old. On a small catalogue nothing is held.
    """
    held = cache.get(key)
    if held is not None:
        return held
    began = time.monotonic()
    value = compute()
    cost_seconds = time.monotonic() - began
    if cost_seconds > _CHEAP_SECONDS:
        cache.set(key, value, timeout=cost_seconds * _HELD_TIMES)
    return value


def _query_of(link: str | None) -> str | None:
    return None if link is None else "?" + link.partition("?")[2]
