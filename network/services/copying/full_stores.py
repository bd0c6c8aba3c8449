"""Switching off the stores of an order that have no room for its next file, where the order says so."""

from files.models import StoreCopy, Upload
from files.services.copying.destinations import rooms_on
from network.models import StandingOrder
from stores.services import Room, set_store_enabled


def switch_off_full_stores(order: StandingOrder) -> int:
    """Switch off stores that are too full for the next copy of an order; how many. Audited.

    One to which something is being delivered at this moment is left on until that has ended.
    """
    if not order.switch_off_full_stores:
        return 0
    following = StoreCopy.objects.of_group(order.group).due().first()
    if following is None:
        return 0
    full = [room for room in rooms_on(order.targets) if _is_full(room, following.size_bytes)]
    for room in full:
        set_store_enabled(store=room.store, enabled=False, actor=None)
    return len(full)


def _is_full(room: Room, size_bytes: int) -> bool:
    if room.refusal or room.store.capacity_bytes is None or room.takes(size_bytes):
        return False
    return not Upload.objects.live().filter(store=room.store).exists()
