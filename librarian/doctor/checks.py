"""The checks of the settings, those that `manage.py check` and every start make."""

from collections.abc import Iterator

from django.core import checks

from librarian.common.findings import Finding, Look, doubts, fails, settled, works
from librarian.doctor.scope import Scope

GROUP = "settings"


def examine(scope: Scope) -> Iterator[Look]:
    """One finding for each message; the checks of the database's own contents are in `database`."""
    yield settled(GROUP, _findings(checks.run_checks()))


def _findings(messages: list[checks.CheckMessage]) -> list[Finding]:
    found = [_finding(message) for message in messages if message.level >= checks.WARNING]
    return found or [works("manage.py check", "it has nothing to say")]


def _finding(message: checks.CheckMessage) -> Finding:
    say = fails if message.level >= checks.ERROR else doubts
    remedy = message.hint or "Correct the setting; deploy/env.example explains each."
    return say(str(message.id or "check"), " ".join(str(message.msg).split()), str(remedy))
