"""The list of examinations, in the order in which they are told.

An examination reads what it needs from the database at once, and returns looks; those run beside each other, in
threads, and touch no database.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from librarian.common.findings import Look, fails, settled
from librarian.doctor import checks, database, globus, home, jobs, peers, secrets, stores
from librarian.doctor.scope import Scope
from librarian.operations.health import check_database, check_migrations

Examination = Callable[[Scope], Iterable[Look]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One examination. `needs_tables`: it can only be made on a database that answers and is migrated."""

    name: str
    examine: Examination
    needs_tables: bool = False


EXAMINATIONS = (
    Entry("settings", checks.examine),
    Entry("home", home.examine),
    Entry("secrets", secrets.examine),
    Entry("database", database.examine),
    Entry("jobs", jobs.examine, needs_tables=True),
    Entry("globus", globus.examine),
    Entry("stores", stores.examine, needs_tables=True),
    Entry("peers", peers.examine, needs_tables=True),
)


def all_looks(scope: Scope) -> Iterator[Look]:
    """The looks of every examination that is wanted."""
    wanted = [entry for entry in EXAMINATIONS if scope.wants(entry.name)]
    tables_are_there = _tables_are_there()
    for entry in wanted:
        if entry.needs_tables and not tables_are_there:
            reason = "not looked at: the database does not answer, or is not migrated"
            yield settled(entry.name, [fails(entry.name, reason, "Mend the database first; see `database` above.")])
        else:
            yield from entry.examine(scope)


def _tables_are_there() -> bool:
    return not database.unreachable() and not check_database() and not check_migrations()
