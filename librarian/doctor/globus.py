"""Globus, where it is set up: are the settings complete, does our app get in."""

from collections.abc import Iterator

from django.conf import settings

from librarian.common.errors import ArchiveError
from librarian.common.findings import Finding, Look, fails, settled, works
from librarian.doctor.scope import Scope
from network.providers.globus_account import configuration_problem, transfer_client

GROUP = "globus"


def examine(scope: Scope) -> Iterator[Look]:
    """Nothing unless an app is named."""
    if not settings.LIBRARIAN_GLOBUS_CLIENT_ID:
        return
    problem = configuration_problem()
    if problem is not None:
        remedy = "Correct LIBRARIAN_GLOBUS_…; deploy/env.example explains each."
        yield settled(GROUP, [fails("settings", problem, remedy)])
        return
    yield settled(GROUP, [works("settings", f"app {settings.LIBRARIAN_GLOBUS_CLIENT_ID}")])
    if not scope.quick:
        yield Look(GROUP, _log_in, "login", 60.0)


def _log_in() -> Iterator[Finding]:
    try:
        transfer_client()
    except ArchiveError as problem:
        yield fails("login", problem.reason, problem.suggested_remedy)
        return
    yield works("login")
