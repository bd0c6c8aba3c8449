"""What pages of lower floors show of files."""

from typing import Any

from django.db.models import Count, Sum

from files.models import Instance
from files.page_queries import CopyHere
from librarian.common.listing import remembered
from stores.models import Store

NEWEST_SHOWN = 12


def copies_on(store: Store) -> dict[str, Any]:
    """How many copies a store holds, and the newest of them, for the store's page."""

    def compute() -> dict[str, int]:
        here = Instance.objects.present().filter(store=store).order_by()
        return here.aggregate(copy_count=Count("pk"), size_bytes=Sum("file__size_bytes", default=0))

    newest = store.instances.select_related("file").order_by("-created_at", "-pk")
    return {
        "store": store,
        "copies": [CopyHere(instance) for instance in newest[:NEWEST_SHOWN]],
        **remembered(f"files.copies_on.{store.pk}", compute),
    }
