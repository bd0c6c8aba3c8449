"""Forgetting transfers and batches that have ended long ago. What a person may still want to act on stays."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from network.models import (
    ENDED,
    IncomingTransfer,
    OutgoingTransfer,
    ReportState,
    SendQueueItem,
    Shipment,
    TransferState,
)

KEPT_DAYS = 90
BATCH = 1_000


def forget_old_transfers(*, older_than_days: float = KEPT_DAYS) -> dict[str, int]:
    """Remove ended transfers, of both directions, and batches that ended before; how many of each.

    The latest attempt for a file and peer stays while it is failed or cancelled: it says why the file is not there. A
    completed one may go, for the remote instance tells that. An incoming one stays until its sender knows.

    Parameters
    ----------
    older_than_days : float
        Counted from their end.
    """
    before = timezone.now() - timedelta(days=older_than_days)
    return {
        "outgoing": _delete(_old_outgoing(before)),
        "incoming": _delete(_old_incoming(before)),
        "batches": _delete(_old_batches(before)),
    }


def _old_outgoing(before: datetime) -> QuerySet[Any]:
    served = Q(is_latest=False) | Q(state=TransferState.COMPLETED)
    travels = Shipment.objects.live().values("pk")  # how far it has got is told by all of its transfers
    rows = OutgoingTransfer.objects.filter(served, state__in=ENDED, finished_at__lt=before)
    return rows.filter(Q(shipment=None) | ~Q(shipment__in=travels))


def _old_incoming(before: datetime) -> QuerySet[Any]:
    known = [ReportState.DONE, ReportState.GIVEN_UP, ReportState.NOTHING]
    return IncomingTransfer.objects.filter(state__in=ENDED, finished_at__lt=before, report__in=known)


def _old_batches(before: datetime) -> QuerySet[Any]:
    """Batches that no transfer of ours points to any more, so that the kept ones still say how they went."""
    return SendQueueItem.objects.filter(finished_at__lt=before, transfers=None)


def _delete(rows: QuerySet[Any]) -> int:
    """Delete in small transactions, so that nobody waits long for the database."""
    removed = 0
    while keys := list(rows.order_by("finished_at").values_list("pk", flat=True)[:BATCH]):
        count = rows.model._default_manager.filter(pk__in=keys)._raw_delete("default")
        if not count:
            break
        removed += count
    return removed
