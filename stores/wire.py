"""Wire protocol: `admin/stores/list`, `admin/stores/state_change`."""

from rest_framework.request import Request

from accounts.addresses import client_address
from accounts.levels import Level
from accounts.permissions import wire_level_required
from hera_librarian.models.admin import (
    AdminStoreListItem,
    AdminStoreListResponse,
    AdminStoreStateChangeRequest,
    AdminStoreStateChangeResponse,
)
from hera_librarian.models.ping import PingRequest
from librarian.common.wire import WireFailure, WireView
from stores.models import Store
from stores.services import set_store_enabled

WIRE_TYPES = {Store.Kind.POSIX: "local"}  # what clients of the protocol know a directory as


class ListStores(WireView):
    """`admin/stores/list`: every store. Clients send an empty body."""

    request_model = PingRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: PingRequest) -> AdminStoreListResponse:
        return AdminStoreListResponse([describe_store(store) for store in Store.objects.order_by("pk")])


class ChangeStoreState(WireView):
    """`admin/stores/state_change`: switches a store on or off. Harmless when repeated."""

    request_model = AdminStoreStateChangeRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: AdminStoreStateChangeRequest) -> AdminStoreStateChangeResponse:
        store = find_store(message.store_name)
        set_store_enabled(
            store=store, enabled=message.enabled, actor=request.user, address=client_address(request) or ""
        )
        return AdminStoreStateChangeResponse(store_name=store.name, enabled=message.enabled, success=True)


def find_store(name: str) -> Store:
    """The store of this name. Raises WireFailure in the protocol's words."""
    store = Store.objects.filter(name=name).first()
    if store is None:
        raise WireFailure(
            400, f"Store {name} does not exist.", "List the stores to learn their names.", code="no_such_store"
        )
    return store


def describe_store(store: Store) -> AdminStoreListItem:
    """A store as the wire shows it: the bytes that may still be written, -1 when it is away."""
    return AdminStoreListItem(
        name=store.name,
        store_type=WIRE_TYPES.get(store.kind, store.kind),
        free_space=store.usable_bytes if store.available else -1,
        ingestable=store.ingestable,
        available=store.available,
        enabled=store.enabled,
    )
