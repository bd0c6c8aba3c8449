"""What pages of lower floors show of files, and what a file's page shows of the floors above.

These put it here from their `AppConfig.ready()`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Sum

from files.models import File, Instance
from files.page_queries import CopyHere
from librarian.common.listing import remembered
from stores.models import Store

NEWEST_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of the page of a file: its template, and the context that it gets as `panel`."""

    template: str
    context: Any


Build = Callable[[File], Any]
_registered: dict[str, Build] = {}


def register_panel(template: str, build: Build) -> None:
    """Show `template` on every file's page, with what `build` makes of the file (one from `files_in_detail`)."""
    _registered[template] = build


def panels_of(file: File) -> list[Panel]:
    """The parts that upper floors add to the page of a file."""
    return [Panel(template, build(file)) for template, build in _registered.items()]


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
