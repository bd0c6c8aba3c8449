"""Filter sets shared by API and portal: a parameter that is unknown, repeated or not understood is refused, never
ignored, since an ignored one answers a question that nobody asked.

Each filter says in `expects` what it takes; refusals and the API's documentation use that same text.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import django_filters
from django import forms
from django.db import models
from django.http import QueryDict
from django.utils.dateparse import parse_date, parse_datetime
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.request import Request

from librarian.common.errors import InvalidRequest

if TYPE_CHECKING:  # rest_framework.views reads settings, which name this module
    from rest_framework.views import APIView

MAX_INTEGER = 2**63 - 1
MAX_TEXT_CHARACTERS = 1024
UNIX_EPOCH_JD = 2440587.5  # Julian Date (UTC) of 1970-01-01T00:00:00Z
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_JULIAN_DATE = re.compile(r"[0-9]{7}(\.[0-9]{1,12})?", re.ASCII)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_EXACT_REASON = "exact_reason"  # code of a ValidationError whose message says more than `expects` does


def refusal(reason: str) -> forms.ValidationError:
    """What a field raises when its own words say more than what the filter expects in general."""
    return forms.ValidationError(reason, code=_EXACT_REASON)


# --- Fields -----------------------------------------------------------------------------------------------------------


class PlainText(forms.CharField):
    """Text as it was sent, blanks included, without what no database stores."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"strip": False, "max_length": MAX_TEXT_CHARACTERS, **options})

    def clean(self, value: Any) -> Any:
        if isinstance(value, str) and _UNSTORABLE.search(value):
            raise refusal("it has characters that no name holds (NUL, half of a surrogate pair).")
        return super().clean(value)


class WholeNumber(forms.IntegerField):
    """A decimal integer of 64 bits in ASCII digits."""

    def to_python(self, value: Any) -> int | None:
        if value in self.empty_values:
            return None
        if not re.fullmatch(r"-?[0-9]{1,19}", str(value), re.ASCII):
            raise forms.ValidationError("not a whole number")
        return int(value)


class PointInTime(forms.Field):
    """ISO 8601 (UTC where no offset is given; a date alone is its midnight) or a Julian Date (UTC)."""

    widget = forms.TextInput

    def to_python(self, value: Any) -> datetime | None:
        if value in self.empty_values:
            return None
        return parse_time(str(value))


class YesOrNo(forms.Field):
    """`true` or `false` (also yes, no, 1, 0)."""

    widget = forms.Select(choices=[("", ""), ("true", "yes"), ("false", "no")])
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

    def to_python(self, value: Any) -> bool | None:
        if value in self.empty_values:
            return None
        try:
            return self.words[str(value).lower()]
        except KeyError:
            raise forms.ValidationError("neither true nor false") from None


def parse_time(text: str) -> datetime:
    """A time of a filter, in UTC. Raises ValidationError for anything that is no time between 1900 and 9000."""
    try:
        if _JULIAN_DATE.fullmatch(text):
            found = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=float(text) - UNIX_EPOCH_JD)
        elif (day := parse_date(text)) is not None:
            found = datetime(day.year, day.month, day.day, tzinfo=UTC)
        else:
            found = parse_datetime(text)
        if found is None:
            raise ValueError("no time")
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        if _EARLIEST <= found <= _LATEST:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise forms.ValidationError("not a time")


# --- Filters ----------------------------------------------------------------------------------------------------------


class TextFilter(django_filters.CharFilter):
    """Equality with a text."""

    field_class = PlainText

    def __init__(self, *args: Any, expects: str = "text", **options: Any) -> None:
        self.expects = f"{expects} of at most {options.get('max_length', MAX_TEXT_CHARACTERS)} characters"
        super().__init__(*args, **options)


class IntegerFilter(django_filters.NumberFilter):
    """Comparison with a 64-bit integer, by default one that is not negative."""

    field_class = WholeNumber

    def __init__(self, *args: Any, unit: str = "", **options: Any) -> None:
        options = {"min_value": 0, "max_value": MAX_INTEGER, **options}
        of_what = f" of {unit}" if unit else ""
        self.expects = f"a whole number{of_what} from {options['min_value']} to {options['max_value']}"
        super().__init__(*args, **options)

    def get_max_validator(self) -> None:
        """None: the field itself is bounded."""


class TimeFilter(django_filters.IsoDateTimeFilter):
    """Comparison with a time."""

    field_class = PointInTime
    expects = "a time as 2026-11-20T12:00:00Z, 2026-11-20 (midnight UTC) or a Julian Date as 2461365.25 (UTC)"


class YesNoFilter(django_filters.BooleanFilter):
    """A condition that holds or does not."""

    field_class = YesOrNo
    expects = "true or false"


class OneOfFilter(django_filters.ChoiceFilter):
    """Equality with one of a list of words."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.expects = f"one of {', '.join(str(value) for value, _ in choice_pairs(options['choices']))}"


def choice_pairs(choices: Any) -> list[tuple[Any, str]]:
    """Pairs of value and label, of a Choices class or of a list."""
    return list(getattr(choices, "choices", choices))


# --- Filter sets ------------------------------------------------------------------------------------------------------


class ArchiveFilterSet(django_filters.FilterSet):
    """A filter set that can say in sentences what is wrong with its parameters."""

    def problems(self) -> dict[str, str]:
        """Parameter -> why its value is refused; empty when all of them are understood."""
        if not self.is_bound:
            return {}
        return {name: self._sentence(name, errors) for name, errors in self.form.errors.as_data().items()}

    def _sentence(self, name: str, errors: list[forms.ValidationError]) -> str:
        exact = [error.messages[0] for error in errors if error.code == _EXACT_REASON]
        value = shown(self.data.get(name, ""))
        return f"{value} is refused: {exact[0]}" if exact else f"{value} is not {self.filters[name].expects}."


def shown(value: Any) -> str:
    """A value as it may stand in a sentence: ASCII, quoted, cut after 60 characters."""
    text = str(value)
    return ascii(text if len(text) <= 60 else f"{text[:57]}...")


def refuse_unknown_parameters(given: QueryDict, known: Iterable[str]) -> None:
    """Raise InvalidRequest for a parameter that means nothing here, is repeated or is empty."""
    known = sorted(known)
    for name, values in given.lists():
        if name not in known:
            reason = f"{shown(name)} is no parameter of this address."
            raise InvalidRequest(reason, remedy=f"Known here: {', '.join(known) or 'none'}.")
        if len(values) > 1:
            raise InvalidRequest(f"{name}: given {len(values)} times.", remedy="Give each parameter once.")
        if not values[0]:
            raise InvalidRequest(f"{name}: has no value.", remedy="Leave the parameter out, or give it a value.")


class StrictFilters(DjangoFilterBackend):
    """Applies the view's `filterset_class` and refuses what it does not understand."""

    def filter_queryset(self, request: Request, queryset: models.QuerySet, view: "APIView") -> models.QuerySet:
        filterset = self.get_filterset(request, queryset, view)
        refuse_unknown_parameters(
            request.query_params, {*(filterset.filters if filterset else ()), *_parameters_beside(view)}
        )
        if filterset is None:
            return queryset
        if problems := filterset.problems():
            name, sentence = next(iter(problems.items()))
            raise InvalidRequest(
                f"{name}: {sentence}", remedy=f"{name} takes {filterset.filters[name].expects}.", fields=problems
            )
        return filterset.qs


def _parameters_beside(view: "APIView") -> set[str]:
    """Parameters of paging, ordering and rendering."""
    pages = getattr(view, "paginator", None)
    names = {getattr(pages, "limit_parameter", None), getattr(pages, "cursor_parameter", None), "format"}
    if getattr(view, "ordering_fields", None):
        names.add("ordering")
    return {name for name in names if name}
