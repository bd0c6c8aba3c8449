"""Work of the files floor for the job clusters: each calls one service and returns what it did in numbers."""

from typing import Any

from files import invariants
from files.services import event_verification, roots, sweeping, watching
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity

CHECKER = "check_invariants"


def finish_commits() -> dict[str, Any]:
    return sweeping.finish_commits()


def sweep_staging(*, older_than_seconds: float = sweeping.ORPHAN_SECONDS) -> dict[str, Any]:
    return sweeping.sweep_staging(older_than_seconds=float(older_than_seconds))


def forget_finished_uploads(*, older_than_days: float = 90.0) -> dict[str, Any]:
    return sweeping.forget_finished_uploads(older_than_days=float(older_than_days))


def scan_watch_folders() -> dict[str, Any]:
    return watching.scan_watch_folders()


def forget_watched_paths(*, older_than_days: float = 30.0) -> dict[str, Any]:
    return watching.forget_watched_paths(older_than_days=float(older_than_days))


def write_root() -> dict[str, Any]:
    return roots.write_root()


def verify_events() -> dict[str, Any]:
    """Prove every history; what does not hold is an error of the most serious kind."""
    verdict = event_verification.verify_events()
    if verdict.findings:
        remedy = (
            "If this database was restored from a backup: manage.py verify_events --accept-restore --by NAME."
            if verdict.looks_restored
            else "Run manage.py verify_events, keep a copy of the database, and compare with the latest backup."
        )
        report_error(
            severity=Severity.CRITICAL,
            category=Category.DATA_INTEGRITY,
            code="history_changed",
            message=f"{len(verdict.findings)} histories do not hold; the first: {verdict.findings[0]}",
            remedy=remedy,
            caller="verify_events",
        )
    return {**verdict.as_dict(), "findings": verdict.findings[:10]}


def check_invariants() -> dict[str, Any]:
    """Check what the database cannot hold; each truth that does not hold is an error of its own."""
    counts = {}
    for name, sentences in invariants.check_invariants().items():
        counts[name] = len(sentences)
        if not sentences:
            clear_matching(code="invariant_broken", caller=CHECKER, target=name, cleared_by=CHECKER)
        else:
            report_error(
                severity=Severity.ERROR,
                category=Category.DATA_INTEGRITY,
                code="invariant_broken",
                message=f"{name} does not hold for {len(sentences)} rows; the first: {sentences[0]}",
                remedy="Run manage.py check_invariants; docs/invariants.md says what holds each truth.",
                caller=CHECKER,
                target=name,
            )
    return counts
