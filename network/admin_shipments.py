"""Staff pages of disks that travel, to be looked at; what happens to one is entered on its passport."""

from django.contrib import admin

from librarian.common.admin import ReadOnlyAdmin, ReadOnlyInline
from network.models import CustodyStep, Shipment


class CustodyInline(ReadOnlyInline):
    model = CustodyStep
    fields = ["step", "at", "by", "person", "note"]


@admin.register(Shipment)
class ShipmentAdmin(ReadOnlyAdmin):
    """Trips of stores that travel."""

    list_display = ["id", "store", "peer_name", "state", "file_count", "size_bytes", "created_by", "changed_at"]
    list_filter = ["state", "peer_name"]
    list_select_related = ["store"]
    inlines = [CustodyInline]
