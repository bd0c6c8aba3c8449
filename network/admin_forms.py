"""The form of the staff admin's peer pages, saving through the services: a refusal stands beside what was typed."""

from typing import Any

from django import forms

from accounts.models import User
from librarian.common.errors import ArchiveError
from network import services
from network.models import Peer
from network.services import Connection
from network.services.peering.sending_options import OPTIONS, check_sending_options

WORDS = ("provider_order", "ssh_hosts", "globus_endpoints")
LISTS = (*WORDS, "shared_directories")


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

    provider_order = forms.CharField(
        required=False,
        label="Ways to try",
        help_text="local, rsync, globus, http: those that may be used, the best first. Empty: all of them in this "
        "order.",
    )
    ssh_hosts = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60}),
        label="SSH hosts",
        help_text="For rsync: hosts, or user@host, that the other site may name, one on each line, as in the ssh "
        "configuration of the account that this server runs as. Empty: rsync is not used.",
    )
    globus_endpoints = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60}),
        label="Globus collections",
        help_text="For globus: ids of the collections that the other site may name, one on each line. Empty: globus is "
        "not used.",
    )
    shared_directories = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60}),
        help_text="For local copies: directories of its staging that are mounted here under the same path, one on "
        "each line. Empty: nothing is copied on this machine's disks.",
    )
    batch_files = forms.IntegerField(required=False, min_value=1, help_text="Files offered to it in one call.")
    files_per_run = forms.IntegerField(required=False, min_value=1, help_text="Files offered to it in one run.")
    batches_in_flight = forms.IntegerField(required=False, min_value=1, help_text="Batches on their way at once.")
    rate_limit_bytes_per_second = forms.IntegerField(
        required=False, min_value=1, label="Rate limit", help_text="Bytes per second; empty: as fast as it goes."
    )

    class Meta:
        model = Peer
        fields = ["name", "url", "port", "transfers_enabled"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in OPTIONS:
            value = getattr(self.instance, name)
            self.fields[name].initial = "\n".join(value) if name in LISTS else value
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
        self,
        *,
        name: str,
        url: str,
        port: int,
        transfers_enabled: bool,
        authenticator: str,
        check_connection: bool,
        **typed: Any,
    ) -> None:
        options = check_sending_options(_options(typed))
        given: dict[str, Any] = {"url": url, "port": port, "authenticator": authenticator, "check": check_connection}
        who: dict[str, Any] = {"actor": self.actor, "address": self.address}
        if self.instance.pk:
            self.connection = services.edit_peer(peer=self.instance, **given, **who)
            services.set_transfers_enabled(peer=self.instance, enabled=transfers_enabled, **who)
        else:
            self.instance, self.connection = services.add_peer(
                name=name, transfers_enabled=transfers_enabled, **given, **who
            )
        services.set_sending_options(peer=self.instance, **options, **who)

    def save(self, commit: bool = True) -> Peer:
        """The peer, which the services have saved."""
        self.save_m2m = lambda: None
        return self.instance


def _options(typed: dict[str, Any]) -> dict[str, Any]:
    """What was typed, as the service takes it. An amount that was left out stays as it is."""
    lists = {name: typed[name].replace(",", " ").split() for name in WORDS}
    lists["shared_directories"] = [line.strip() for line in typed["shared_directories"].splitlines() if line.strip()]
    amounts = ("batch_files", "files_per_run", "batches_in_flight")
    given = {name: typed[name] for name in amounts if typed[name] is not None}
    return {**lists, **given, "rate_limit_bytes_per_second": typed["rate_limit_bytes_per_second"]}
