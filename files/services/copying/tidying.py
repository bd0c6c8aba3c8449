"""Forgetting copies that were over long ago. What failed, or a person gave up, stays: it says why there is no copy."""

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from files.models import CopyState, StoreCopy
from files.services.copying.outcomes import NO_LONGER_WANTED

KEPT_DAYS = 90.0
BATCH = 1_000


def forget_old_copies(*, older_than_days: float = KEPT_DAYS) -> dict[str, int]:
    """Remove rows of copies that were made, or wanted no more, before; how many. Instances and events stay.

    Parameters
    ----------
    older_than_days : float
        Counted from their end.
    """
    before = timezone.now() - timedelta(days=float(older_than_days))
    served = Q(state=CopyState.DONE) | Q(state=CopyState.CANCELLED, code=NO_LONGER_WANTED)
    old = StoreCopy.objects.filter(served, finished_at__lt=before)
    total = 0
    while keys := list(old.order_by("finished_at").values_list("pk", flat=True)[:BATCH]):
        total += StoreCopy.objects.filter(pk__in=keys).delete()[0]
    return {"copies": total}
