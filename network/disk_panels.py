"""What the page of a store that travels shows of its trips."""

from typing import Any

from network.disk_queries import Disk, shipment_rows, shipments_for_list
from stores.models import Store
from stores.queries import fullness

LATEST = 10


def trips_of(store: Store) -> dict[str, Any]:
    """The latest trips of a store; nothing is asked of one that stays."""
    if not store.travelling:
        return {"store": store, "disk": None}
    rows = shipment_rows(shipments_for_list().filter(store=store).order_by("-pk")[:LATEST])
    return {"store": store, "disk": Disk(fullness(store), rows)}
