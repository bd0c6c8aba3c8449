"""Fields of forms in which people choose stores in an order: one list to choose from for each place in it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.forms.utils import flatatt
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from stores.models import Store

PLACES = 4  # so many lists at least, where there are as many stores


class InOrder(forms.Widget):
    """Several lists to choose from, all of one name; what is left empty counts for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.choices: Sequence[tuple[int, str]] = ()

    def value_from_datadict(self, data: Any, files: Mapping[str, Any], name: str) -> list[str]:
        given = data.getlist(name) if hasattr(data, "getlist") else data.get(name, [])
        return [str(value) for value in given if value != ""]

    def value_omitted_from_data(self, data: Any, files: Mapping[str, Any], name: str) -> bool:
        return False

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        attributes = dict(attrs or {})
        base = attributes.pop("id", f"id_{name}")
        chosen = [str(each) for each in value or []]
        places = max(1, min(max(PLACES, len(chosen) + 1), len(self.choices)))
        lists = []
        for number in range(places):
            given = {"name": name, "id": base, **attributes}  # the first has the label of the field for its name
            if number:
                given |= {"id": f"{base}_{number}", "aria-label": f"then, place {number + 1}"}
            lists.append((flatatt(given), self._options(chosen[number] if number < len(chosen) else "")))
        return format_html_join("", '<select class="in-order"{}>{}</select>', lists)

    def id_for_label(self, id_: str, index: str | None = None) -> str:
        return id_

    def _options(self, chosen: str) -> SafeString:
        rows = (
            (key, SafeString(" selected") if str(key) == chosen else "", label)
            for key, label in [("", "no store"), *self.choices]
        )
        return format_html_join("", '<option value="{}"{}>{}</option>', rows)


class TargetsField(forms.Field):
    """Ids of stores in the order in which they are filled. A form says which can be chosen when it is made."""

    widget = InOrder

    def offer(self, stores: Iterable[Store]) -> None:
        """Let these stores be chosen."""
        self.widget.choices = [(store.pk, words_of(store)) for store in stores]

    def offer_all(self) -> None:
        """Let every store be chosen."""
        self.offer(Store.objects.order_by("name"))

    def to_python(self, value: Any) -> list[int]:
        known = {str(key): key for key, _ in self.widget.choices}
        unknown = [each for each in value or [] if str(each) not in known]
        if unknown:
            raise forms.ValidationError("One of them is no store that can be chosen here.")
        keys = [known[str(each)] for each in value or []]
        if len(set(keys)) != len(keys):
            raise forms.ValidationError("A store is named twice.")
        return keys


def words_of(store: Store) -> str:
    """A store as one chooses it: its name, and what matters for choosing it."""
    facts = [store.get_kind_display().split(",")[0]] if store.kind != Store.Kind.POSIX else []
    facts += ["travels"] if store.travelling else []
    facts += [] if store.enabled else ["switched off"]
    return f"{store.name} ({', '.join(facts)})" if facts else store.name
