"""Looks at a directory of this machine."""

from collections.abc import Iterator

from librarian.common.findings import Finding
from stores.models import Store
from stores.services.testing import ground, soil


def look(store: Store) -> Iterator[Finding]:
    """Mount, marker, permissions and room."""
    yield from soil.tell(store, ground.look(*soil.directories_of(store)))
