"""Disks that travel as people see them: a word for each state of a trip, and for each step of its custody."""

from datetime import timedelta

from django.utils import timezone

from librarian.common.badges import ADMINS, Badge, Standing
from network.models import CustodyStep, Shipment, ShipmentState

OVERDUE_AFTER = timedelta(days=14)

SHIPMENTS: dict[str, Badge] = {
    ShipmentState.PACKED: Badge("packed", "note", "Its manifest is sealed; the disk is still here."),
    ShipmentState.HANDED_OVER: Badge("on its way", "note", "Somebody took the disk."),
    ShipmentState.RECEIVED: Badge("received", "note", "The disk has arrived; its files are being confirmed."),
    ShipmentState.VERIFIED: Badge("verified", "good", "The other site has confirmed every file."),
    ShipmentState.LOST: Badge("lost", "bad", "Lost in the post."),
}
OVERDUE = Badge("overdue", "warn", "Nothing was heard of the disk for two weeks.")

STEPS: dict[str, Badge] = {
    CustodyStep.Step.PACKED: Badge("packed", "note"),
    CustodyStep.Step.HANDED_OVER: Badge("handed over", "note"),
    CustodyStep.Step.RECEIVED: Badge("received", "note"),
    CustodyStep.Step.VERIFIED: Badge("verified", "good"),
    CustodyStep.Step.LOST: Badge("lost in the post", "bad"),
    CustodyStep.Step.NOTE: Badge("note", "quiet"),
}


def is_overdue(shipment: Shipment) -> bool:
    """True of a disk that is under way, and of which nothing was heard for long."""
    away = shipment.state in (ShipmentState.HANDED_OVER, ShipmentState.RECEIVED)
    return away and shipment.changed_at < timezone.now() - OVERDUE_AFTER


def shipment_badge(shipment: Shipment) -> Badge:
    """The state of a trip; one of which nothing was heard for long says so."""
    return OVERDUE if is_overdue(shipment) else SHIPMENTS[shipment.state]


def shipment_standing(shipment: Shipment) -> Standing:
    """What a trip waits for."""
    site = shipment.peer_name or "the other site"
    if shipment.state == ShipmentState.PACKED:
        return Standing("It waits to be handed over.", who="whoever hands it over: enter it here then")
    if shipment.state == ShipmentState.HANDED_OVER:
        return Standing(f"It is on its way to {site}.", who=f"the people at {site}, by ingesting its manifest")
    if shipment.state == ShipmentState.RECEIVED:
        return Standing(
            f"{site} has still to confirm its files.", who=f"the people at {site}, by ingesting its manifest"
        )
    if shipment.state == ShipmentState.LOST:
        return Standing("It was lost; if it turns up after all, enter that it was received.", who=ADMINS)
    return Standing("Every file is confirmed at the other site.")
