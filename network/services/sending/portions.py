"""Many things in portions, for calls and statements that take so many at once."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Thing = TypeVar("Thing")


def portions(things: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
    """Lists of at most `size` things, in order."""
    rest = iter(things)
    while portion := list(islice(rest, size)):
        yield portion
