"""`/api/v3/peers/`, `transfers/`, `remote-instances/`: whom we trade with, what is on its way.

Everybody who may read sees them; addresses of peers are for ADMIN, as is whatever changes something. Peers are added,
switched and removed over the wire, in the admin and by `manage.py`.
"""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.acts import address_of
from accounts.levels import Level
from accounts.permissions import ReadByAllWrittenByAdmins, level_required
from files.models import RemoteInstance
from librarian.common.errors import NotFound
from librarian.common.filters import refuse_unknown_parameters
from librarian.common.resources import read_fields, refuse_fields, row_with_id
from network.api.serializers import (
    CopyAtPeerSerializer,
    IncomingTransferSerializer,
    NewTransfersSerializer,
    OutgoingTransferSerializer,
    PeerDetailSerializer,
    PeerSerializer,
    QueuedTransfersSerializer,
    TransferSerializer,
)
from network.filters import (
    IncomingFilterSet,
    OutgoingFilterSet,
    PeerFilterSet,
    RemoteInstanceFilterSet,
)
from network.merging import BothDirections
from network.models import IncomingTransfer, OutgoingTransfer, Peer
from network.queries import incoming_for_list, outgoing_for_list, peer_views
from network.services.sending.wanted import cancel_transfer, retry_transfer, send_files

ADMIN = [level_required(Level.ADMIN)]


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
class OutgoingList(ReadByAllWrittenByAdmins, generics.ListAPIView):
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
        fields = read_fields(NewTransfersSerializer(data=request.data))
        peer = Peer.objects.filter(name=fields["peer"]).first()
        if peer is None:
            raise NotFound(f"There is no peer {fields['peer']}.", remedy="List the peers first.")
        count = send_files(fields["files"], peer=peer, actor=request.user, address=address_of(request))
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
        refuse_fields(request.data)
        new = retry_transfer(_outgoing(pk), actor=request.user, address=address_of(request))
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
        refuse_fields(request.data)
        cancel_transfer(_outgoing(pk), actor=request.user, address=address_of(request))
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
        refuse_fields(request.data)
        cancel_transfer(_incoming(pk), actor=request.user, address=address_of(request))
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


# --- Reading requests -------------------------------------------------------------------------------------------------


def _outgoing(pk: int) -> OutgoingTransfer:
    return row_with_id(outgoing_for_list(), pk, "outgoing transfer")


def _incoming(pk: int) -> IncomingTransfer:
    return row_with_id(incoming_for_list(), pk, "incoming transfer")
