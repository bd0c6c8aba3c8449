"""Pages by key: each page starts after the last row of the one before, so page 1,000 costs what page 1 costs."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import F, Model, Q, QuerySet
from rest_framework.filters import OrderingFilter
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from librarian.common.errors import InvalidRequest

if TYPE_CHECKING:  # rest_framework.views reads the settings that name this module
    from rest_framework.views import APIView

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


class StableOrdering(OrderingFilter):
    """`?ordering=-size_bytes,name`: as asked, then always by primary key, so that no two rows ever tie.

    A view says what is allowed with `ordering_fields` and its default with `ordering`. An unknown field is refused.
    """

    ordering_description = "Comma-separated fields; a leading '-' turns a field's direction around."

    def get_schema_operation_parameters(self, view: "APIView") -> list[dict[str, Any]]:
        fields = getattr(view, "ordering_fields", None)
        if not fields:
            return []
        text = f"{self.ordering_description} Fields: {', '.join(fields)}."
        name = self.ordering_param
        return [{"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}]

    def get_ordering(self, request: Request, queryset: QuerySet, view: "APIView") -> list[str]:
        asked = [name.strip() for name in request.query_params.get(self.ordering_param, "").split(",") if name.strip()]
        if asked:
            allowed = [name for name, _ in self.get_valid_fields(queryset, view, {"request": request})]
            unknown = [name for name in asked if name.lstrip("-") not in allowed]
            if unknown:
                raise InvalidRequest(
                    f"ordering: {unknown[0][:60]!r} is not a field to order by.",
                    remedy=f"Choose from {', '.join(allowed) or 'none'}.",
                )
        return with_primary_key(asked or self.get_default_ordering(view) or queryset.query.order_by)


def with_primary_key(ordering: Sequence[str]) -> list[str]:
    """`ordering` ending in the primary key, newest first when nothing was asked for."""
    fields = list(ordering)
    if any(str(field).lstrip("-") in ("pk", "id") for field in fields):
        return fields
    return [*fields, "-pk" if not fields or str(fields[-1]).startswith("-") else "pk"]


class CursorPages(BasePagination):
    """`{next, previous, results}`; `?limit=` from 1 to 1000 (more is answered as 1000), `?cursor=` from the links.

    Works for any ordering by columns (also of related rows and annotations), with ties and empty values: an empty
    value counts as smaller than all others.
    """

    limit_parameter = "limit"
    cursor_parameter = "cursor"
    default_limit = DEFAULT_LIMIT

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: "APIView | None" = None) -> list[Any]:
        self.request = request
        self.limit = _read_limit(request.query_params.get(self.limit_parameter), self.default_limit)
        self.ordering = with_primary_key(queryset.query.order_by or queryset.model._meta.ordering)
        position, backwards = self._read_cursor(queryset)
        ordering = [_turned(field) for field in self.ordering] if backwards else self.ordering
        if position is not None:
            queryset = queryset.filter(after(queryset.model, ordering, position))
        rows = list(queryset.order_by(*(_expression(queryset.model, field) for field in ordering))[: self.limit + 1])
        more, rows = len(rows) > self.limit, rows[: self.limit]
        if backwards:
            rows.reverse()
        self.has_next = more if not backwards else bool(rows)
        self.has_previous = more if backwards else position is not None and bool(rows)
        self.rows = rows
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self.get_next_link(), "previous": self.get_previous_link(), "results": data})

    def get_next_link(self) -> str | None:
        return self._link(self.rows[-1], backwards=False) if self.has_next else None

    def get_previous_link(self) -> str | None:
        return self._link(self.rows[0], backwards=True) if self.has_previous else None

    def _link(self, row: Model, *, backwards: bool) -> str:
        values = [_plain(_value(row, field)) for field in self.ordering]
        text = json.dumps({"o": self.ordering, "v": values, "b": backwards}, separators=(",", ":"))
        cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        query = [(key, value) for key, value in self._query() if key != self.cursor_parameter]
        return self.request.build_absolute_uri(
            f"{self.request.path}?{urlencode([*query, (self.cursor_parameter, cursor)])}"
        )

    def _query(self) -> list[tuple[str, str]]:
        return [(key, value) for key, values in self.request.query_params.lists() for value in values]

    def _read_cursor(self, queryset: QuerySet) -> tuple[list[Any] | None, bool]:
        text = self.request.query_params.get(self.cursor_parameter)
        if not text:
            return None, False
        try:
            found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            ordering, values, backwards = found["o"], found["v"], bool(found["b"])
            if ordering != self.ordering or len(values) != len(ordering):
                raise ValueError("made for another order")
            return [_parsed(queryset.model, name, item) for name, item in zip(ordering, values, strict=True)], backwards
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ValidationError, binascii.Error):
            raise InvalidRequest(
                "cursor: this is not a cursor of this list in this order.",
                remedy="Follow the links 'next' and 'previous' as they are, or leave the cursor out to start again.",
            ) from None

    def get_schema_operation_parameters(self, view: "APIView") -> list[dict[str, Any]]:
        return [
            {
                "name": self.limit_parameter,
                "in": "query",
                "required": False,
                "description": "How many results a page has.",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
            },
            {
                "name": self.cursor_parameter,
                "in": "query",
                "required": False,
                "description": "Where the page starts; taken from the links of another page.",
                "schema": {"type": "string"},
            },
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": {**link, "description": "Address of the next page, null on the last one."},
                "previous": {**link, "description": "Address of the page before, null on the first one."},
                "results": schema,
            },
        }


def after(model: type[Model], ordering: Sequence[str], position: Sequence[Any]) -> Q:
    """Condition for the rows that come after `position` in `ordering` (empty values are the smallest)."""
    condition, equal = Q(pk__in=[]), Q()
    for field, value in zip(ordering, position, strict=True):
        name = field.lstrip("-")
        condition |= equal & _beyond(name, value, descending=field.startswith("-"), nullable=_nullable(model, name))
        equal &= Q(**{f"{name}__isnull": True}) if value is None else Q(**{name: value})
    first, value = ordering[0], position[0]
    if value is not None and not _nullable(model, first.lstrip("-")):
        # Says nothing new, but a planner finds an index range in it that it does not see in the alternatives.
        condition &= Q(**{f"{first.lstrip('-')}__{'lte' if first.startswith('-') else 'gte'}": value})
    return condition


def _beyond(name: str, value: Any, *, descending: bool, nullable: bool) -> Q:
    if value is None:
        return Q(pk__in=[]) if descending else Q(**{f"{name}__isnull": False})
    if not descending:
        return Q(**{f"{name}__gt": value})
    return Q(**{f"{name}__lt": value}) | Q(**{f"{name}__isnull": True}) if nullable else Q(**{f"{name}__lt": value})


def _expression(model: type[Model], field: str) -> Any:
    name = field.lstrip("-")
    if not _nullable(model, name):
        return field  # plain, so that the database may read an index in order
    return F(name).desc(nulls_last=True) if field.startswith("-") else F(name).asc(nulls_first=True)


def _turned(field: str) -> str:
    return field[1:] if field.startswith("-") else f"-{field}"


def _column(model: type[Model], name: str) -> tuple[Any, bool]:
    """The model field behind `a__b`, and whether it can be empty; (None, True) for an annotation."""
    nullable, field = False, None
    for part in name.split("__"):
        try:
            field = model._meta.pk if part == "pk" else model._meta.get_field(part)
        except FieldDoesNotExist:
            return None, True
        nullable = nullable or bool(getattr(field, "null", False))
        model = field.related_model or model
    return field, nullable


def _nullable(model: type[Model], name: str) -> bool:
    return _column(model, name)[1]


def _value(row: Any, field: str) -> Any:
    for part in field.lstrip("-").split("__"):
        row = getattr(row, part, None)
    return row.pk if isinstance(row, Model) else row


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _parsed(model: type[Model], name: str, value: Any) -> Any:
    """A cursor's value as the column's type; anything that does not fit raises."""
    if isinstance(value, list | dict):
        raise ValueError("not a value")
    field, _ = _column(model, name.lstrip("-"))
    if value is None or field is None:
        return value
    while field.is_relation and field.target_field is not field:
        field = field.target_field
    found = field.to_python(value)
    if isinstance(found, int) and abs(found) >= 2**63:
        raise ValueError("not an integer of the database")
    return found


def _read_limit(text: str | None, default: int) -> int:
    if text is None or text == "":
        return default
    if not text.isascii() or not text.isdigit() or int(text[:9]) < 1:
        raise InvalidRequest(f"limit: {text[:40]!r} is not a number from 1 to {MAX_LIMIT}.")
    return min(int(text[:9]), MAX_LIMIT)
