"""The one way a state changes: a compare-and-set on the row, so that of two movers exactly one moves it."""

from typing import Any

from django.db import models

from librarian.common.errors import Conflict, LostRace


def move(row: models.Model, *, to: str, field: str = "state", **changes: Any) -> None:
    """Move `row` to another state together with `changes`.

    The model's `MOVES` maps each state to those that may follow it. Raises Conflict for a move the table does not
    allow, and LostRace when the row is no longer in the state that `row` shows; nothing is changed then.
    """
    old = getattr(row, field)
    if to not in row.MOVES[old]:
        raise Conflict(f"{row._meta.verbose_name} {row.pk} cannot go from {old} to {to}.")
    changed = type(row)._default_manager.filter(pk=row.pk, **{field: old}).update(**{field: to}, **changes)
    if not changed:
        raise LostRace(f"{row._meta.verbose_name} {row.pk} is no longer {old}.")
    for name, value in {field: to, **changes}.items():
        setattr(row, name, value)
