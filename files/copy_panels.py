"""What the page of a store shows of copies to and from it, and the page of a file of copies to further stores."""

from typing import Any

from files.copy_queries import NOT_OVER, copies_for_list, copy_rows, latest_offload_of, wanted_on
from files.models import CopyState, File, StoreCopy
from librarian.common.listing import count_cheaply
from stores.forms import words_of
from stores.models import Store


def copying_of(store: Store) -> dict[str, Any]:
    """The queue of copies to a store, and its newest offload."""
    concerned = StoreCopy.objects.filter(wanted_on(store))
    coming, is_more = count_cheaply(concerned.live())
    return {
        "store": store,
        "coming": coming,
        "coming_is_more": is_more,
        "failed": count_cheaply(concerned.filter(state=CopyState.FAILED))[0],
        "row": latest_offload_of(store),
    }


def copies_of_file(file: File) -> dict[str, Any]:
    """Copies of a file from `files_in_detail` that are not made yet, and stores that have none."""
    rows = copies_for_list().filter(file=file, state__in=NOT_OVER).order_by("-pk")
    holding = {instance.store_id for instance in file.instances.all() if instance.is_present}
    others = Store.objects.exclude(pk__in=holding).order_by("name")
    return {
        "file": file,
        "rows": copy_rows(rows),
        "stores": [(store, words_of(store)) for store in others],
        "may_be_copied": bool(holding),
    }
