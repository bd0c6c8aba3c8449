"""Which other copies of a file count while its store is emptied: those that stay here, and that were read."""

from collections.abc import Callable, Iterable
from datetime import timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from files.models import Condition, Instance, Presence
from files.services.copying.destinations import emptied_stores
from files.services.copying.sources import BAD, is_proven_good
from stores.models import Store

FRESH_FOR = timedelta(days=30)


def staying_copies(*, besides: Store) -> QuerySet[Instance]:
    """Present copies on stores of ours that neither travel nor are being emptied, on other ones than `besides`."""
    staying = Instance.objects.present().filter(store__travelling=False).exclude(store=besides)
    return staying.exclude(store__in=emptied_stores())


def verified_copies(*, besides: Store) -> QuerySet[Instance]:
    """Those of which every byte was read and found good, when they came or since."""
    return staying_copies(besides=besides).filter(condition=Condition.GOOD)


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
    """True if a copy was seen good not so long ago that it ought to be read again."""
    return is_good(instance) and instance.condition_at > timezone.now() - FRESH_FOR


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
