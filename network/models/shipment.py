"""Disks that travel: one row per trip of a store, and who had it when."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from stores.models import Store


class ShipmentState(models.TextChoices):
    """packed -> handed over -> received -> verified (every file is confirmed by the other site)
    packed | handed over | received -> lost; lost -> received (it turned up after all)

    A step may be left out: nobody need say that a disk was handed over for its files to arrive.
    """

    PACKED = "packed"
    HANDED_OVER = "handed_over", "handed over"
    RECEIVED = "received"
    VERIFIED = "verified"
    LOST = "lost", "lost in the post"


SHIPMENT_LIVE = (ShipmentState.PACKED, ShipmentState.HANDED_OVER, ShipmentState.RECEIVED)


class ShipmentQuerySet(models.QuerySet["Shipment"]):
    def live(self) -> "ShipmentQuerySet":
        """Trips that are not over."""
        return self.filter(state__in=SHIPMENT_LIVE)


class Shipment(models.Model):
    """One trip of a travelling store: its manifest as it was sealed, and how far it got.

    Written by network.services.shipping. The manifest itself lies in LIBRARIAN_HOME/manifests/<id>.json and on the
    disk; `seal` is its SHA-256. The outgoing transfers that the manifest began refer to it.
    """

    MOVES = {
        ShipmentState.PACKED: {
            ShipmentState.HANDED_OVER,
            ShipmentState.RECEIVED,
            ShipmentState.VERIFIED,
            ShipmentState.LOST,
        },
        ShipmentState.HANDED_OVER: {ShipmentState.RECEIVED, ShipmentState.VERIFIED, ShipmentState.LOST},
        ShipmentState.RECEIVED: {ShipmentState.VERIFIED, ShipmentState.LOST},
        ShipmentState.LOST: {ShipmentState.RECEIVED, ShipmentState.VERIFIED},
        ShipmentState.VERIFIED: set(),
    }

    id = models.AutoField(primary_key=True)
    store = models.ForeignKey(Store, on_delete=models.PROTECT, related_name="shipments")
    peer_name = models.CharField(max_length=64, blank=True, help_text="the site it goes to; empty: not said")
    state = models.CharField(max_length=16, choices=ShipmentState, default=ShipmentState.PACKED)
    seal = models.CharField(max_length=64, help_text="SHA-256 of the manifest")
    file_count = models.PositiveIntegerField(default=0)
    size_bytes = models.BigIntegerField(default=0)
    copies_are_handed_over = models.BooleanField(
        default=False, help_text="the copies left with the disk (`mark_local_instances_as_unavailable` on the wire)"
    )
    created_by = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ShipmentQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=ShipmentState.values), name="shipment_state_is_known"),
            models.CheckConstraint(condition=Q(seal__regex=r"^[0-9a-f]{64}$"), name="shipment_is_sealed"),
            models.CheckConstraint(
                condition=Q(state__in=SHIPMENT_LIVE, finished_at__isnull=True)
                | (~Q(state__in=SHIPMENT_LIVE) & Q(finished_at__isnull=False)),
                name="ended_shipment_has_end_time",
            ),
            models.CheckConstraint(condition=Q(size_bytes__gte=0), name="shipment_size_is_not_negative"),
        ]
        indexes = [models.Index(fields=["store", "state"], name="shipment_by_store")]

    def __str__(self) -> str:
        return f"shipment {self.pk} of {self.store_id}"


class CustodyStep(models.Model):
    """One line of a disk's custody: what happened, when, who says so. Only ever appended."""

    class Step(models.TextChoices):
        PACKED = "packed"
        HANDED_OVER = "handed_over", "handed over"
        RECEIVED = "received"
        VERIFIED = "verified"
        LOST = "lost", "lost in the post"
        NOTE = "note"

    shipment = models.ForeignKey(Shipment, on_delete=models.PROTECT, related_name="steps")
    step = models.CharField(max_length=16, choices=Step)
    at = models.DateTimeField(default=timezone.now)
    by = models.CharField(max_length=64, blank=True, help_text="account that entered it; empty: the Librarian itself")
    person = models.CharField(max_length=128, blank=True, help_text="who had the disk then")
    note = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(step__in=["packed", "handed_over", "received", "verified", "lost", "note"]),
                name="custody_step_is_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.step} {self.at:%Y-%m-%d}"
