"""What stores can be searched by, and the filter by which other lists name a store."""

from typing import Any

import django_filters
from drf_spectacular.drainage import set_override

from librarian.common.filters import ArchiveFilterSet, OneOfFilter, TextFilter, YesNoFilter
from stores.models import Store


class StoreFilter(django_filters.ModelChoiceFilter):
    """Equality with a store, given by its name; a name that no store has is refused."""

    expects = "the name of a store of this site"

    def __init__(self, *args: Any, help_text: str, **options: Any) -> None:
        options = {"queryset": Store.objects.all(), "to_field_name": "name", "help_text": help_text, **options}
        super().__init__(*args, **options)
        set_override(self, "field", {"type": "string", "description": help_text})


class StoreFilterSet(ArchiveFilterSet):
    """Stores by what they are and how they are."""

    name = TextFilter(help_text="The store of this name.", max_length=64)
    kind = OneOfFilter(choices=Store.Kind.choices, help_text="How the store holds its bytes.")
    ingestable = YesNoFilter(help_text="Takes new files.")
    enabled = YesNoFilter(help_text="Switched on by a person.")
    available = YesNoFilter(help_text="Measured as readable and writable.")
    travelling = YesNoFilter(help_text="A disk that is carried to other sites.")

    class Meta:
        model = Store
        fields: list[str] = []
