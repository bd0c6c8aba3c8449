"""Reads of disks that travel, shaped for pages and endpoints."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from librarian.common.badges import Badge, Standing
from network.disk_labels import OVERDUE_AFTER, STEPS, shipment_badge, shipment_standing
from network.models import LIVE, CustodyStep, OutgoingTransfer, Shipment, ShipmentState, TransferState
from network.services.shipping.manifest import UNSEALED
from stores.models import Store
from stores.queries import Fullness, fullness


@dataclass(frozen=True)
class ShipmentRow:
    """A trip with the number of its files that the other site has confirmed, and that it has not."""

    shipment: Shipment
    confirmed: int = 0
    awaited: int = 0

    @property
    def badge(self) -> Badge:
        return shipment_badge(self.shipment)

    @property
    def standing(self) -> Standing:
        return shipment_standing(self.shipment)

    @property
    def has_transfers(self) -> bool:
        return bool(self.confirmed + self.awaited)

    @property
    def confirmed_width(self) -> str:
        total = self.confirmed + self.awaited
        return f"{100 * self.confirmed / total if total else 0:.1f}%"

    @property
    def seal_groups(self) -> list[str]:
        """The seal in groups of four, as one compares it by eye."""
        seal = self.shipment.seal
        return [seal[start : start + 4] for start in range(0, len(seal), 4)]

    def may(self, state: str) -> bool:
        """True if the trip may go on to a state."""
        return state in Shipment.MOVES[self.shipment.state]

    @property
    def is_sealed(self) -> bool:
        """False while its manifest is still being written, or after that was cut."""
        return self.shipment.seal != UNSEALED

    @property
    def may_be_handed_over(self) -> bool:
        return self.may(ShipmentState.HANDED_OVER) and self.is_sealed

    @property
    def may_be_received(self) -> bool:
        """Also where it was before: it passes from hand to hand."""
        return self.may(ShipmentState.RECEIVED) or self.shipment.state in (
            ShipmentState.RECEIVED,
            ShipmentState.VERIFIED,
        )

    @property
    def may_be_lost(self) -> bool:
        return self.may(ShipmentState.LOST)


def shipments_for_list() -> QuerySet[Shipment]:
    """Trips with their stores."""
    return Shipment.objects.select_related("store")


def shipment_rows(shipments: Iterable[Shipment]) -> list[ShipmentRow]:
    """Trips with how many of their files have arrived: one query for all of them."""
    shipments = list(shipments)
    transfers = OutgoingTransfer.objects.filter(shipment__in=[each.pk for each in shipments]).order_by()
    arrived, awaited = Q(state=TransferState.COMPLETED), ~Q(state=TransferState.COMPLETED)
    rows = transfers.values_list("shipment").annotate(
        arrived=Count("pk", filter=arrived), awaited=Count("pk", filter=awaited)
    )
    counts = {key: (number, more) for key, number, more in rows}
    return [ShipmentRow(each, *counts.get(each.pk, (0, 0))) for each in shipments]


def overdue_shipments() -> list[Shipment]:
    """Disks under way of which nothing was heard for long, the oldest first."""
    away = [ShipmentState.HANDED_OVER, ShipmentState.RECEIVED]
    late = shipments_for_list().filter(state__in=away, changed_at__lt=timezone.now() - OVERDUE_AFTER)
    return list(late.order_by("changed_at")[:20])


def files_to_want_again(shipment: Shipment) -> int:
    """How many files a lost disk would make wanted again: those that the other site has not confirmed."""
    return OutgoingTransfer.objects.filter(shipment=shipment, state__in=LIVE).count()


# --- Custody ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CustodyRow:
    """One line of the custody of a disk."""

    step: CustodyStep

    @property
    def badge(self) -> Badge:
        return STEPS[self.step.step]


def custody_of(shipment: Shipment) -> list[CustodyRow]:
    """What was entered about a disk, the oldest first."""
    return [CustodyRow(step) for step in shipment.steps.all()]


def steps_ahead(shipment: Shipment) -> list[str]:
    """Steps that are still to come, which leave room on paper to be signed by hand."""
    order = [
        CustodyStep.Step.PACKED,
        CustodyStep.Step.HANDED_OVER,
        CustodyStep.Step.RECEIVED,
        CustodyStep.Step.VERIFIED,
    ]
    done = set(shipment.steps.values_list("step", flat=True))
    return [STEPS[step].label for step in order if step not in done]


# --- Stores that travel -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Disk:
    """A store that travels: how full it is, and where it is now."""

    full: Fullness
    trips: list[ShipmentRow] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return self.full.store

    @property
    def trip(self) -> ShipmentRow | None:
        """The trip that it is on, None when it is at home."""
        live = (ShipmentState.PACKED, ShipmentState.HANDED_OVER, ShipmentState.RECEIVED)
        return next((row for row in self.trips if row.shipment.state in live), None)


def travelling_disks() -> list[Disk]:
    """Stores that travel, by name, each with the trip that it is on."""
    stores = Store.objects.filter(travelling=True).order_by("name")
    live = shipment_rows(shipments_for_list().live().order_by("-pk"))
    return [Disk(fullness(store), [row for row in live if row.shipment.store_id == store.pk]) for store in stores]


def passport_url(request: HttpRequest, shipment: Shipment) -> str:
    """Absolute address of a disk's passport, by which its label leads there; with the seal, for the page to compare."""
    path = f"{reverse('disk', args=[shipment.pk])}?{urlencode({'seal': shipment.seal})}"
    base = settings.LIBRARIAN_PUBLIC_URL
    return f"{base.rstrip('/')}{path}" if base else request.build_absolute_uri(path)
