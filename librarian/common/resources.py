"""What views of version 3 share: reading what is sent, refusing what means nothing, finding a row by its id."""

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import serializers
from rest_framework.serializers import BaseSerializer

from librarian.common.errors import InvalidRequest, NotFound

M = TypeVar("M", bound=Model)
LARGEST_ID = 2**31 - 1


class StrictSerializer(serializers.Serializer):
    """Refuses fields that mean nothing."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        values = super().to_internal_value(data)
        if unknown := sorted(set(data) - set(self.fields)):
            known = ", ".join(self.fields)
            raise serializers.ValidationError({unknown[0]: f"There is no such field; known are {known}."})
        return values


def read_fields(serializer: BaseSerializer) -> dict[str, Any]:
    """What a request sends, checked."""
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def refuse_fields(body: Any) -> None:
    """Raise InvalidRequest unless a request sends nothing."""
    if not isinstance(body, Mapping) or body:
        raise InvalidRequest("This takes no fields.", remedy="Send no body, or an empty JSON object.")


def row_with_id(rows: QuerySet[M], pk: int, what: str) -> M:
    """The row of this id. Raises NotFound, with `what` in words."""
    row = rows.filter(pk=pk).first() if pk <= LARGEST_ID else None
    if row is None:
        raise NotFound(f"There is no {what} with id {pk}.", remedy="List them to learn their ids.")
    return row
