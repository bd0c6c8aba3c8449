"""What a store's page shows of the floors above, which put it here from their `AppConfig.ready()`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stores.models import Store


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of the page: its template, and the context that it gets as `panel`."""

    template: str
    context: Any


Build = Callable[[Store], Any]
_registered: dict[str, Build] = {}


def register_panel(template: str, build: Build) -> None:
    """Show `template` on every store's page, with what `build` makes of the store."""
    _registered[template] = build


def panels_of(store: Store) -> list[Panel]:
    """The parts that upper floors add to the page of a store."""
    return [Panel(template, build(store)) for template, build in _registered.items()]
