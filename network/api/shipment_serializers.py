"""What version 3 says of disks that travel. Times are ISO 8601 in UTC."""

from typing import Any

from rest_framework import serializers

from librarian.common.resources import StrictSerializer
from network.disk_queries import ShipmentRow, shipment_rows
from network.models import CustodyStep, Shipment, ShipmentState


class CustodyStepSerializer(serializers.Serializer):
    """One line of a disk's custody."""

    step = serializers.ChoiceField(CustodyStep.Step.choices, help_text="What happened.")
    at = serializers.DateTimeField(help_text="When.")
    by = serializers.CharField(help_text="Account that entered it; empty: the Librarian itself.")
    person = serializers.CharField(help_text="Who had the disk then; may be empty.")
    note = serializers.CharField(help_text="What is to be remembered; may be empty.")


class ShipmentSerializer(serializers.Serializer):
    """One trip of a store that travels."""

    id = serializers.IntegerField(source="shipment.pk", help_text="Id of the trip.")
    store = serializers.CharField(source="shipment.store.name", help_text="Name of the store.")
    peer = serializers.CharField(source="shipment.peer_name", help_text="Site that it goes to; empty: not said.")
    state = serializers.ChoiceField(ShipmentState.choices, source="shipment.state", help_text="Where it stands.")
    seal = serializers.CharField(source="shipment.seal", help_text="SHA-256 of the manifest, hex.")
    file_count = serializers.IntegerField(source="shipment.file_count", help_text="Files on it.")
    size_bytes = serializers.IntegerField(source="shipment.size_bytes", help_text="Size of those, bytes.")
    confirmed_count = serializers.IntegerField(source="confirmed", help_text="Files that the other site has confirmed.")
    awaited_count = serializers.IntegerField(
        source="awaited", help_text="Files with a transfer that the other site has not confirmed."
    )
    copies_are_handed_over = serializers.BooleanField(
        source="shipment.copies_are_handed_over", help_text="Its copies left this site with it."
    )
    standing = serializers.CharField(source="standing.sentence", help_text="What it waits for, in a sentence.")
    created_by = serializers.CharField(source="shipment.created_by", help_text="Who packed it.")
    created_at = serializers.DateTimeField(source="shipment.created_at", help_text="When it was packed.")
    changed_at = serializers.DateTimeField(source="shipment.changed_at", help_text="In this state since.")
    finished_at = serializers.DateTimeField(
        source="shipment.finished_at", allow_null=True, help_text="When its trip ended; null while it goes on."
    )

    def to_representation(self, instance: Shipment) -> dict[str, Any]:
        row: ShipmentRow = shipment_rows([instance])[0]
        return super().to_representation(row)


class ShipmentDetailSerializer(ShipmentSerializer):
    """One trip with its custody."""

    custody = CustodyStepSerializer(
        source="shipment.steps.all", many=True, help_text="Who had it when, the oldest first."
    )


class NewShipmentSerializer(StrictSerializer):
    """A disk that is to be packed."""

    store = serializers.CharField(max_length=64, help_text="Name of the store.")
    peer = serializers.CharField(
        source="peer_name", default="", allow_blank=True, max_length=64, help_text="Name of the peer that it goes to."
    )
    begin_transfers = serializers.BooleanField(
        default=False, help_text="Begin a transfer of each file, which the peer confirms."
    )
    hand_over = serializers.BooleanField(
        default=False, help_text="Its copies leave this site: they count as handed over."
    )
    disable_store = serializers.BooleanField(default=False, help_text="Switch the store off.")


class StepSerializer(StrictSerializer):
    """What is entered about a disk."""

    person = serializers.CharField(
        default="", allow_blank=True, max_length=128, help_text="Who had the disk then; may be empty."
    )
    note = serializers.CharField(
        default="", allow_blank=True, max_length=2000, help_text="What is to be remembered; may be empty."
    )


class LossSerializer(StrictSerializer):
    """What becomes of the files of a lost disk."""

    note = serializers.CharField(
        default="", allow_blank=True, max_length=2000, help_text="What is to be remembered; may be empty."
    )
    over_network = serializers.BooleanField(
        default=False,
        help_text="Send all of its files over the network; else what a standing order carries waits for its next disk.",
    )


class LostShipmentSerializer(serializers.Serializer):
    """A disk that was lost, and its files."""

    shipment = ShipmentSerializer(help_text="The trip.")
    count = serializers.IntegerField(help_text="Files that are wanted again.")


class ContentSerializer(serializers.Serializer):
    """One line of a manifest."""

    name = serializers.CharField(help_text="Name of the file.")
    size_bytes = serializers.IntegerField(source="size", help_text="Size of the file, bytes.")
    checksum = serializers.CharField(help_text="Declared, <algorithm>:::<hex>.")
    digest = serializers.CharField(default="", help_text="SHA-256, or tree digest of a directory product, hex.")
    outgoing_transfer_id = serializers.IntegerField(help_text="Transfer that the manifest began; -1: none.")
