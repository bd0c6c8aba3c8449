"""Choosing the store that takes new bytes, so that space promised to one delivery is not promised to another."""

from collections.abc import Callable, Mapping

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest

from librarian.common.errors import NoStore
from stores.models import Store

Reserved = Mapping[int, int]


def choose_store(*, size_bytes: int, reserved: Reserved | Callable[[], Reserved], name: str | None = None) -> Store:
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
    if not fitting:
        raise _no_store(candidates, refusals, name)
    chosen = max(fitting, key=lambda store: (store.usable_bytes - promised.get(store.pk, 0), -store.pk))
    chosen.promised_bytes = promised.get(chosen.pk, 0)
    return chosen


def _refusal(store: Store, size_bytes: int, promised_bytes: int) -> str:
    """Why a store does not take `size_bytes` more; empty if it does."""
    if not store.enabled:
        return "is switched off"
    if not store.ingestable:
        return "takes no new files (not ingestable)"
    if not store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
        return f"is reached only from {', '.join(store.hosts)}, not from this host, {settings.LIBRARIAN_HOST_NAME}"
    if not store.available:
        return f"is not available: {store.availability_reason or 'not measured yet'}"
    room = store.usable_bytes - promised_bytes
    if room <= size_bytes:
        return (
            f"has room for {max(0, room)} bytes, {size_bytes} are needed "
            f"({store.usable_bytes} below its fullness limit, {promised_bytes} promised to other deliveries)"
        )
    return ""


def _no_store(stores: list[Store], refusals: Mapping[int, str], name: str | None) -> NoStore:
    if stores:
        sentences = "; ".join(f"{store.name} {refusals[store.pk]}" for store in stores)
        return NoStore(f"No store takes the bytes: {sentences}.")
    if name is not None:
        return NoStore(f"There is no store called {name}.", remedy="The Stores page lists every store.")
    return NoStore("No store has been added yet.", remedy="Add one in the staff admin or by `manage.py add_store`.")


def note_written(*, store: Store, size_bytes: int) -> None:
    """Count bytes that were just committed as used, until the store is measured again."""
    Store.objects.filter(pk=store.pk, free_bytes__isnull=False).update(
        free_bytes=Greatest(F("free_bytes") - size_bytes, 0)
    )
