"""Staff pages of copies between our stores, and of stores that are emptied: looked at, tried again, given up."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin_acts import ActsAdmin
from files.models import Offload, StoreCopy
from files.services.copying import cancel_copy, retry_copy
from files.services.offloading import pause_offload, resume_offload, stop_offload


@admin.register(StoreCopy)
class StoreCopyAdmin(ActsAdmin):
    """Files that are to have a copy on a further store."""

    list_display = ["id", "file", "group", "state", "store", "changed_at", "reason", "next_try_at"]
    list_filter = ["state", "store"]
    list_select_related = ["file", "store"]
    search_fields = ["file__name__startswith", "group"]
    actions = ["retry", "cancel"]

    @admin.action(description="Try the selected copies again now")
    def retry(self, request: HttpRequest, queryset: QuerySet[StoreCopy]) -> None:
        self.each(request, queryset.select_related("file"), retry_copy, done="are tried again")

    @admin.action(description="Cancel the selected copies")
    def cancel(self, request: HttpRequest, queryset: QuerySet[StoreCopy]) -> None:
        self.each(request, queryset.select_related("file"), cancel_copy, done="are cancelled")


@admin.register(Offload)
class OffloadAdmin(ActsAdmin):
    """Stores that are emptied. They are begun from the page of a store."""

    list_display = ["id", "store", "state", "drains", "problem", "looked_at", "created_by", "created_at", "finished_at"]
    list_filter = ["state", "drains"]
    list_select_related = ["store"]
    actions = ["pause", "resume", "stop"]

    @admin.action(description="Pause the selected offloads")
    def pause(self, request: HttpRequest, queryset: QuerySet[Offload]) -> None:
        self._each(request, queryset, pause_offload, done="are paused")

    @admin.action(description="Go on with the selected offloads")
    def resume(self, request: HttpRequest, queryset: QuerySet[Offload]) -> None:
        self._each(request, queryset, resume_offload, done="go on")

    @admin.action(description="Stop the selected offloads")
    def stop(self, request: HttpRequest, queryset: QuerySet[Offload]) -> None:
        self._each(request, queryset, stop_offload, done="are stopped")

    def _each(self, request: HttpRequest, queryset: QuerySet[Offload], act: Any, *, done: str) -> None:
        self.each(request, queryset.select_related("store"), act, done=done)
