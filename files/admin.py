"""Staff pages of the files floor. What machines write is read-only here; only watch folders are provisioned."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts.addresses import client_address
from files import admin_copies  # noqa: F401  it registers its pages
from files.models import (
    CorruptInstance,
    File,
    FileEvent,
    Instance,
    Observation,
    ObservingSession,
    RemoteInstance,
    Upload,
    WatchedPath,
    WatchFolder,
)
from librarian.common.admin import ReadOnlyAdmin, ReadOnlyInline
from librarian.common.audit import record_act


class InstanceInline(ReadOnlyInline):
    model = Instance
    fields = ["store", "path", "presence", "condition", "condition_at", "deletion_policy", "created_at"]


@admin.register(File)
class FileAdmin(ReadOnlyAdmin):
    list_display = ["name", "kind", "size_bytes", "uploader", "source", "obsid", "registered_at"]
    list_filter = ["kind", "registered_at"]
    search_fields = ["name__startswith"]
    inlines = [InstanceInline]


@admin.register(Instance)
class InstanceAdmin(ReadOnlyAdmin):
    list_display = ["file", "store", "path", "presence", "condition", "condition_at", "deletion_policy"]
    list_filter = ["store", "presence", "condition", "deletion_policy"]
    list_select_related = ["file", "store"]
    search_fields = ["file__name__startswith"]


@admin.register(RemoteInstance)
class RemoteInstanceAdmin(ReadOnlyAdmin):
    list_display = ["file", "peer_name", "peer_store_id", "copied_at"]
    list_filter = ["peer_name"]
    list_select_related = ["file"]


@admin.register(FileEvent)
class FileEventAdmin(ReadOnlyAdmin):
    list_display = ["file", "number", "type", "at", "actor"]
    list_filter = ["type"]
    list_select_related = ["file"]
    search_fields = ["file__name__startswith"]


@admin.register(Upload)
class UploadAdmin(ReadOnlyAdmin):
    list_display = ["id", "kind", "state", "destination", "owner_name", "store", "size_bytes", "created_at"]
    list_filter = ["state", "kind", "store"]
    list_select_related = ["store"]


@admin.register(CorruptInstance)
class CorruptInstanceAdmin(ReadOnlyAdmin):
    list_display = ["file", "instance", "found_at", "resolved_at", "resolution"]
    list_select_related = ["file", "instance"]


@admin.register(Observation)
class ObservationAdmin(ReadOnlyAdmin):
    list_display = ["obsid", "start_jd", "stop_jd", "start_lst_hours", "session"]


@admin.register(ObservingSession)
class ObservingSessionAdmin(ReadOnlyAdmin):
    list_display = ["id", "start_jd", "stop_jd"]


@admin.register(WatchedPath)
class WatchedPathAdmin(ReadOnlyAdmin):
    list_display = ["name", "folder", "state", "unchanged_since", "note"]
    list_filter = ["state", "folder"]
    list_select_related = ["folder"]


class WatchFolderForm(forms.ModelForm):
    class Meta:
        model = WatchFolder
        fields = [
            "path",
            "host",
            "store",
            "pattern",
            "quiet_seconds",
            "uploader",
            "null_obsid",
            "remove_after",
            "enabled",
        ]

    def clean_path(self) -> str:
        path = self.cleaned_data["path"]
        if not path.startswith("/") or "/../" in f"{path}/":
            raise forms.ValidationError("Give the absolute path of the folder, without '..'.")
        return str(path)


@admin.register(WatchFolder)
class WatchFolderAdmin(admin.ModelAdmin):
    form = WatchFolderForm
    list_display = ["path", "pattern", "quiet_seconds", "store", "enabled", "scanned_at", "note"]
    list_select_related = ["store"]

    def save_model(self, request: HttpRequest, obj: WatchFolder, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self._record(request, "save_watch_folder", obj, {"enabled": obj.enabled})

    def delete_model(self, request: HttpRequest, obj: WatchFolder) -> None:
        self._record(request, "delete_watch_folder", obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for folder in queryset:
            self.delete_model(request, folder)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """What was noted of the folder's entries goes with it; nobody deletes such a note by itself."""
        listed, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        return listed, counts, forbidden - {WatchedPath._meta.verbose_name}, protected

    def _record(
        self, request: HttpRequest, action: str, folder: WatchFolder, facts: dict[str, Any] | None = None
    ) -> None:
        record_act(
            actor=request.user,
            action=action,
            subject=folder.path,
            facts=facts,
            address=client_address(request) or "",
        )
