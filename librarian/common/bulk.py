"""Inserting many rows at once, for deliveries of thousands of files, where Django's own way costs more than the disk.

`bulk_create` prepares every value of every row by several calls and sends a thousand values at a time. Here plain
columns (text, numbers, keys) go as they are, and a statement carries as many rows as both databases take.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from django.db import connections, models, router

_VALUES_AT_ONCE = 30_000  # SQLite takes 32,766 parameters since 3.32, PostgreSQL any number from this driver
_PLAIN = (models.IntegerField, models.BooleanField, models.ForeignKey, models.OneToOneField)
Prepare = Callable[[Any], Any]


def bulk_insert(rows: Sequence[models.Model]) -> None:
    """Insert new rows of one model and give them their keys. Raises IntegrityError, and has inserted none then.

    Needs a transaction around it, like every change of several rows. Calls no `save` and no signals, as `bulk_create`.
    """
    if not rows:
        return
    model = type(rows[0])
    alias = router.db_for_write(model)
    columns, prepared = _columns(model, alias)
    size = max(1, _VALUES_AT_ONCE // len(columns))
    for start in range(0, len(rows), size):
        _insert(rows[start : start + size], columns, prepared, alias)


def _insert(rows: Sequence[models.Model], columns: tuple[str, ...], prepared: tuple[Any, ...], alias: str) -> None:
    model, connection = type(rows[0]), connections[alias]
    quote = connection.ops.quote_name
    names = ", ".join(quote(column) for column in columns)
    one = f"({', '.join(['%s'] * len(columns))})"
    sql = (  # made of our own models' names alone; every value is a parameter
        f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES {', '.join([one] * len(rows))} "  # noqa: S608
        f"RETURNING {quote(model._meta.pk.column)}"
    )
    values = [
        prepare(getattr(row, name)) if prepare else getattr(row, name) for row in rows for name, prepare in prepared
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        keys = cursor.fetchall()
    for row, (key,) in zip(rows, keys, strict=True):
        row.pk = key
        row._state.adding, row._state.db = False, alias


@lru_cache(maxsize=64)
def _columns(model: type[models.Model], alias: str) -> tuple[tuple[str, ...], tuple[tuple[str, Prepare | None], ...]]:
    """Columns of a model and how the attribute of each becomes a value; the key only where it is not automatic."""
    fields = [field for field in model._meta.local_concrete_fields if not isinstance(field, models.AutoField)]
    return (
        tuple(field.column for field in fields),
        tuple((field.attname, _preparation(field, alias)) for field in fields),
    )


def _preparation(field: models.Field, alias: str) -> Prepare | None:
    if field.choices:
        return _without_enum
    if isinstance(field, _PLAIN) or type(field) in (models.CharField, models.TextField):
        return None
    connection = connections[alias]
    if isinstance(field, models.DateTimeField):  # mostly empty, of the rows that deliveries write
        return lambda value: None if value is None else field.get_db_prep_save(value, connection)
    return lambda value: field.get_db_prep_save(value, connection)


def _without_enum(value: Any) -> Any:
    return getattr(value, "value", value)
