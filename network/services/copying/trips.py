"""Where the disks of an order are: which can be filled now, which are on a trip, which were lost."""

from dataclasses import dataclass
from datetime import datetime

from librarian.common.errors import ArchiveError
from network.models import OrderWay, Shipment, ShipmentState, StandingOrder
from network.models.shipment import SHIPMENT_LIVE
from stores.models import Store


@dataclass(frozen=True, slots=True)
class Trips:
    """Ids of an order's stores: `open` can be filled now, `not_lost` may still bring what is on them."""

    open: list[int]
    not_lost: list[int]
    changed_at: datetime | None = None

    def changed_since(self, at: datetime | None) -> bool:
        """True if a trip began, ended or was lost after `at`: files looked at before may be wanted now."""
        return at is not None and self.changed_at is not None and self.changed_at >= at


class DisksAway(ArchiveError):
    code = "no_disk_to_fill"
    remedy = "Name another disk that travels in the order, or end the trip of one that is back."

    def __init__(self, order: StandingOrder, trips: Trips) -> None:
        names = ", ".join(Store.objects.filter(pk__in=order.targets).order_by("name").values_list("name", flat=True))
        super().__init__(f"No disk of the order {order.name} can be filled now; {names}: packed, on a trip or lost.")


def trips_of(order: StandingOrder) -> Trips:
    """What the latest trip of each store of an order says. A disk that is packed is sealed: it takes no more."""
    if order.way != OrderWay.CARRY:
        return Trips(open=list(order.targets), not_lost=list(order.targets))
    latest: dict[int, Shipment] = {}
    for shipment in Shipment.objects.filter(store__in=order.targets).order_by("pk"):
        latest[shipment.store_id] = shipment
    busy = {key for key, trip in latest.items() if trip.state in (*SHIPMENT_LIVE, ShipmentState.LOST)}
    lost = {key for key, trip in latest.items() if trip.state == ShipmentState.LOST}
    return Trips(
        open=[key for key in order.targets if key not in busy],
        not_lost=[key for key in order.targets if key not in lost],
        changed_at=max((trip.changed_at for trip in latest.values()), default=None),
    )
