"""Two real sites, the one sending to the other over lines that can be spoilt; shared by the tests of a module.

Each test delivers files of its own, lets something go wrong, and waits until nothing moves: what the next one finds is
a network at rest. What imports models is imported inside: pytest may read this file before Django is set up.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """`north` sends every file to `south`, by the provider http."""
    yield from _pair(tmp_path_factory.mktemp("pair"), shared=False)


@pytest.fixture(scope="module")
def near_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The same, but `north` mounts the staging of `south`: the provider local."""
    yield from _pair(tmp_path_factory.mktemp("near"), shared=True)


def _pair(folder: Path, *, shared: bool) -> Iterator[Any]:
    from tests.network.members import introduce, network

    with network(folder) as start:
        sender, receiver = (start(name, spoilable=True) for name in ("north", "south"))
        introduce(sender, receiver, shared=shared)
        sender.order(receiver)
        yield sender, receiver
