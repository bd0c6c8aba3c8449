"""Wire protocol: `admin/stores/manifest`, what lies on a store, and with its flags the trip of a disk."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.http import FileResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request

from accounts.addresses import client_address
from accounts.levels import Level
from accounts.permissions import wire_level_required
from hera_librarian.models.admin import AdminStoreManifestRequest
from librarian.common.wire import WireFailure, WireView
from network.models import Shipment
from network.services.shipping import pack
from network.services.shipping.manifest import listed_lines, open_kept
from network.services.shipping.packing import NoSuchDestination, present_copies
from stores.models import Store
from stores.services import set_store_enabled
from stores.wire import find_store

JSON = "application/json"


class StoreManifest(WireView):
    """`admin/stores/manifest`: streamed, however much lies on the store. Harmless when repeated.

    Without transfers to begin and without copies to hand over it only lists, and no trip begins.
    """

    request_model = AdminStoreManifestRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def post(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        message: AdminStoreManifestRequest = self.read_message(request)
        store = find_store(message.store_name)
        if message.create_outgoing_transfers or message.mark_local_instances_as_unavailable:
            shipment = self._pack(request, message, store)
            return FileResponse(open_kept(shipment), content_type=JSON)
        if message.disable_store:
            set_store_enabled(store=store, enabled=False, actor=request.user, address=client_address(request) or "")
        return StreamingHttpResponse(_encoded(listed_lines(store, present_copies(store))), content_type=JSON)

    def _pack(self, request: Request, message: AdminStoreManifestRequest, store: Store) -> Shipment:
        try:
            return pack(
                store=store,
                peer_name=message.destination_librarian,
                begin_transfers=message.create_outgoing_transfers,
                disable_store=message.disable_store,
                hand_over=message.mark_local_instances_as_unavailable,
                actor=request.user,
                address=client_address(request) or "",
            )
        except NoSuchDestination as problem:
            raise WireFailure(400, problem.reason, problem.suggested_remedy, code=problem.code) from None


def _encoded(lines: Iterable[str]) -> Iterator[bytes]:
    return (line.encode() for line in lines)
