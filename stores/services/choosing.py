"""Choosing the store that takes new bytes, so that space promised to one delivery is not promised to another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest

from librarian.common.errors import NoStore
from stores.models import Store

Reserved = Mapping[int, int]


def choose_store(
    *,
    size_bytes: int,
    reserved: Reserved | Callable[[], Reserved],
    name: str | None = None,
    unsuited: Callable[[Store], str] | None = None,
    remedy: str | None = None,
) -> Store:
    """Return the store with the most room for `size_bytes`; its row is locked until the caller's transaction ends.

    Its `promised_bytes` are those of the deliveries before this one.

    Parameters
    ----------
    size_bytes : int
        Bytes about to arrive. As for existing servers, the room must be strictly larger.
    reserved : mapping, or function that returns one
        Bytes promised to live deliveries, by id of the store. A function is called once the rows are locked, so that
        it sees every promise made before: give one wherever two deliveries may be staged at the same time.
    name : str, optional
        Only this store.
    unsuited : function, optional
        Why the caller's bytes cannot come to a store, as the end of a sentence; empty when they can.
    remedy : str, optional
        What helps when every store that has room is unsuited.

    Raises
    ------
    NoStore
        Naming for each store why it does not take them.
    """
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("choose_store belongs into the transaction that makes the promise")
    stores = list(Store.objects.select_for_update().order_by("id"))
    promised = reserved() if callable(reserved) else reserved
    candidates = [store for store in stores if name in (None, store.name)]
    refusals = {store.pk: _refusal(store, size_bytes, promised.get(store.pk, 0)) for store in candidates}
    fitting = [store for store in candidates if not refusals[store.pk]]
    refusals |= {store.pk: unsuited(store) for store in fitting} if unsuited else {}
    suited = [store for store in fitting if not refusals[store.pk]]
    if not suited:
        raise _no_store(candidates, refusals, name, remedy if fitting else None)
    chosen = max(suited, key=lambda store: (store.usable_bytes - promised.get(store.pk, 0), -store.pk))
    chosen.promised_bytes = promised.get(chosen.pk, 0)
    return chosen


@dataclass(slots=True)
class Room:
    """What one store can take of copies that we make ourselves.

    `refusal` says why it takes none at all, `why_not` the same without what changes by the minute; `room_bytes` is what
    is free below its fullness limit and promised to nobody. A product must be smaller than that.
    """

    store: Store
    refusal: str
    why_not: str
    room_bytes: int

    def takes(self, size_bytes: int) -> bool:
        return not self.refusal and size_bytes < self.room_bytes


def look_for_room(*, store_ids: Sequence[int], reserved: Callable[[], Reserved], lock: bool = False) -> list[Room]:
    """What each of these stores can take, in the order given; they need not take new files from outside.

    With `lock`, inside a transaction, the rows of all stores stay locked until its end, as `choose_store` does, so that
    what is promised in it is promised once.
    """
    rows = Store.objects.select_for_update() if lock else Store.objects.all()
    stores = {store.pk: store for store in rows.order_by("id")}
    promised = reserved()
    return [_room_of(stores[key], promised.get(key, 0)) for key in store_ids if key in stores]


def _room_of(store: Store, promised_bytes: int) -> Room:
    refusal, why_not = _absence(store)
    return Room(store, refusal, why_not, max(0, store.usable_bytes - promised_bytes))


def _absence(store: Store) -> tuple[str, str]:
    """Why nothing can be written to a store, in full and in short; empty if something can."""
    if not store.enabled:
        return "is switched off", "is switched off"
    if not store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
        where = f"is reached only from {', '.join(store.hosts)}, not from this host, {settings.LIBRARIAN_HOST_NAME}"
        return where, where
    if not store.available:
        return f"is not available: {store.availability_reason or 'not measured yet'}", "is not available"
    return "", ""


def _refusal(store: Store, size_bytes: int, promised_bytes: int) -> str:
    """Why a store does not take `size_bytes` more; empty if it does."""
    if not store.enabled:
        return "is switched off"
    if not store.ingestable:
        return "takes no new files (not ingestable)"
    if absence := _absence(store)[0]:
        return absence
    room = store.usable_bytes - promised_bytes
    if room <= size_bytes:
        return (
            f"has room for {max(0, room)} bytes, {size_bytes} are needed "
            f"({store.usable_bytes} below its fullness limit, {promised_bytes} promised to other deliveries)"
        )
    return ""


def _no_store(stores: list[Store], refusals: Mapping[int, str], name: str | None, remedy: str | None) -> NoStore:
    if stores:
        sentences = "; ".join(f"{store.name} {refusals[store.pk]}" for store in stores)
        return NoStore(f"No store takes the bytes: {sentences}.", remedy=remedy)
    if name is not None:
        return NoStore(f"There is no store called {name}.", remedy="The Stores page lists every store.")
    return NoStore("No store has been added yet.", remedy="Add one in the staff admin or by `manage.py add_store`.")


def note_written(*, store: Store, size_bytes: int) -> None:
    """Count bytes that were just committed as used, until the store is measured again."""
    Store.objects.filter(pk=store.pk, free_bytes__isnull=False).update(
        free_bytes=Greatest(F("free_bytes") - size_bytes, 0)
    )
