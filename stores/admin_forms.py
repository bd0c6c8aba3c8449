"""Forms of the staff admin's store pages, saving through the services: a refusal stands beside what was typed."""

from typing import Any

from django import forms

from accounts.models import User
from librarian.common.errors import ArchiveError
from stores import services
from stores.backends import BACKENDS, backend_class
from stores.models import Store
from stores.services.keeping import EDITABLE


class NameList(forms.CharField):
    """A list of names, typed with commas or blanks between them."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:
        return str(value or "").replace(",", " ").split()

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(self.prepare_value(initial)) != self.to_python(data)


class StoreForm(forms.ModelForm):
    """A store as a person sets it; the directories of a posix store are fields of their own."""

    actor: User | None = None
    address = ""

    kind = forms.ChoiceField(choices=[(kind, Store.Kind(kind).label) for kind in BACKENDS], initial=Store.Kind.POSIX)
    root = forms.CharField(
        label="Directory", help_text="Absolute path of the directory that holds the files, as its hosts see it."
    )
    staging = forms.CharField(
        required=False,
        label="Staging area",
        help_text="Absolute path on the same file system. Empty: .librarian/staging in the directory.",
    )
    hosts = NameList(
        required=False, help_text="Names of the hosts that reach it, with commas between them. Empty: this host."
    )
    providers = NameList(required=False, help_text="Ways of transfer offered to peers, with commas between them.")

    class Meta:
        model = Store
        fields = ["kind", *(field for field in EDITABLE if field != "configuration")]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for key in ("root", "staging"):
            self.initial.setdefault(key, self.instance.configuration.get(key, ""))
        if self.instance.pk:
            self.fields["kind"].disabled = True

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        keys = [key for key in ("root", "staging") if cleaned.get(key)]
        cleaned["configuration"] = {key: cleaned[key] for key in keys}
        if "root" in cleaned and "kind" in cleaned:
            for problem in backend_class(cleaned["kind"]).check_configuration(cleaned["configuration"]):
                self.add_error("staging" if problem.startswith("'staging'") else "root", problem)
        return cleaned

    def _post_clean(self) -> None:
        """Save here, not later: what the disk or another store refuses belongs beside the fields."""
        if self.errors:
            return
        given = {name: self.cleaned_data[name] for name in [*self.Meta.fields, "configuration"]}
        kind = given.pop("kind")
        who = {"actor": self.actor, "address": self.address}
        try:
            if self.instance.pk:
                services.edit_store(store=self.instance, **who, **given)
            else:
                self.instance = services.add_store(kind=kind, **who, **given)
        except ArchiveError as error:
            self.add_error(None, f"{error.reason} {error.suggested_remedy}")

    def save(self, commit: bool = True) -> Store:
        """The store, which the services have saved."""
        self.save_m2m = lambda: None
        return self.instance
