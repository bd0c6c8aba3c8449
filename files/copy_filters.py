"""What copies between our stores, and offloads, can be searched by. Shared by machine API and portal."""

from django.db.models import QuerySet

from files.copy_queries import wanted_on
from files.filters import FiledNameFilter, LikeFilter
from files.lookups import escape_like
from files.models import COPY_LIVE, OFFLOAD_LIVE, CopyState, Offload, OffloadState, StoreCopy
from librarian.common.filters import ArchiveFilterSet, OneOfFilter, TextFilter, TimeFilter, YesNoFilter
from stores.filters import StoreFilter
from stores.models import Store

_TIME = "(ISO 8601 or Julian Date, UTC)."


def _containing(text: str) -> str:
    return f"%{escape_like(text)}%"


class StoreCopyFilterSet(ArchiveFilterSet):
    """Copies by file, store, state and what wants them."""

    state = OneOfFilter(field_name="state", choices=CopyState.choices, help_text="Where the copy stands.")
    live = YesNoFilter(method="that_live", help_text="Whether it is still to be made.")
    store = StoreFilter(method="on_store", help_text="That the store of this name took, or may still take.")
    group = TextFilter("group", max_length=80, help_text="Wanted by this: order:<id>, offload:<id>, person:<name>.")
    file = FiledNameFilter("file__name", help_text="Of the file of this name, normalised as on filing.")
    name_contains = LikeFilter(
        "file__name", dialect=_containing, expects="text", help_text="Of files with this text in their names."
    )
    code = TextFilter("code", max_length=64, help_text="Stable name of why it waits or failed, as in docs/errors.md.")
    created_after = TimeFilter("created_at", "gte", help_text=f"Wanted at or after this time {_TIME}")
    created_before = TimeFilter("created_at", "lt", help_text=f"Wanted before this time {_TIME}")

    class Meta:
        model = StoreCopy
        fields: list[str] = []

    def that_live(self, queryset: QuerySet, name: str, value: bool) -> QuerySet:
        return queryset.filter(state__in=COPY_LIVE) if value else queryset.exclude(state__in=COPY_LIVE)

    def on_store(self, queryset: QuerySet, name: str, value: Store) -> QuerySet:
        return queryset.filter(wanted_on(value))


class OffloadFilterSet(ArchiveFilterSet):
    """Offloads by store and state."""

    store = StoreFilter(field_name="store", help_text="Of the store of this name.")
    state = OneOfFilter(field_name="state", choices=OffloadState.choices, help_text="Where it stands.")
    live = YesNoFilter(method="that_live", help_text="Whether it is not over.")

    class Meta:
        model = Offload
        fields: list[str] = []

    def that_live(self, queryset: QuerySet, name: str, value: bool) -> QuerySet:
        return queryset.filter(state__in=OFFLOAD_LIVE) if value else queryset.exclude(state__in=OFFLOAD_LIVE)
