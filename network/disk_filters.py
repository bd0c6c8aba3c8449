"""What trips of disks can be searched by."""

from django.db.models import QuerySet

from librarian.common.filters import ArchiveFilterSet, OneOfFilter, TextFilter, YesNoFilter
from network.models import SHIPMENT_LIVE, Shipment, ShipmentState
from stores.filters import StoreFilter


class ShipmentFilterSet(ArchiveFilterSet):
    """Trips by store, site and state."""

    store = StoreFilter(field_name="store", help_text="Of the store of this name.")
    peer = TextFilter("peer_name", max_length=64, help_text="To the site of this name.")
    state = OneOfFilter(field_name="state", choices=ShipmentState.choices, help_text="Where it stands.")
    live = YesNoFilter(method="that_live", help_text="Whether the trip is not over.")

    class Meta:
        model = Shipment
        fields: list[str] = []

    def that_live(self, queryset: QuerySet, name: str, value: bool) -> QuerySet:
        return queryset.filter(state__in=SHIPMENT_LIVE) if value else queryset.exclude(state__in=SHIPMENT_LIVE)
