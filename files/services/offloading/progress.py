"""How far an offload is: counted from the instances, which alone say what is left."""

from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, QuerySet, Sum

from files.models import CopyState, File, Instance, Offload, StoreCopy
from files.search import InvalidSearch, compile_search
from files.services.offloading.evidence import verified_copies
from stores.models import Store


@dataclass(frozen=True, slots=True)
class OffloadProgress:
    """Files of a store that an offload is about.

    Safe is what has another verified copy that stays; left what has none; failed those of them that are not copied
    again by themselves.
    """

    files_total: int
    files_safe: int
    files_left: int
    bytes_left: int
    files_failed: int


def left_on(store: Store) -> QuerySet[Instance]:
    """Present copies on a store whose file has no other verified copy on a store of ours that stays."""
    elsewhere = verified_copies(besides=store).filter(file=OuterRef("file"))
    return Instance.objects.present().filter(~Exists(elsewhere), store=store)


def matching(instances: QuerySet[Instance], offload: Offload) -> QuerySet[Instance]:
    """Those that the offload is about. Raises InvalidSearch."""
    if not offload.search:
        return instances
    return instances.filter(file__in=File.objects.filter(compile_search(offload.search)))


def progress_of(offload: Offload) -> OffloadProgress:
    """How far an offload is. Of one whose search is not understood any more, all zeros."""
    here = Instance.objects.present().filter(store=offload.store_id)
    try:
        total = matching(here, offload).count()
        left = matching(left_on(offload.store), offload)
    except InvalidSearch:
        return OffloadProgress(0, 0, 0, 0, 0)
    counted = left.order_by().aggregate(files=Count("pk"), size=Sum("file__size_bytes"))
    failed = StoreCopy.objects.of_group(offload.group).filter(state=CopyState.FAILED).count()
    return OffloadProgress(
        files_total=total,
        files_safe=total - counted["files"],
        files_left=counted["files"],
        bytes_left=counted["size"] or 0,
        files_failed=failed,
    )
