"""Transfers of both directions as one list, the newest first.

Each direction is read in the order of its own key, and the two are merged by the time at which they were begun, so that
a page costs as much as a page of each, wherever it is. The cursor holds the last key of either; it leads on only.
"""

import re
from heapq import merge
from itertools import islice
from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request

from librarian.common.errors import InvalidRequest
from librarian.common.listing import ListPage
from librarian.common.paging import CursorPages
from network.models import IncomingTransfer, OutgoingTransfer

_CURSOR = re.compile(r"([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


class BothDirections(CursorPages):
    """`{next, previous, results}` of two lists; `previous` is always null."""

    def paginate_both(
        self, outgoing: QuerySet[OutgoingTransfer], incoming: QuerySet[IncomingTransfer], request: Request
    ) -> list[OutgoingTransfer | IncomingTransfer]:
        """One page of both."""
        super().paginate_queryset(OutgoingTransfer.objects.none(), request)  # reads limit and cursor
        lists = [
            _older(rows, before)[: self.limit + 1]
            for rows, before in zip((outgoing, incoming), self._before, strict=True)
        ]
        merged = merge(*lists, key=lambda row: row.created_at, reverse=True)
        rows = list(islice(merged, self.limit + 1))
        self.rows, self.has_next, self.has_previous = rows[: self.limit], len(rows) > self.limit, False
        return self.rows

    def _read_cursor(self, queryset: QuerySet) -> tuple[list[Any] | None, bool]:
        text = self.request.query_params.get(self.cursor_parameter)
        found = _CURSOR.fullmatch(text) if text else None
        if text and found is None:
            raise InvalidRequest(
                "cursor: this is not a cursor of this list.",
                remedy="Follow the link 'next' as it is, or leave the cursor out to start again.",
            )
        self._before = [int(part) if part else None for part in found.groups()] if found else [None, None]
        return None, False

    def _link(self, row: Any, *, backwards: bool) -> str:
        parts = []
        for model, before in zip((OutgoingTransfer, IncomingTransfer), self._before, strict=True):
            last = [shown.pk for shown in self.rows if isinstance(shown, model)]
            parts.append(min(last, default=before))
        cursor = "-".join("" if part is None else str(part) for part in parts)
        query = self.request.query_params.copy()
        query[self.cursor_parameter] = cursor
        return self.request.build_absolute_uri(f"{self.request.path}?{query.urlencode()}")


def both_page(
    request: Any, outgoing: QuerySet[OutgoingTransfer], incoming: QuerySet[IncomingTransfer], *, limit: int = 50
) -> ListPage:
    """One page of both for the portal."""
    pages = BothDirections()
    pages.default_limit = limit
    rows = pages.paginate_both(outgoing, incoming, Request(request))
    following = pages.get_next_link()
    return ListPage(rows, None if following is None else f"?{following.partition('?')[2]}", None)


def _older(rows: QuerySet, before: int | None) -> QuerySet:
    rows = rows.order_by("-pk")
    return rows if before is None else rows.filter(pk__lt=before)
