"""Truths that only a trigger can hold, kept as SQL files and re-created after every `migrate`.

Django rebuilds tables on SQLite when it alters them, which drops their triggers; so they are no part of a migration.
An app with triggers has `sql/<vendor>.sql`, one script that can be run any number of times, and registers that folder.
"""

import re
from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning

_TRIGGERS = re.compile(r"^CREATE TRIGGER (\w+)[^;]*?\bON (\w+)", re.MULTILINE | re.DOTALL)
_folders: list[Path] = []  # in the order of the apps, lower floors first


def register_triggers(folder: Path) -> None:
    """Make the scripts of an app known."""
    if folder not in _folders:
        _folders.append(folder)


def _scripts(connection: Any) -> list[str]:
    return [(folder / f"{connection.vendor}.sql").read_text() for folder in _folders]


def _tables_of(connection: Any) -> dict[str, str]:
    """Trigger -> its table."""
    return {name: table for script in _scripts(connection) for name, table in _TRIGGERS.findall(script)}


def expected_triggers(connection: Any) -> set[str]:
    """Names of the triggers that this database must have."""
    return set(_tables_of(connection))


def are_tables_there(connection: Any) -> bool:
    """True once every table that has triggers was made."""
    return set(_tables_of(connection).values()) <= set(connection.introspection.table_names())


def install_triggers(connection: Any) -> None:
    """(Re-)create every trigger; harmless when they exist."""
    with connection.cursor() as cursor:
        for script in _scripts(connection):
            for statement in script.split("\n\n") if connection.vendor == "sqlite" else [script]:
                if statement.strip():
                    cursor.execute(statement)


def drop_triggers(connection: Any) -> None:
    """Remove every trigger (only for flushing a test database)."""
    with connection.cursor() as cursor:
        for name, table in _tables_of(connection).items():
            on_table = f" ON {table}" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on_table}")


def present_triggers(connection: Any) -> set[str]:
    """Names of the triggers that the database has."""
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.vendor == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        return {name for (name,) in cursor.fetchall()}


def reinstall_after_migrate(sender: Any, using: str, **kwargs: Any) -> None:
    """post_migrate receiver: put the triggers back on the database that was migrated."""
    from django.db import connections

    if are_tables_there(connections[using]):
        install_triggers(connections[using])


def check_triggers(app_configs: Any = None, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """System check (tag `database`): every trigger is there.

    A warning, since an error would stop the `migrate` that mends it; `make check` fails on warnings.
    """
    from django.db import connections

    found: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        if not are_tables_there(connection):
            continue  # not migrated yet
        missing = expected_triggers(connection) - present_triggers(connection)
        if missing:
            found.append(
                CheckWarning(
                    f"The database {alias} lacks the triggers {', '.join(sorted(missing))}.",
                    hint="Run `manage.py migrate`, which re-creates them.",
                    id="common.W001",
                )
            )
    return found
