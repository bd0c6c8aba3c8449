"""`/api/v3/standing-orders/`: what is sent where for as long as it stands. Read by everybody, written by ADMIN."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.acts import address_of
from accounts.permissions import ReadByAllWrittenByAdmins
from librarian.common.filters import refuse_unknown_parameters
from librarian.common.resources import read_fields, row_with_id
from network.api.order_serializers import NewOrderSerializer, OrderChangesSerializer, StandingOrderSerializer
from network.filters import StandingOrderFilterSet
from network.models import StandingOrder
from network.services.sending.orders import add_order, edit_order, remove_order


@extend_schema_view(
    get=extend_schema(operation_id="standing_orders_list", summary="List standing orders", tags=["network"])
)
class OrderList(ReadByAllWrittenByAdmins, generics.ListAPIView):
    """What is to be sent where."""

    queryset = StandingOrder.objects.none()
    serializer_class = StandingOrderSerializer
    filterset_class = StandingOrderFilterSet
    ordering_fields = ["name", "priority", "created_at", "last_run_at", "id"]
    ordering = ["name"]

    def get_queryset(self) -> QuerySet[StandingOrder]:
        return StandingOrder.objects.all()

    @extend_schema(
        operation_id="standing_orders_create",
        summary="Give a standing order",
        tags=["network"],
        request=NewOrderSerializer,
        responses={201: StandingOrderSerializer},
    )
    def post(self, request: Request) -> Response:
        """Send what matches a search to a peer, or copy it to stores, from now on. Needs ADMIN."""
        fields = read_fields(NewOrderSerializer(data=request.data))
        order = add_order(actor=request.user, address=address_of(request), **fields)
        return Response(StandingOrderSerializer(order).data, status=201)


class OrderDetail(ReadByAllWrittenByAdmins, APIView):
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
        changes = read_fields(OrderChangesSerializer(data=request.data))
        edit_order(order=order, actor=request.user, address=address_of(request), **changes)
        return Response(StandingOrderSerializer(order).data)

    @extend_schema(
        operation_id="standing_orders_delete",
        summary="Remove a standing order",
        tags=["network"],
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        """Forget an order; what it has chosen is sent all the same. Needs ADMIN."""
        remove_order(order=_order(pk), actor=request.user, address=address_of(request))
        return Response(status=204)


def _order(pk: int) -> StandingOrder:
    return row_with_id(StandingOrder.objects.all(), pk, "standing order")
