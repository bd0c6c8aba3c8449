"""Forms of the files floor: what is to be copied where, which store is to be emptied."""

from typing import Any

from django import forms

from files.search import InvalidSearch, compile_search
from stores.forms import TargetsField
from stores.models import Store


class OffloadForm(forms.Form):
    """A store, where its files are copied to, and whether it is to go."""

    store = forms.ModelChoiceField(
        Store.objects.order_by("name"), to_field_name="name", label="Store to empty", empty_label=None
    )
    targets = TargetsField(
        label="Copy its files to",
        help_text="Filled in this order: the next is used when one is full. Disks that travel do not make a file safe.",
    )
    drains = forms.BooleanField(
        required=False,
        label="Drain: it is to be taken out of service",
        help_text="It takes no new files from now on, and its page says when nothing is left on it.",
    )
    search = forms.CharField(
        required=False,
        strip=False,
        label="Only files that match",
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}),
        help_text='In the JSON search language, such as {"name-matches": "zen.%"}. Empty: all of them, as for a drain.',
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["targets"].offer(Store.objects.filter(travelling=False).order_by("name"))

    def clean_search(self) -> str:
        text = self.cleaned_data["search"].strip()
        try:
            if text:
                compile_search(text)
        except InvalidSearch as problem:
            raise forms.ValidationError([problem.reason, problem.suggested_remedy]) from None
        return text

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        store = cleaned.get("store")
        if store is not None and store.pk in cleaned.get("targets", ()):
            self.add_error("targets", "The store to empty cannot be where its files go.")
        return cleaned


class CopyForm(forms.Form):
    """Where a person wants a copy of one file."""

    targets = TargetsField(label="Copy to")

    def __init__(self, *args: Any, stores: list[Store], **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["targets"].offer(stores)
