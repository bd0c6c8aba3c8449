"""The form of a standing order."""

from typing import Any

from django import forms

from files.search import InvalidSearch, compile_search
from network.models import Peer, StandingOrder
from network.services.sending.orders import LARGEST_PRIORITY, LONGEST_NAME


class OrderForm(forms.Form):
    """A name, a search, a peer. What is wrong with the search is said at its field."""

    name = forms.CharField(label="Name", max_length=LONGEST_NAME, help_text="For people.")
    peer_name = forms.ChoiceField(label="Send to")
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
        names = list(Peer.objects.order_by("name").values_list("name", flat=True))
        if order is not None and order.peer_name and order.peer_name not in names:
            names.append(order.peer_name)  # an order waits for a peer that was removed
        self.fields["peer_name"].choices = [(name, name) for name in names]

    def clean_search(self) -> str:
        text = self.cleaned_data["search"]
        try:
            compile_search(text)
        except InvalidSearch as problem:
            raise forms.ValidationError([problem.reason, problem.suggested_remedy]) from None
        return text
