"""Filter sets as forms of the portal: filters live in the URL, empty ones leave it, bad ones are explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet
from django.forms import BoundField, Form, TextInput
from django.http import HttpRequest, QueryDict
from django.utils.safestring import SafeString

from librarian.common.errors import InvalidRequest
from librarian.common.filters import ArchiveFilterSet, refuse_unknown_parameters

BESIDE = frozenset({"cursor", "ordering", "format"})  # parameters of lists that filter nothing


@dataclass(frozen=True, slots=True)
class Wording:
    """How a filter is called on a page, and an example of what it takes."""

    label: str
    example: str = ""
    choices: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter in force: its words, and the query string without it."""

    label: str
    value: str
    without: str


@dataclass(slots=True)
class FilteredList:
    """What a list page shows of its filters, and the rows that pass them (none while a filter is not understood)."""

    form: Form
    rows: QuerySet
    ordering: str
    main: list[tuple[BoundField, str]]
    more: list[tuple[BoundField, str]]
    chips: list[Chip] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def is_more_open(self) -> bool:
        return any(bound.value() or bound.errors for bound, _ in self.more)

    @property
    def status(self) -> int:
        return 400 if self.problems else 200


def without_empty(query: QueryDict) -> QueryDict | None:
    """The query without parameters that say nothing, None when there are none: a plain HTML form sends every field."""
    if all(value for values in query.lists() for value in values[1]):
        return None
    kept = QueryDict(mutable=True)
    for name, values in query.lists():
        kept.setlist(name, [value for value in values if value]) if any(values) else None
    return kept


def filter_list(
    request: HttpRequest,
    filterset_class: type[ArchiveFilterSet],
    rows: QuerySet,
    *,
    wordings: Mapping[str, Wording],
    main: Sequence[str],
    orderings: Sequence[str],
    default_ordering: str,
    defaults: Mapping[str, str] | None = None,
) -> FilteredList:
    """Apply the filters and the order that the URL names.

    Parameters
    ----------
    wordings : mapping
        Filters that the page offers, in their order; others may still stand in the URL and show as chips.
    main : sequence of str
        Those that are always in sight.
    orderings : sequence of str
        Fields that one may sort by.
    defaults : mapping, optional
        Filters that hold where the URL says nothing about them.
    """
    given = (without_empty(request.GET) or request.GET).copy()
    for name, value in (defaults or {}).items():
        given.setdefault(name, value)
    filterset = filterset_class(given, queryset=rows)
    form = filterset.form
    _word(form, wordings)  # before anything asks for a field, which keeps the label it then has
    problems = {**_unknown(given, filterset), **filterset.problems()}
    for name, sentence in problems.items():
        if name in form.fields:
            form.errors[name] = form.error_class([sentence])
    ordering = given.get("ordering", default_ordering)
    if ordering.removeprefix("-") not in orderings:
        problems["ordering"] = f"This list can be sorted by {', '.join(orderings)}."
        ordering = default_ordering
    return FilteredList(
        form=form,
        rows=rows.none() if problems else filterset.qs.order_by(*_stable(ordering)),
        ordering=ordering,
        main=[(form[name], wordings[name].example) for name in wordings if name in main],
        more=[(form[name], wordings[name].example) for name in wordings if name not in main],
        chips=_chips(given, form, wordings),
        problems=problems,
    )


def _stable(ordering: str) -> list[str]:
    """The order asked for, then the key in the same direction, so that no two rows tie."""
    return [ordering, "-pk" if ordering.startswith("-") else "pk"]


def _unknown(given: QueryDict, filterset: ArchiveFilterSet) -> dict[str, str]:
    try:
        refuse_unknown_parameters(given, {*filterset.filters, *BESIDE})
    except InvalidRequest as problem:
        return {"": f"{problem.reason} {problem.suggested_remedy}"}
    return {}


def _word(form: Form, wordings: Mapping[str, Wording]) -> None:
    for name, wording in wordings.items():
        shown: Any = form.fields[name]
        shown.label, shown.help_text = wording.label, ""
        if wording.choices:
            shown.widget.choices = list(wording.choices)
        elif hasattr(shown, "queryset"):
            shown.empty_label = "any"
        elif choices := getattr(shown.widget, "choices", None):
            shown.widget.choices = [("", "any"), *[choice for choice in choices if choice[0]]]
        if getattr(shown.widget, "input_type", "") == "number":
            # A number field of the browser drops what it does not understand, and then nobody can explain it.
            shown.widget = TextInput(attrs={"inputmode": "numeric"})
        shown.widget.attrs["autocomplete"] = "off"
        shown.widget.attrs["spellcheck"] = "false"


def _chips(given: QueryDict, form: Form, wordings: Mapping[str, Wording]) -> list[Chip]:
    chips = []
    for name in given:
        if name not in form.fields:
            continue
        rest = given.copy()
        rest.pop(name)
        rest.pop("cursor", None)
        label = wordings[name].label if name in wordings else name.replace("_", " ")
        chips.append(Chip(label, _shown_value(form, name, given[name]), f"?{rest.urlencode()}"))
    return chips


def _shown_value(form: Form, name: str, value: str) -> str:
    choices = getattr(form.fields[name].widget, "choices", ())
    for key, label in choices:
        if str(key) == value and value:
            return str(label) if not isinstance(label, SafeString | list | tuple) else str(value)
    return value
