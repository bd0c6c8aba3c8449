"""Forms of the staff admin's store pages, saving through the services: a refusal stands beside what was typed."""

from typing import Any

from django import forms

from accounts.models import User
from librarian.common.errors import ArchiveError
from stores import services
from stores.backends import BACKENDS, backend_class
from stores.kinds import SETTINGS, setting_blamed
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


def field_of(kind: str, key: str) -> str:
    """Name of the form's field for a setting: kinds have settings of the same name."""
    return key if kind == Store.Kind.POSIX else f"{kind}__{key}"


class StoreForm(forms.ModelForm):
    """A store as a person sets it. Each setting of each kind is a field; only those of the chosen kind count."""

    actor: User | None = None
    address = ""

    kind = forms.ChoiceField(choices=[(kind, Store.Kind(kind).label) for kind in BACKENDS], initial=Store.Kind.POSIX)
    hosts = NameList(
        required=False, help_text="Names of the hosts that reach it, with commas between them. Empty: this host."
    )
    providers = NameList(required=False, help_text="Ways of transfer offered to peers, with commas between them.")

    class Meta:
        model = Store
        fields = ["kind", *(field for field in EDITABLE if field != "configuration")]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for kind in BACKENDS:
            for setting in SETTINGS[kind]:
                self.fields[field_of(kind, setting.key)] = forms.CharField(
                    required=False,  # the kind says what it needs
                    max_length=4096,
                    label=setting.label if not setting.is_optional else f"{setting.label} (optional)",
                    help_text=setting.help_text,
                    widget=forms.TextInput(attrs={"class": "vTextField", "spellcheck": "false"}),
                )
        if self.instance.pk:
            self.fields["kind"].disabled = True
            for key, value in self.instance.configuration.items():
                self.initial.setdefault(field_of(self.instance.kind, key), value)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = cleaned.get("kind")
        if kind in SETTINGS:
            typed = {setting.key: cleaned.get(field_of(kind, setting.key)) for setting in SETTINGS[kind]}
            cleaned["configuration"] = {key: value for key, value in typed.items() if value}
            for problem in backend_class(kind).check_configuration(cleaned["configuration"]):
                self.add_error(field_of(kind, setting_blamed(kind, problem)), problem)
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
