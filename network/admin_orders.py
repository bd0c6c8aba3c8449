"""Staff pages of standing orders: added, edited, switched and removed through the services."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.addresses import client_address
from accounts.models import User
from librarian.common.errors import ArchiveError
from network.forms import clean_destination, peer_choices
from network.models import OrderWay, StandingOrder
from network.services.sending.orders import add_order, edit_order, remove_order, set_order_enabled
from stores.forms import TargetsField

FIELDS = ["name", "search", "way", "peer_name", "targets", "switch_off_full_stores", "priority", "enabled"]


class OrderForm(forms.ModelForm):
    """An order as a person writes it; what is wrong with its search stands beside it."""

    actor: User | None = None
    address = ""

    targets = TargetsField(
        label="Stores",
        required=False,
        help_text="Filled in this order. Not for an order over the network; disks that travel for one that is carried.",
    )

    class Meta:
        model = StandingOrder
        fields = FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        order = self.instance if self.instance.pk else None
        self.fields["peer_name"] = forms.ChoiceField(
            label="Librarian",
            required=False,
            choices=[("", "none: copies to stores of ours"), *peer_choices(order)],
            help_text="Matching files are for this site. An order to stores of ours has none.",
        )
        self.fields["targets"].offer_all()
        self.fields["way"].required = False
        self.fields["search"].widget.attrs["spellcheck"] = "false"

    def clean_way(self) -> str:
        return self.cleaned_data["way"] or OrderWay.PUSH

    def clean(self) -> dict[str, Any]:
        return clean_destination(self, super().clean() or self.cleaned_data)

    def _post_clean(self) -> None:
        """Save here, not later: what the service refuses belongs beside the fields."""
        if self.errors:
            return
        who = {"actor": self.actor, "address": self.address}
        try:
            if self.instance.pk:
                edit_order(order=self.instance, **who, **self.cleaned_data)
            else:
                self.instance = add_order(**who, **self.cleaned_data)
        except ArchiveError as error:
            self.add_error(None, f"{error.reason} {error.suggested_remedy}")

    def save(self, commit: bool = True) -> StandingOrder:
        """The order, which the service has saved."""
        self.save_m2m = lambda: None
        return self.instance


@admin.register(StandingOrder)
class StandingOrderAdmin(admin.ModelAdmin):
    """What is sent to whom for as long as it stands. Orders name peers, and wait for one that was removed."""

    list_display = ["name", "way", "peer_name", "enabled", "priority", "last_run_at", "problem", "created_by"]
    list_filter = ["enabled", "way", "peer_name"]
    search_fields = ["name", "search"]
    readonly_fields = ["created_by", "created_at", "last_run_at", "problem"]
    actions = ["switch_on", "switch_off"]

    def get_fields(self, request: HttpRequest, obj: StandingOrder | None = None) -> list[str]:
        return [*FIELDS, *(self.readonly_fields if obj else [])]

    def get_form(self, request: HttpRequest, obj: StandingOrder | None = None, **kwargs: Any) -> type[OrderForm]:
        return type("OrderFormOfRequest", (OrderForm,), {"actor": request.user, "address": _address(request)})

    def save_model(self, request: HttpRequest, obj: StandingOrder, form: forms.ModelForm, change: bool) -> None:
        """Nothing: the form has saved it through the services."""

    def delete_model(self, request: HttpRequest, obj: StandingOrder) -> None:
        remove_order(order=obj, actor=request.user, address=_address(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[StandingOrder]) -> None:
        for order in queryset:
            self.delete_model(request, order)

    @admin.action(description="Switch the selected orders on")
    def switch_on(self, request: HttpRequest, queryset: QuerySet[StandingOrder]) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(description="Switch the selected orders off")
    def switch_off(self, request: HttpRequest, queryset: QuerySet[StandingOrder]) -> None:
        self._switch(request, queryset, enabled=False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[StandingOrder], *, enabled: bool) -> None:
        for order in queryset:
            set_order_enabled(order=order, enabled=enabled, actor=request.user, address=_address(request))
            text = f"The order {order.name} is switched {'on' if enabled else 'off'}."
            self.message_user(request, text, messages.SUCCESS)


def _address(request: HttpRequest) -> str:
    return client_address(request) or ""
