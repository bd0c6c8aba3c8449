"""The database: does it answer, are its tables those of this version, are the triggers there."""

import socket
from collections.abc import Iterator

from django.core import checks
from django.db import DatabaseError, connection

from librarian.common.findings import Finding, Look, doubts, fails, settled, works
from librarian.doctor.scope import Scope
from librarian.operations.health import check_database, check_migrations

GROUP = "database"
CONNECT_SECONDS = 5.0
OLDEST_POSTGRESQL = 150000


def examine(scope: Scope) -> Iterator[Look]:
    """Here and now: the rest of the doctor hangs on it."""
    yield settled(GROUP, _findings())


def unreachable() -> str:
    """Why nothing can answer at its address; empty when something may. Never waits long, as a driver would."""
    host, port = str(connection.settings_dict.get("HOST") or ""), connection.settings_dict.get("PORT") or 5432
    if connection.vendor != "postgresql" or not host or host.startswith("/"):
        return ""
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS):
            return ""
    except OSError as error:
        return f"nothing answers at {host}, port {port}: {error.strerror or error}"


def _findings() -> Iterator[Finding]:
    remedy = "See that the database server runs, and that DATABASE_URL is right (the password is not shown here)."
    if problem := unreachable() or check_database():
        yield fails("answers", problem, remedy)
        return
    yield works("answers", connection.vendor)
    if waiting := check_migrations():
        yield fails("migrated", waiting, "Run `manage.py migrate`.")
        return
    yield works("migrated")
    yield from _contents()
    try:
        yield from _postgresql() if connection.vendor == "postgresql" else _sqlite()
    except DatabaseError as error:
        yield fails("settings", str(error).strip(), remedy)


def _contents() -> Iterator[Finding]:
    """Checks that look into the database: triggers, and names that may not change."""
    messages = checks.run_checks(tags=[checks.Tags.database], databases=["default"])
    messages = [message for message in messages if message.level >= checks.WARNING]
    for message in messages:
        yield fails(str(message.id), str(message.msg), str(message.hint or "See `manage.py check --database default`."))
    if not messages:
        yield works("triggers and fixed names")


def _postgresql() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        version = int(cursor.fetchone()[0])
        cursor.execute("SHOW server_encoding")
        encoding = cursor.fetchone()[0]
    if version < OLDEST_POSTGRESQL:
        yield doubts("version", f"PostgreSQL {version // 10000}", "Upgrade it to 15 or newer.")
    if encoding != "UTF8":
        yield fails("encoding", f"it is {encoding}", "Names are UTF-8: make the database with ENCODING 'UTF8'.")


def _sqlite() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        mode = str(cursor.fetchone()[0])
    if mode not in ("wal", "memory"):
        remedy = "Use a local disk, where SQLite can keep its log: a network file system cannot."
        yield doubts("journal", f"its mode is {mode}, not wal", remedy)
