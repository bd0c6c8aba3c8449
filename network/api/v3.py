"""`/api/v3/peers/`, `transfers/`, `remote-instances/`, `standing-orders/`: whom we trade with, what is on its way.

Everybody who may read sees them; addresses of peers are for ADMIN, as is whatever changes something. Peers are added,
switched and removed over the wire, in the admin and by `manage.py`.
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import Model, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from accounts.addresses import client_address
from accounts.levels import Level
from accounts.permissions import ReadOnlyLevel, level_required
from files.models import RemoteInstance
from librarian.common.errors import InvalidRequest, NotFound
from librarian.common.filters import refuse_unknown_parameters
from network.api.serializers import (
    CopyAtPeerSerializer,
    IncomingTransferSerializer,
    NewOrderSerializer,
    NewTransfersSerializer,
    OrderChangesSerializer,
    OutgoingTransferSerializer,
    PeerDetailSerializer,
    PeerSerializer,
    QueuedTransfersSerializer,
    StandingOrderSerializer,
    TransferSerializer,
)
from network.filters import (
    IncomingFilterSet,
    OutgoingFilterSet,
    PeerFilterSet,
    RemoteInstanceFilterSet,
    StandingOrderFilterSet,
)
from network.merging import BothDirections
from network.models import IncomingTransfer, OutgoingTransfer, Peer, StandingOrder
from network.queries import incoming_for_list, outgoing_for_list, peer_views
from network.services.sending.orders import add_order, edit_order, remove_order
from network.services.sending.wanted import cancel_transfer, retry_transfer, send_files

ADMIN = [level_required(Level.ADMIN)]


class _ReadByAllWrittenByAdmins:
    """Levels of resources that everybody reads."""

    def get_permissions(self) -> list[BasePermission]:
        if self.request is None or self.request.method in ("GET", "HEAD"):
            return [ReadOnlyLevel()]
        return [level_required(Level.ADMIN)()]


# --- Peers ------------------------------------------------------------------------------------------------------------


@extend_schema_view(get=extend_schema(operation_id="peers_list", summary="List peers", tags=["network"]))
class PeerList(generics.ListAPIView):
    """Sites that this one knows."""

    queryset = Peer.objects.none()
    serializer_class = PeerSerializer
    filterset_class = PeerFilterSet
    ordering_fields = ["name", "last_seen_at", "created_at", "id"]
    ordering = ["name"]

    def get_queryset(self) -> QuerySet[Peer]:
        return Peer.objects.with_last_heard()


class PeerDetail(APIView):
    """One peer."""

    @extend_schema(
        operation_id="peers_retrieve",
        summary="One peer with its traffic and lag",
        tags=["network"],
        responses=PeerDetailSerializer,
    )
    def get(self, request: Request, name: str) -> Response:
        """The peer of this name, with the transfers under way and how far it is behind the standing orders."""
        refuse_unknown_parameters(request.query_params, ["format"])
        views = peer_views(Peer.objects.filter(name=name))
        if not views:
            raise NotFound(f"There is no peer {name[:64]}.", remedy="List the peers first.")
        peer = views[0].peer
        peer.view = views[0]
        return Response(PeerDetailSerializer(peer, context={"request": request}).data)


# --- Transfers --------------------------------------------------------------------------------------------------------


class TransferList(generics.ListAPIView):
    """Transfers of both directions, by what they have in common."""

    queryset = IncomingTransfer.objects.none()
    serializer_class = TransferSerializer
    filterset_class = IncomingFilterSet  # of which the other direction has every filter too
    pagination_class = BothDirections

    @extend_schema(operation_id="transfers_list", summary="Transfers of both directions", tags=["network"])
    def get(self, request: Request) -> Response:
        """Transfers to and from other sites, the newest first. `previous` is always null."""
        incoming = self.filter_queryset(incoming_for_list())
        outgoing = OutgoingFilterSet(request.query_params, queryset=outgoing_for_list()).qs
        rows = self.paginator.paginate_both(outgoing, incoming, request)
        return self.get_paginated_response(self.get_serializer(rows, many=True).data)


@extend_schema_view(
    get=extend_schema(operation_id="outgoing_transfers_list", summary="Transfers to peers", tags=["network"])
)
class OutgoingList(_ReadByAllWrittenByAdmins, generics.ListAPIView):
    """Transfers to peers, one for each attempt, the newest first."""

    queryset = OutgoingTransfer.objects.none()
    serializer_class = OutgoingTransferSerializer
    filterset_class = OutgoingFilterSet
    ordering_fields = ["created_at", "changed_at", "finished_at", "size_bytes", "id"]
    ordering = ["-id"]

    def get_queryset(self) -> QuerySet[OutgoingTransfer]:
        return outgoing_for_list()

    @extend_schema(
        operation_id="outgoing_transfers_create",
        summary="Send files to a peer",
        tags=["network"],
        request=NewTransfersSerializer,
        responses={202: QueuedTransfersSerializer},
    )
    def post(self, request: Request) -> Response:
        """Send files to a peer whatever the standing orders say. Needs ADMIN."""
        fields = _read(NewTransfersSerializer(data=request.data))
        peer = Peer.objects.filter(name=fields["peer"]).first()
        if peer is None:
            raise NotFound(f"There is no peer {fields['peer']}.", remedy="List the peers first.")
        count = send_files(fields["files"], peer=peer, actor=request.user, address=client_address(request) or "")
        return Response(QueuedTransfersSerializer({"peer": peer.name, "count": count}).data, status=202)


@extend_schema_view(
    get=extend_schema(operation_id="incoming_transfers_list", summary="Transfers from other sites", tags=["network"])
)
class IncomingList(generics.ListAPIView):
    """Transfers from other sites, the newest first."""

    queryset = IncomingTransfer.objects.none()
    serializer_class = IncomingTransferSerializer
    filterset_class = IncomingFilterSet
    ordering_fields = ["created_at", "changed_at", "finished_at", "size_bytes", "id"]
    ordering = ["-id"]

    def get_queryset(self) -> QuerySet[IncomingTransfer]:
        return incoming_for_list()


class OutgoingDetail(APIView):
    """One transfer to a peer."""

    @extend_schema(
        operation_id="outgoing_transfers_retrieve",
        summary="One transfer to a peer",
        tags=["network"],
        responses=OutgoingTransferSerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        """The outgoing transfer of this id."""
        refuse_unknown_parameters(request.query_params, ["format"])
        return Response(OutgoingTransferSerializer(_outgoing(pk)).data)


class IncomingDetail(APIView):
    """One transfer from another site."""

    @extend_schema(
        operation_id="incoming_transfers_retrieve",
        summary="One transfer from another site",
        tags=["network"],
        responses=IncomingTransferSerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        """The incoming transfer of this id."""
        refuse_unknown_parameters(request.query_params, ["format"])
        return Response(IncomingTransferSerializer(_incoming(pk)).data)


class OutgoingRetry(APIView):
    """Trying a transfer to a peer again."""

    permission_classes = ADMIN

    @extend_schema(
        operation_id="outgoing_transfers_retry",
        summary="Try a transfer again",
        tags=["network"],
        request=None,
        responses={201: OutgoingTransferSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Make a new attempt, now, for a transfer that failed or was cancelled; the answer is the new one. Needs ADMIN.

        Takes no fields.
        """
        _refuse_fields(request.data)
        new = retry_transfer(_outgoing(pk), actor=request.user, address=client_address(request) or "")
        return Response(OutgoingTransferSerializer(_outgoing(new.pk)).data, status=201)


class OutgoingCancel(APIView):
    """Giving a transfer to a peer up."""

    permission_classes = ADMIN

    @extend_schema(
        operation_id="outgoing_transfers_cancel",
        summary="Cancel a transfer to a peer",
        tags=["network"],
        request=None,
        responses=OutgoingTransferSerializer,
    )
    def post(self, request: Request, pk: int) -> Response:
        """Give a transfer up; its file is not sent there before a person wants it. Needs ADMIN. Takes no fields."""
        _refuse_fields(request.data)
        cancel_transfer(_outgoing(pk), actor=request.user, address=client_address(request) or "")
        return Response(OutgoingTransferSerializer(_outgoing(pk)).data)


class IncomingCancel(APIView):
    """Refusing a transfer from another site."""

    permission_classes = ADMIN

    @extend_schema(
        operation_id="incoming_transfers_cancel",
        summary="Cancel a transfer from another site",
        tags=["network"],
        request=None,
        responses=IncomingTransferSerializer,
    )
    def post(self, request: Request, pk: int) -> Response:
        """Give a transfer up; its sender is told that it failed. Needs ADMIN. Takes no fields."""
        _refuse_fields(request.data)
        cancel_transfer(_incoming(pk), actor=request.user, address=client_address(request) or "")
        return Response(IncomingTransferSerializer(_incoming(pk)).data)


# --- Copies at peers --------------------------------------------------------------------------------------------------


@extend_schema_view(
    get=extend_schema(operation_id="remote_instances_list", summary="Search copies at peers", tags=["network"])
)
class RemoteInstanceList(generics.ListAPIView):
    """Copies that directly connected peers have confirmed, newest first."""

    queryset = RemoteInstance.objects.none()
    serializer_class = CopyAtPeerSerializer
    filterset_class = RemoteInstanceFilterSet
    ordering_fields = ["copied_at", "confirmed_at", "file__name", "id"]
    ordering = ["-id"]

    def get_queryset(self) -> QuerySet[RemoteInstance]:
        return RemoteInstance.objects.select_related("file")


# --- Standing orders --------------------------------------------------------------------------------------------------


@extend_schema_view(
    get=extend_schema(operation_id="standing_orders_list", summary="List standing orders", tags=["network"])
)
class OrderList(_ReadByAllWrittenByAdmins, generics.ListAPIView):
    """What is to be sent where."""

    queryset = StandingOrder.objects.none()
    serializer_class = StandingOrderSerializer
    filterset_class = StandingOrderFilterSet
    ordering_fields = ["name", "priority", "created_at", "last_run_at", "id"]
    ordering = ["name"]

    def get_queryset(self) -> QuerySet[StandingOrder]:
        return StandingOrder.objects.select_related("store")

    @extend_schema(
        operation_id="standing_orders_create",
        summary="Give a standing order",
        tags=["network"],
        request=NewOrderSerializer,
        responses={201: StandingOrderSerializer},
    )
    def post(self, request: Request) -> Response:
        """Send what matches a search to a peer from now on. Needs ADMIN."""
        fields = _read(NewOrderSerializer(data=request.data))
        order = add_order(actor=request.user, address=client_address(request) or "", **fields)
        return Response(StandingOrderSerializer(order).data, status=201)


class OrderDetail(_ReadByAllWrittenByAdmins, APIView):
    """One standing order."""

    @extend_schema(
        operation_id="standing_orders_retrieve",
        summary="One standing order",
        tags=["network"],
        responses=StandingOrderSerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        """The order of this id."""
        refuse_unknown_parameters(request.query_params, ["format"])
        return Response(StandingOrderSerializer(_order(pk)).data)

    @extend_schema(
        operation_id="standing_orders_update",
        summary="Change a standing order",
        tags=["network"],
        request=OrderChangesSerializer,
        responses=StandingOrderSerializer,
    )
    def patch(self, request: Request, pk: int) -> Response:
        """Change what is sent, where, how urgently, or whether at all. Needs ADMIN."""
        order = _order(pk)
        changes = _read(OrderChangesSerializer(data=request.data))
        edit_order(order=order, actor=request.user, address=client_address(request) or "", **changes)
        return Response(StandingOrderSerializer(order).data)

    @extend_schema(
        operation_id="standing_orders_delete",
        summary="Remove a standing order",
        tags=["network"],
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        """Forget an order; what it has chosen is sent all the same. Needs ADMIN."""
        remove_order(order=_order(pk), actor=request.user, address=client_address(request) or "")
        return Response(status=204)


# --- Reading requests -------------------------------------------------------------------------------------------------


def _read(serializer: BaseSerializer) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _refuse_fields(body: Any) -> None:
    if not isinstance(body, Mapping) or body:
        raise InvalidRequest("This takes no fields.", remedy="Send no body, or an empty JSON object.")


def _outgoing(pk: int) -> OutgoingTransfer:
    return _found(outgoing_for_list(), pk, "outgoing transfer")


def _incoming(pk: int) -> IncomingTransfer:
    return _found(incoming_for_list(), pk, "incoming transfer")


def _order(pk: int) -> StandingOrder:
    return _found(StandingOrder.objects.select_related("store"), pk, "standing order")


def _found(rows: QuerySet, pk: int, what: str) -> Model:
    row = rows.filter(pk=pk).first()
    if row is None:
        raise NotFound(f"There is no {what} with id {pk}.", remedy="List them to learn their ids.")
    return row
