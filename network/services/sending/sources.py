"""Which of our copies of a file is sent."""

from collections.abc import Collection

from django.conf import settings

from files.models import Instance


def readable_copies(file_ids: Collection[int], *, tried: Collection[tuple[int, int]] = ()) -> dict[int, Instance]:
    """The best readable copy of each file that has one, read with its store.

    Copies that this host reaches come first, and those of which an earlier attempt was sent (`tried`, pairs of file and
    instance) last.
    """
    here = settings.LIBRARIAN_HOST_NAME
    best: dict[int, tuple[tuple[bool, bool, int], Instance]] = {}
    for copy in Instance.objects.readable().filter(file__in=file_ids).select_related("store").order_by("pk"):
        rank = ((copy.file_id, copy.pk) in tried, not copy.store.is_reached_from(here), copy.pk)
        if copy.file_id not in best or rank < best[copy.file_id][0]:
            best[copy.file_id] = (rank, copy)
    return {key: copy for key, (_, copy) in best.items()}
