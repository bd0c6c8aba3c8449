"""Which other copies of a file count while its store is emptied: those that stay here, and that were read."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from files.models import Condition, DeletionPolicy, Instance, Presence
from files.services.copying.destinations import emptied_stores
from files.services.copying.sources import BAD, is_proven_good
from stores.models import Store

FRESH_FOR = timedelta(days=30)
CLOCKS_DIFFER = timedelta(hours=1)
THERE = {"store__enabled": True, "store__available": True}


def staying_copies(*, besides: Store) -> QuerySet[Instance]:
    """Present copies on stores of ours that neither travel nor are being emptied, on other ones than `besides`."""
    staying = Instance.objects.present().filter(store__travelling=False).exclude(store=besides)
    return staying.exclude(store__in=emptied_stores())


def verified_copies(*, besides: Store) -> QuerySet[Instance]:
    """Those of which every byte was read and found good, when they came or since."""
    return staying_copies(besides=besides).filter(condition=Condition.GOOD)


def proving_copies(*, besides: Store) -> QuerySet[Instance]:
    """Those on account of which another copy may go: seen good lately, on a store that is there, and to stay."""
    earliest, latest = _lately()
    lately = {"condition_at__gt": earliest, "condition_at__lt": latest}
    return verified_copies(besides=besides).filter(deletion_policy=DeletionPolicy.DISALLOWED, **lately, **THERE)


def evidence_for(files: Iterable[int], *, besides: Store) -> dict[int, list[Instance]]:
    """Copies that may count for each file, by its key, those seen good last first: one query."""
    found: dict[int, list[Instance]] = {}
    stores: dict[int, Store] = {}
    copies = staying_copies(besides=besides).filter(file__in=list(files)).exclude(condition__in=BAD)
    for instance in copies.select_related("store", "file").order_by("pk"):
        instance.store = stores.setdefault(instance.store_id, instance.store)  # one backend, not one a copy
        found.setdefault(instance.file_id, []).append(instance)
    for instances in found.values():
        instances.sort(key=lambda instance: (is_fresh(instance), is_good(instance)), reverse=True)
    return found


def is_good(instance: Instance) -> bool:
    return instance.condition == Condition.GOOD


def is_fresh(instance: Instance) -> bool:
    """True if a copy was seen good not so long ago that it ought to be read again, and its store is there."""
    is_there = instance.store.enabled and instance.store.available  # the disk of one that is away may be broken
    earliest, latest = _lately()
    return is_there and is_good(instance) and earliest < instance.condition_at < latest


def _lately() -> tuple[datetime, datetime]:
    """Since when, and until when: what is seen good in a future year was seen by a clock that was wrong."""
    now = timezone.now()
    return now - FRESH_FOR, now + CLOCKS_DIFFER


def is_readable_here(instance: Instance) -> bool:
    store = instance.store
    return store.enabled and store.available and store.is_reached_from(settings.LIBRARIAN_HOST_NAME)


def read_again(instance: Instance, progress: Callable[[int], None]) -> bool:
    """Read every byte of a copy; True if it is good, which its row says from now on. A bad one is known as such."""
    if not is_proven_good(instance, progress):
        return False
    at = timezone.now()
    seen = {"presence": Presence.PRESENT, "path": instance.path, "condition": instance.condition}
    good = {"condition": Condition.GOOD, "condition_at": at}
    if not Instance.objects.filter(pk=instance.pk, **seen).update(**good):
        return False
    instance.condition, instance.condition_at = Condition.GOOD, at
    return True
