"""Staff pages of peers: add, edit, try, switch, remove, all through the services; what calls met is only shown."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from accounts.addresses import client_address
from librarian.common.errors import ArchiveError
from network import (  # they register their pages
    admin_orders,  # noqa: F401
    admin_pairing,
    admin_shipments,  # noqa: F401
    admin_transfers,  # noqa: F401
    services,
)
from network.admin_forms import PeerForm
from network.models import OutgoingTransfer, Peer
from network.queries import STATES, state_of
from network.services.peering.sending_options import OPTIONS

_ASKED = ["name", "url", "port", "authenticator", "check_connection", "transfers_enabled"]
_WAYS_HELP = (
    "Of the ways that the other site offers, the first that this site can use as well is taken. One that cannot start "
    "rests for a while; a change here has it tried again at once."
)
_MET = ["state", "last_seen_at", "latency", "last_heard", "last_error_at", "last_error"]
_MET += ["failures_in_a_row", "rests_until", "features", "provider_rests", "created_at"]


@admin.register(Peer)
class PeerAdmin(admin.ModelAdmin):
    """Sites that this one knows. Their names never change: accounts, transfers and copies go by them."""

    form = PeerForm
    list_display = ["name", "root", "transfers_enabled", "state", "last_seen_at", "latency", "last_heard", "last_error"]
    list_filter = ["transfers_enabled"]
    search_fields = ["name", "url"]
    readonly_fields = _MET
    actions = ["test_connection", "switch_on", "switch_off"]

    # --- What is shown ---

    def get_queryset(self, request: HttpRequest) -> QuerySet[Peer]:
        return super().get_queryset(request).with_last_heard()

    @admin.display(description="latest call")
    def state(self, peer: Peer) -> str:
        return STATES[state_of(peer)].label

    @admin.display(description="latency", ordering="latency_seconds")
    def latency(self, peer: Peer) -> str:
        return "-" if peer.latency_seconds is None else f"{1000 * peer.latency_seconds:.0f} ms"

    @admin.display(description="last heard", ordering="last_heard_at", empty_value="-")
    def last_heard(self, peer: Peer) -> Any:
        return getattr(peer, "last_heard_at", None)

    def get_fieldsets(self, request: HttpRequest, obj: Peer | None = None) -> Any:
        ways = ("How files go there", {"fields": list(OPTIONS), "description": _WAYS_HELP})
        return [(None, {"fields": _ASKED}), ways, *([("Met", {"fields": _MET})] if obj else [])]

    def get_form(self, request: HttpRequest, obj: Peer | None = None, **kwargs: Any) -> type[forms.ModelForm]:
        # two fields are the form's and not the model's, of which Django would make its own choice
        return type("PeerFormOfRequest", (PeerForm,), {"actor": request.user, "address": _address(request)})

    # --- Pages ---

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("invite/", wrap(admin_pairing.invite_site), name="network_peer_invite"),
            path("accept/", wrap(admin_pairing.accept_invitation), name="network_peer_accept"),
            *super().get_urls(),
        ]

    # --- What is done ---

    @method_decorator(sensitive_post_parameters("authenticator"))
    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The page without the transaction that Django opens around it: the form calls the other site meanwhile."""
        return self._changeform_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Peer, form: forms.ModelForm, change: bool) -> None:
        """Nothing but telling what was found: the form has saved it through the services."""
        if form.connection is not None:
            self._tell_found(request, form.instance, form.connection)

    def delete_model(self, request: HttpRequest, obj: Peer) -> None:
        services.remove_peer(peer=obj, actor=request.user, address=_address(request))
        if waiting := OutgoingTransfer.objects.live().filter(peer_name=obj.name).count():
            text = f"{waiting} transfers to {obj.name} wait until it is added again; or cancel them."
            self.message_user(request, text, messages.WARNING)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Peer]) -> None:
        for peer in queryset:
            self.delete_model(request, peer)

    @admin.action(description="Test the connection")
    def test_connection(self, request: HttpRequest, queryset: QuerySet[Peer]) -> None:
        for peer in queryset:
            try:
                found = services.check_peer(peer=peer, actor=request.user, address=_address(request))
            except ArchiveError as error:
                self.message_user(request, f"{error.reason} {error.suggested_remedy}", messages.ERROR)
            else:
                self._tell_found(request, peer, found)

    @admin.action(description="Switch transfers on")
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Peer]) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(description="Switch transfers off")
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Peer]) -> None:
        self._switch(request, queryset, enabled=False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Peer], *, enabled: bool) -> None:
        for peer in queryset:
            services.set_transfers_enabled(peer=peer, enabled=enabled, actor=request.user, address=_address(request))
            text = f"Transfers to {peer.name} are switched {'on' if enabled else 'off'}."
            self.message_user(request, text, messages.SUCCESS)

    def _tell_found(self, request: HttpRequest, peer: Peer, found: services.Connection) -> None:
        text = f"{peer.name} answers within {1000 * found.latency_seconds:.0f} ms and accepts our credentials."
        self.message_user(request, text, messages.SUCCESS)
        for note in found.notes:
            self.message_user(request, f"{peer.name}: {note}", messages.WARNING)


def _address(request: HttpRequest) -> str:
    return client_address(request) or ""
