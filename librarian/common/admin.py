"""Base of the staff admin's pages for rows that machines write: to be looked at, never edited there."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest


class ReadOnlyAdmin(admin.ModelAdmin):
    """Shows rows and their fields; adds, changes and deletes nothing. Actions may still call services."""

    show_full_result_count = False  # a full count of a large table costs more than the page
    list_per_page = 100

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_staff)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnlyInline(ReadOnlyAdmin, admin.TabularInline):
    """Rows of a related table, shown below their owner."""

    extra = 0
    can_delete = False
    show_change_link = True

    def __init__(self, parent_model: type[Model], admin_site: admin.AdminSite) -> None:
        admin.TabularInline.__init__(self, parent_model, admin_site)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        """All that is shown: Django would make a form of the rest, which fails on fields that cannot be edited."""
        return [*self.readonly_fields, *(name for name in self.fields or () if name not in self.readonly_fields)]
