"""The form of the staff admin's peer pages, saving through the services: a refusal stands beside what was typed."""

from typing import Any

from django import forms

from accounts.models import User
from librarian.common.errors import ArchiveError
from network import services
from network.models import Peer
from network.services import Connection


class PeerForm(forms.ModelForm):
    """A peer as a person sets it. The authenticator goes in and never comes out again."""

    actor: User | None = None
    address = ""
    connection: Connection | None = None

    authenticator = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        strip=False,
        required=False,
        max_length=4096,
        help_text="user:password, or a token, of our account at the other site; it is not shown again. "
        "Empty: as it is, which a new address does not allow.",
    )
    check_connection = forms.BooleanField(
        required=False,
        initial=True,
        label="Try the connection first",
        help_text="Calls the other site with these credentials; nothing is saved when that fails.",
    )

    class Meta:
        model = Peer
        fields = ["name", "url", "port", "transfers_enabled"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["name"].disabled = True
        else:
            self.fields["authenticator"].required = True

    def _post_clean(self) -> None:
        """Save here, not later: what the services or the other site refuse belongs beside the fields."""
        if self.errors:
            return
        try:
            self._save_through_services(**self.cleaned_data)
        except ArchiveError as error:
            self.add_error(None, f"{error.reason} {error.suggested_remedy}")

    def _save_through_services(
        self, *, name: str, url: str, port: int, transfers_enabled: bool, authenticator: str, check_connection: bool
    ) -> None:
        given: dict[str, Any] = {"url": url, "port": port, "authenticator": authenticator, "check": check_connection}
        who: dict[str, Any] = {"actor": self.actor, "address": self.address}
        if self.instance.pk:
            self.connection = services.edit_peer(peer=self.instance, **given, **who)
            services.set_transfers_enabled(peer=self.instance, enabled=transfers_enabled, **who)
        else:
            self.instance, self.connection = services.add_peer(
                name=name, transfers_enabled=transfers_enabled, **given, **who
            )

    def save(self, commit: bool = True) -> Peer:
        """The peer, which the services have saved."""
        self.save_m2m = lambda: None
        return self.instance
