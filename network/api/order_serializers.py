"""What version 3 says of standing orders, and takes. Times are ISO 8601 in UTC."""

from typing import Any

from rest_framework import serializers

from files.search import EVERY_FILE
from librarian.common.resources import StrictSerializer
from network.models import OrderWay, StandingOrder
from network.services.sending.orders import LARGEST_PRIORITY, LONGEST_NAME
from stores.models import Store
from stores.queries import named, store_names


class StandingOrderSerializer(serializers.ModelSerializer):
    """What is to be sent where, for as long as it stands."""

    id = serializers.IntegerField(help_text="Id of the order.")
    name = serializers.CharField(help_text="For people; unique.")
    search = serializers.CharField(help_text="Files to send, in the JSON search language.")
    way = serializers.ChoiceField(
        OrderWay.choices, help_text="push: to a peer over the network; copy: to our stores; carry: to a peer on disks."
    )
    peer = serializers.CharField(source="peer_name", help_text="Name of the peer; empty for an order to our stores.")
    targets = serializers.SerializerMethodField(
        help_text="Names of the stores that it copies to, in the order in which they are filled."
    )
    switch_off_full_stores = serializers.BooleanField(
        help_text="Whether a store that has no room for the next file is switched off."
    )
    enabled = serializers.BooleanField(help_text="Switched on by a person.")
    priority = serializers.IntegerField(help_text="Files of a higher number are sent first.")
    created_by = serializers.CharField(help_text="Who gave it; empty for a command.")
    created_at = serializers.DateTimeField(help_text="When it was given.")
    last_run_at = serializers.DateTimeField(allow_null=True, help_text="When files were last chosen; null: not yet.")
    problem = serializers.CharField(help_text="Why its latest run chose nothing; may be empty.")

    class Meta:
        model = StandingOrder
        fields = [
            "id",
            "name",
            "search",
            "way",
            "peer",
            "targets",
            "switch_off_full_stores",
            "enabled",
            "priority",
            "created_by",
            "created_at",
            "last_run_at",
            "problem",
        ]
        read_only_fields = fields

    def get_targets(self, order: StandingOrder) -> list[str]:
        if order.targets and "store_names" not in self.context:  # read once for a whole list
            self.context["store_names"] = store_names()
        return named(order.targets, self.context.get("store_names", {}))


class TargetsByName(serializers.ListField):
    """Ids of stores, sent as their names."""

    child = serializers.CharField(max_length=64)

    def to_internal_value(self, data: Any) -> list[int]:
        names = super().to_internal_value(data)
        keys = dict(Store.objects.filter(name__in=names).values_list("name", "pk"))
        if missing := [name for name in names if name not in keys]:
            raise serializers.ValidationError(f"There is no store {missing[0]}.")
        return [keys[name] for name in names]


class OrderChangesSerializer(StrictSerializer):
    """Changes of a standing order; what is left out stays."""

    name = serializers.CharField(required=False, max_length=LONGEST_NAME, help_text="For people; unique.")
    search = serializers.CharField(
        required=False,
        trim_whitespace=False,
        help_text='Files to send, in the JSON search language, as text: "{\\"name-matches\\": \\"zen.%\\"}".',
    )
    way = serializers.ChoiceField(
        OrderWay.choices,
        required=False,
        help_text="push: to a peer over the network; copy: to our stores; carry: to a peer on disks that travel.",
    )
    peer = serializers.CharField(
        required=False,
        source="peer_name",
        max_length=64,
        allow_blank=True,
        help_text="Name of a peer of this site; empty for an order to our stores.",
    )
    targets = TargetsByName(
        required=False,
        max_length=100,
        help_text="Names of the stores that it copies to, in the order in which they are filled.",
    )
    switch_off_full_stores = serializers.BooleanField(
        required=False, help_text="Whether a store that has no room for the next file is switched off."
    )
    enabled = serializers.BooleanField(required=False, help_text="Whether it is carried out.")
    priority = serializers.IntegerField(
        required=False,
        min_value=-LARGEST_PRIORITY,
        max_value=LARGEST_PRIORITY,
        help_text="Files of a higher number are sent first.",
    )


class NewOrderSerializer(OrderChangesSerializer):
    """A new standing order."""

    name = serializers.CharField(max_length=LONGEST_NAME, help_text="For people; unique.")
    search = serializers.CharField(
        default=EVERY_FILE,
        trim_whitespace=False,
        help_text="Files to send, in the JSON search language, as text; every file if left out.",
    )
    way = serializers.ChoiceField(
        OrderWay.choices,
        default=OrderWay.PUSH,
        help_text="push: to a peer over the network; copy: to our stores; carry: to a peer on disks that travel.",
    )
    peer = serializers.CharField(
        source="peer_name",
        default="",
        max_length=64,
        allow_blank=True,
        help_text="Name of a peer of this site; not for an order to our stores.",
    )
    enabled = serializers.BooleanField(default=True, help_text="Whether it is carried out.")
    priority = serializers.IntegerField(
        default=0,
        min_value=-LARGEST_PRIORITY,
        max_value=LARGEST_PRIORITY,
        help_text="Files of a higher number are sent first.",
    )
