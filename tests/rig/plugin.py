"""Honesty of a run: a test that did not run fails, unless ALLOW_PARTIAL=1; and counts for `tests.rig.run`."""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

PARTIAL_ALLOWED = os.environ.get("ALLOW_PARTIAL") == "1"
_ADVICE = "Not run, so not passed (ALLOW_PARTIAL=1 accepts an incomplete run): "

TESTS = Path(__file__).parent.parent
# These start sites, a browser or other hosts, which costs most of the time of a run, and ask the database what the
# tests of services and pages ask it too. With PostgreSQL they run in `make soak`.
ONE_DATABASE = tuple(
    TESTS / path
    for path in (
        "browser",
        "hera_librarian",
        "jobs/test_run_site.py",
        "network/faults",
        "network/providers",
        "network/test_carried_disks.py",
        "network/test_foreign_peers.py",
        "network/test_three_librarians.py",
        "operations/test_docs_page.py",
        "portal/test_snippets.py",
        "stores/test_s3.py",
        "stores/test_ssh.py",
        "test_settings.py",
        "test_stores_elsewhere.py",
    )
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs with one database in `make test`."""
    for item in items:
        if any(item.path.is_relative_to(path) for path in ONE_DATABASE):
            item.add_marker(pytest.mark.one_database)


def _fail_if_skipped(report: Any) -> None:
    if PARTIAL_ALLOWED or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = _ADVICE + reason


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Generator[None, Any, Any]:
    """Turn a skipped test into a failed one."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Turn a skipped module into an error."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.fixture(autouse=True)
def _needed_extension(request: pytest.FixtureRequest) -> None:
    """Skip (which fails, see above) a test whose PostgreSQL extension this server does not have."""
    marker = request.node.get_closest_marker("needs_extension")
    if marker is None:
        return
    request.getfixturevalue("db")
    from django.db import connection

    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_available_extensions WHERE name = %s", [marker.args[0]])
        if cursor.fetchone()[0] == 0:
            pytest.skip(f"this PostgreSQL lacks the extension {marker.args[0]}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write the counts and the names of failures where the driver asked for them."""
    target = os.environ.get("RIG_SUMMARY")
    if not target or os.environ.get("PYTEST_XDIST_WORKER"):
        return
    stats = terminalreporter.stats
    counts = {kind: len(reports) for kind, reports in stats.items() if kind and kind != "deselected"}
    bad = [report.nodeid for kind in ("failed", "error") for report in stats.get(kind, [])]
    Path(target).write_text(json.dumps({"counts": counts, "bad": bad}))
