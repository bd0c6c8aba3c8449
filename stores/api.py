"""`/api/v3/stores/`: where bytes rest, to be read. Switching a store is the wire's and the admin's business."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.levels import Level
from accounts.permissions import level_of
from librarian.common.errors import NotFound
from librarian.common.filters import refuse_unknown_parameters
from stores.filters import StoreFilterSet
from stores.kinds import where
from stores.models import Store


class StoreSerializer(serializers.ModelSerializer):
    """A place for bytes: what people set of it, and what was measured."""

    id = serializers.IntegerField(help_text="Id of the store, as on the wire.")
    name = serializers.CharField(help_text="Name of the store.")
    kind = serializers.ChoiceField(Store.Kind.choices, help_text="How it holds its bytes.")
    address = serializers.SerializerMethodField(
        help_text="Where its bytes lie: a directory, host:directory, or s3://bucket/prefix. Never a secret."
    )
    hosts = serializers.ListField(
        child=serializers.CharField(), help_text="Hosts that reach it; empty: the one that runs this site."
    )
    ingestable = serializers.BooleanField(help_text="Takes new files.")
    enabled = serializers.BooleanField(help_text="Switched on by a person.")
    available = serializers.BooleanField(help_text="Measured as readable and writable.")
    availability_reason = serializers.CharField(help_text="What does not work; empty when nothing is wrong.")
    travelling = serializers.BooleanField(help_text="A disk that is carried to other sites.")
    fullness_limit = serializers.FloatField(help_text="Share of the capacity that may be used, 0.01 to 1.")
    measured_at = serializers.DateTimeField(allow_null=True, help_text="When it was measured; null: never.")
    measured_by = serializers.CharField(help_text="Host that measured it.")
    capacity_bytes = serializers.IntegerField(allow_null=True, help_text="Capacity, bytes; null if not measured.")
    free_bytes = serializers.IntegerField(allow_null=True, help_text="Free space, bytes; null if not measured.")
    usable_bytes = serializers.IntegerField(
        help_text="What may still be written before the fullness limit, bytes; 0 if not measured."
    )
    ssh_host = serializers.CharField(help_text="Name that other sites use for rsync over SSH; may be empty.")
    globus_endpoint = serializers.CharField(help_text="Id of its Globus collection; may be empty.")
    providers = serializers.ListField(
        child=serializers.CharField(), help_text="Ways of transfer offered to other sites."
    )
    created_at = serializers.DateTimeField(help_text="When the store was added.")
    configuration = serializers.SerializerMethodField(
        help_text="What its kind needs, such as root and staging; null below level ADMIN."
    )

    class Meta:
        model = Store
        fields = [
            "id",
            "name",
            "kind",
            "address",
            "hosts",
            "ingestable",
            "enabled",
            "available",
            "availability_reason",
            "travelling",
            "fullness_limit",
            "measured_at",
            "measured_by",
            "capacity_bytes",
            "free_bytes",
            "usable_bytes",
            "ssh_host",
            "globus_endpoint",
            "providers",
            "created_at",
            "configuration",
        ]
        read_only_fields = fields

    def get_address(self, store: Store) -> str:
        return where(store)

    def get_configuration(self, store: Store) -> dict[str, Any] | None:
        return store.configuration if level_of(self.context["request"]) >= Level.ADMIN else None


@extend_schema_view(get=extend_schema(operation_id="stores_list", summary="List stores", tags=["stores"]))
class StoreList(generics.ListAPIView):
    """Stores of this site."""

    queryset = Store.objects.none()
    serializer_class = StoreSerializer
    filterset_class = StoreFilterSet
    ordering_fields = ["name", "capacity_bytes", "free_bytes", "created_at", "id"]
    ordering = ["id"]

    def get_queryset(self) -> QuerySet[Store]:
        return Store.objects.all()


class StoreDetail(generics.GenericAPIView):
    """One store."""

    queryset = Store.objects.none()
    serializer_class = StoreSerializer
    pagination_class = None
    filter_backends = []

    @extend_schema(operation_id="stores_retrieve", summary="One store", tags=["stores"])
    def get(self, request: Request, name: str) -> Response:
        """The store of this name."""
        refuse_unknown_parameters(request.query_params, ["format"])
        store = Store.objects.filter(name=name).first()
        if store is None:
            raise NotFound(f"There is no store {name[:64]}.", remedy="List the stores first.")
        return Response(self.get_serializer(store).data)
