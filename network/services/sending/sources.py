"""Which of our copies of a file is sent."""

from collections.abc import Collection

from django.conf import settings

from files.models import Instance
from stores.models import NEAREST_FIRST, Store


def readable_copies(file_ids: Collection[int], *, tried: Collection[tuple[int, int]] = ()) -> dict[int, Instance]:
    """The best readable copy of each file that has one, read with its store.

    Copies that this host reaches come first, of those the nearest; and last those of which an earlier attempt was sent
    (`tried`, pairs of file and instance).
    """
    here = settings.LIBRARIAN_HOST_NAME
    best: dict[int, tuple[tuple[bool, bool, int, int], Instance]] = {}
    for copy in Instance.objects.readable().filter(file__in=file_ids).select_related("store").order_by("pk"):
        is_far = not copy.store.is_reached_from(here)
        rank = ((copy.file_id, copy.pk) in tried, is_far, NEAREST_FIRST.index(Store.Kind(copy.store.kind)), copy.pk)
        if copy.file_id not in best or rank < best[copy.file_id][0]:
            best[copy.file_id] = (rank, copy)
    return {key: copy for key, (_, copy) in best.items()}
