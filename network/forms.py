"""The form of a standing order."""

from typing import Any

from django import forms

from files.search import InvalidSearch, compile_search
from network.models import OrderWay, Peer, StandingOrder
from network.services.sending.orders import LARGEST_PRIORITY, LONGEST_NAME
from stores.forms import TargetsField

WAYS = [(way.value, way.label) for way in OrderWay]


class OrderForm(forms.Form):
    """A name, a search, a way, a destination. What is wrong with the search is said at its field."""

    name = forms.CharField(label="Name", max_length=LONGEST_NAME, help_text="For people.")
    way = forms.ChoiceField(label="Way", choices=WAYS, required=False, initial=OrderWay.PUSH)
    peer_name = forms.ChoiceField(label="Send to", required=False)
    targets = TargetsField(
        label="Copy to",
        required=False,
        help_text="Filled in this order: the next is used when one has no room.",
    )
    switch_off_full_stores = forms.BooleanField(label="Switch a store off once it is full", required=False)
    search = forms.CharField(
        label="Files to send",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "class": "mono", "spellcheck": "false"}),
        help_text='In the JSON search language: {"name-matches": "zen.%", "not-older-than": 14} are files whose names '
        "begin with zen. and that came within the last 14 days. % stands for any characters, _ for one.",
    )
    priority = forms.IntegerField(
        label="Priority",
        initial=0,
        min_value=-LARGEST_PRIORITY,
        max_value=LARGEST_PRIORITY,
        help_text="Files of a higher number are sent first.",
    )
    enabled = forms.BooleanField(label="Switched on", required=False, initial=True)

    def __init__(self, *args: Any, order: StandingOrder | None = None, **options: Any) -> None:
        if order is not None:
            options["initial"] = {name: getattr(order, name) for name in self.base_fields}
        super().__init__(*args, **options)
        self.fields["peer_name"].choices = peer_choices(order)
        self.fields["targets"].offer_all()

    def clean_way(self) -> str:
        return self.cleaned_data["way"] or OrderWay.PUSH

    def clean_search(self) -> str:
        text = self.cleaned_data["search"]
        try:
            compile_search(text)
        except InvalidSearch as problem:
            raise forms.ValidationError([problem.reason, problem.suggested_remedy]) from None
        return text

    def clean(self) -> dict[str, Any]:
        return clean_destination(self, super().clean() or self.cleaned_data)


def peer_choices(order: StandingOrder | None) -> list[tuple[str, str]]:
    """The peers there are, and the one that an order names though it was removed: it waits for that."""
    names = list(Peer.objects.order_by("name").values_list("name", flat=True))
    own = order.peer_name if order is not None else ""
    gone = [(own, f"{own} (not known here at present)")] if own and own not in names else []
    return [*gone, *((name, name) for name in names)]


def clean_destination(form: forms.BaseForm, cleaned: dict[str, Any]) -> dict[str, Any]:
    """Ask for what the way of an order needs, and drop what it does not: only fields of the chosen way count."""
    way = cleaned.get("way")
    if way == OrderWay.PUSH:
        cleaned.update(targets=[], switch_off_full_stores=False)
        form.errors.pop("targets", None)
    elif way and not cleaned.get("targets") and "targets" not in form.errors:
        form.add_error("targets", "Choose at least one store.")
    if way == OrderWay.COPY:
        cleaned["peer_name"] = ""
        form.errors.pop("peer_name", None)
    elif way and not cleaned.get("peer_name") and "peer_name" not in form.errors:
        form.add_error("peer_name", "Choose the site that the files are for.")
    return cleaned
