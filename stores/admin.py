"""Staff pages of stores: add, edit, test, switch, all through the services; what is measured is only shown."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.addresses import client_address
from librarian.common.admin import ReadOnlyAdmin
from librarian.common.errors import ArchiveError
from stores import services
from stores.admin_forms import StoreForm, field_of
from stores.backends import BACKENDS
from stores.kinds import SETTINGS, where
from stores.models import SpaceReading, Store

_OPTIONS = ["fullness_limit", "group_writable_staging", "own_after_commit", "read_only_after_commit"]
_MEASURED = [
    "available",
    "availability_reason",
    "measured_at",
    "measured_by",
    "capacity_bytes",
    "free_bytes",
    "marker",
    "created_at",
]


def _of_kind(kind: str) -> tuple[str, dict[str, Any]]:
    fields = [field_of(kind, setting.key) for setting in SETTINGS[kind]]
    return f"Kind {kind}: {Store.Kind(kind).label}", {"fields": fields, "classes": ["kind", f"kind-{kind}"]}


@admin.register(Store)
class StoreAdmin(admin.ModelAdmin):
    """Places for bytes. None is deleted here: switch off what is no longer wanted, its instances refer to it."""

    form = StoreForm
    list_display = ["name", "kind_name", "address", "enabled", "ingestable", "travelling", "available", "measured_at"]
    list_display += ["availability_reason"]
    list_filter = ["kind", "enabled", "ingestable", "available", "travelling"]
    search_fields = ["name"]
    readonly_fields = _MEASURED
    actions = ["test_stores", "measure_now", "switch_on", "switch_off", "write_markers"]

    @admin.display(description="kind", ordering="kind")
    def kind_name(self, store: Store) -> str:
        return store.kind

    @admin.display(description="address")
    def address(self, store: Store) -> str:
        return where(store)

    def get_fieldsets(self, request: HttpRequest, obj: Store | None = None) -> Any:
        """Those of the one kind for a store that is; else those of each, of which a style shows the chosen one's."""
        fieldsets = [
            (None, {"fields": ["name", "kind", "hosts", "enabled", "ingestable", "travelling"]}),
            *(_of_kind(kind) for kind in ([obj.kind] if obj else BACKENDS) if kind in BACKENDS),
            ("Options", {"fields": _OPTIONS}),
            ("Transfers", {"fields": ["ssh_host", "globus_endpoint", "providers"]}),
        ]
        return [*fieldsets, ("Measured", {"fields": _MEASURED})] if obj else fieldsets

    def get_form(self, request: HttpRequest, obj: Store | None = None, **kwargs: Any) -> type[forms.ModelForm]:
        # settings of the kinds are fields of the form, not of the model, of which Django would make its own choice
        asked_by = {"actor": request.user, "address": client_address(request)}
        return type("StoreFormOfRequest", (StoreForm,), asked_by)

    def save_model(self, request: HttpRequest, obj: Store, form: forms.ModelForm, change: bool) -> None:
        """Nothing: the form has saved it through the services."""

    def has_delete_permission(self, request: HttpRequest, obj: Store | None = None) -> bool:
        return False

    # --- Actions ---

    @admin.action(description="Test: what works, what does not and why")
    def test_stores(self, request: HttpRequest, queryset: QuerySet[Store]) -> None:
        for store in queryset:
            for finding in services.test_store(store):
                level = messages.SUCCESS if finding.works else messages.ERROR
                self.message_user(request, f"Store {store.name} {finding}", level)

    @admin.action(description="Measure now")
    def measure_now(self, request: HttpRequest, queryset: QuerySet[Store]) -> None:
        for store in queryset:
            try:
                found = services.measure_store(store)
            except ArchiveError as error:
                self._tell(request, error)
                continue
            text = "is available" if found.available else f"is not available: {found.reason}. {found.remedy}"
            level = messages.SUCCESS if found.available else messages.ERROR
            self.message_user(request, f"Store {store.name} {text}", level)

    @admin.action(description="Switch on")
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Store]) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(description="Switch off")
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Store]) -> None:
        self._switch(request, queryset, enabled=False)

    @admin.action(description="Write the marker: this is its disk")
    def write_markers(self, request: HttpRequest, queryset: QuerySet[Store]) -> None:
        for store in queryset:
            try:
                services.write_marker(store=store, actor=request.user, address=client_address(request))
            except ArchiveError as error:
                self._tell(request, error)
            else:
                self.message_user(request, f"Store {store.name} carries its marker.", messages.SUCCESS)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Store], *, enabled: bool) -> None:
        for store in queryset:
            services.set_store_enabled(
                store=store, enabled=enabled, actor=request.user, address=client_address(request)
            )
            text = f"Store {store.name} is switched {'on' if enabled else 'off'}."
            self.message_user(request, text, messages.SUCCESS)

    def _tell(self, request: HttpRequest, error: ArchiveError) -> None:
        self.message_user(request, f"{error.reason} {error.suggested_remedy}", messages.ERROR)


@admin.register(SpaceReading)
class SpaceReadingAdmin(ReadOnlyAdmin):
    """What the measuring job saw."""

    list_display = ["store", "at", "capacity_bytes", "free_bytes"]
    list_filter = ["store"]
    list_select_related = ["store"]
