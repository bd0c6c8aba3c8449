"""`/api/v3/shipments/`: disks that travel. Everybody who may read sees them; what changes something is for ADMIN."""

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view, inline_serializer
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.acts import address_of
from accounts.levels import Level
from accounts.permissions import ReadByAllWrittenByAdmins, level_required
from librarian.common.errors import InvalidRequest, NotFound
from librarian.common.filters import refuse_unknown_parameters
from librarian.common.paging import DEFAULT_LIMIT, MAX_LIMIT
from librarian.common.resources import read_fields, row_with_id
from network.api.shipment_serializers import (
    ContentSerializer,
    LossSerializer,
    LostShipmentSerializer,
    NewShipmentSerializer,
    ShipmentDetailSerializer,
    ShipmentSerializer,
    StepSerializer,
)
from network.disk_filters import ShipmentFilterSet
from network.disk_queries import shipments_for_list
from network.models import Shipment
from network.services.shipping import add_note, contents_of, hand_over, note_lost, note_received, pack
from stores.models import Store


@extend_schema_view(get=extend_schema(operation_id="shipments_list", summary="Disks that travel", tags=["network"]))
class ShipmentList(ReadByAllWrittenByAdmins, generics.ListAPIView):
    """Trips of stores that travel, the newest first."""

    queryset = Shipment.objects.none()
    serializer_class = ShipmentSerializer
    filterset_class = ShipmentFilterSet
    ordering_fields = ["created_at", "changed_at", "finished_at", "size_bytes", "id"]
    ordering = ["-id"]

    def get_queryset(self) -> QuerySet[Shipment]:
        return shipments_for_list()

    @extend_schema(
        operation_id="shipments_create",
        summary="Pack a disk",
        tags=["network"],
        request=NewShipmentSerializer,
        responses={201: ShipmentDetailSerializer},
    )
    def post(self, request: Request) -> Response:
        """Write and seal the manifest of a store: its trip begins. Needs ADMIN."""
        fields = read_fields(NewShipmentSerializer(data=request.data))
        store = Store.objects.filter(name=fields.pop("store")).first()
        if store is None:
            raise NotFound("There is no store of this name.", remedy="List the stores first.")
        packed = pack(store=store, actor=request.user, address=address_of(request), **fields)
        return Response(ShipmentDetailSerializer(_shipment(packed.pk)).data, status=201)


class ShipmentDetail(APIView):
    """One trip."""

    @extend_schema(
        operation_id="shipments_retrieve",
        summary="One trip with its custody",
        tags=["network"],
        responses=ShipmentDetailSerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        """The trip of this id."""
        refuse_unknown_parameters(request.query_params, ["format"])
        return Response(ShipmentDetailSerializer(_shipment(pk)).data)


_PAGE = inline_serializer(
    "ShipmentContents",
    {
        "next": serializers.CharField(allow_null=True, help_text="Address of the next page, null on the last one."),
        "previous": serializers.CharField(allow_null=True, help_text="Of the page before, null on the first one."),
        "results": ContentSerializer(many=True, help_text="Lines of the manifest, in its order."),
    },
)


class ShipmentContents(APIView):
    """What a disk holds."""

    @extend_schema(
        operation_id="shipments_contents",
        summary="Files on a disk",
        tags=["network"],
        parameters=[
            OpenApiParameter("start", OpenApiTypes.INT, description="Lines to leave out, from 0."),
            OpenApiParameter("limit", OpenApiTypes.INT, description=f"Lines on a page, 1 to {MAX_LIMIT}."),
        ],
        responses=_PAGE,
    )
    def get(self, request: Request, pk: int) -> Response:
        """Lines of the manifest of a trip, in its order."""
        refuse_unknown_parameters(request.query_params, ["format", "start", "limit"])
        found = _shipment(pk)
        start, limit = _number(request, "start", 0), min(_number(request, "limit", DEFAULT_LIMIT), MAX_LIMIT) or 1
        rows = contents_of(found, start, limit)
        after = start + limit if start + len(rows) < found.file_count and rows else None
        before = max(0, start - limit) if start else None
        links = {"next": _link(request, after, limit), "previous": _link(request, before, limit)}
        return Response({**links, "results": ContentSerializer(rows, many=True).data})


class _Step(APIView):
    """A line of custody."""

    permission_classes = [level_required(Level.ADMIN)]
    service: Callable[..., object]

    def post(self, request: Request, pk: int) -> Response:
        fields = read_fields(StepSerializer(data=request.data))
        type(self).service(_shipment(pk), actor=request.user, address=address_of(request), **fields)
        return Response(ShipmentDetailSerializer(_shipment(pk)).data)


def _described(act: str, summary: str, words: str) -> dict[str, Any]:
    return {
        "operation_id": f"shipments_{act}",
        "summary": summary,
        "description": f"{words} Needs ADMIN.",
        "tags": ["network"],
        "request": StepSerializer,
        "responses": ShipmentDetailSerializer,
    }


@extend_schema_view(post=extend_schema(**_described("hand_over", "Hand a disk over", "Say that the disk left.")))
class ShipmentHandOver(_Step):
    """The disk leaves."""

    service = staticmethod(hand_over)


@extend_schema_view(post=extend_schema(**_described("received", "Receive a disk", "Say that the disk has arrived.")))
class ShipmentReceived(_Step):
    """The disk has arrived."""

    service = staticmethod(note_received)


@extend_schema_view(post=extend_schema(**_described("note", "Note on a disk", "Add a line to its custody.")))
class ShipmentNote(_Step):
    """A line without a change of state."""

    service = staticmethod(add_note)


class ShipmentLost(APIView):
    """The disk is lost."""

    permission_classes = [level_required(Level.ADMIN)]

    @extend_schema(
        operation_id="shipments_lost",
        summary="Lose a disk",
        tags=["network"],
        request=LossSerializer,
        responses=LostShipmentSerializer,
    )
    def post(self, request: Request, pk: int) -> Response:
        """Say that a disk is lost: files that were not confirmed are wanted again. Needs ADMIN."""
        fields = read_fields(LossSerializer(data=request.data))
        count = note_lost(_shipment(pk), actor=request.user, address=address_of(request), **fields)
        return Response(LostShipmentSerializer({"shipment": _shipment(pk), "count": count}).data)


# --- Reading requests -------------------------------------------------------------------------------------------------


def _shipment(pk: int) -> Shipment:
    return row_with_id(shipments_for_list(), pk, "shipment")


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidRequest(f"{name}: this is no whole number.", remedy=f"{name} is a number from 0.")
    return int(text)


def _link(request: Request, start: int | None, limit: int) -> str | None:
    return None if start is None else request.build_absolute_uri(f"{request.path}?start={start}&limit={limit}")
