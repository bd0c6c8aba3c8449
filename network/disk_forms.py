"""Forms of disks that travel: packing one, and what is entered about it on its way."""

from typing import Any

from django import forms

from network.models import Peer
from stores.models import Store


class PackForm(forms.Form):
    """A disk, where it goes, and what is done with its copies here."""

    store = forms.ModelChoiceField(
        Store.objects.order_by("-travelling", "name"), to_field_name="name", label="Disk", empty_label=None
    )
    peer_name = forms.ChoiceField(
        label="Goes to", required=False, help_text="Needed if the other site is to confirm what arrives."
    )
    begin_transfers = forms.BooleanField(
        required=False,
        initial=True,
        label="Begin a transfer of each file",
        help_text="The other site confirms each; what was not confirmed is known when the disk is lost.",
    )
    hand_over = forms.BooleanField(
        required=False,
        label="Its copies leave this site",
        help_text="They count as handed over and are not read here any more.",
    )
    disable_store = forms.BooleanField(
        required=False, label="Switch the store off", help_text="So that nothing more is copied to it."
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        names = Peer.objects.order_by("name").values_list("name", flat=True)
        self.fields["peer_name"].choices = [("", "not said"), *((name, name) for name in names)]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("begin_transfers") and not cleaned.get("peer_name"):
            self.add_error("peer_name", "Transfers are begun to a site: choose it, or begin none.")
        return cleaned


class CustodyForm(forms.Form):
    """Who had the disk, and what is to be remembered of it."""

    person = forms.CharField(required=False, max_length=128, label="Person", help_text="Who had the disk then.")
    note = forms.CharField(required=False, max_length=2000, label="Note")


class LostForm(forms.Form):
    """What becomes of the files of a lost disk."""

    note = forms.CharField(required=False, max_length=2000, label="Note")
    over_network = forms.BooleanField(
        required=False,
        label="Send its files over the network instead",
        help_text="Else what a standing order carries there waits for its next disk, and only the rest is sent.",
    )
