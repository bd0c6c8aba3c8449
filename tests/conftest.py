"""Prepares the environment before Django reads it, and keeps the suite honest about what did not run.

Fixtures of one app belong in that app's own conftest; builders of rows in `tests/make.py`.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if "librarian.settings" in sys.modules:
    raise pytest.UsageError(
        "Unset DJANGO_SETTINGS_MODULE: settings must be read after tests/conftest.py prepared them."
    )

# --- Environment, before settings are read ----------------------------------------------------------------------------

_KEPT = {"LIBRARIAN_CHROMIUM", "LIBRARIAN_TEST_ROOT"}
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

if _WORKER == "main" or "LIBRARIAN_TEST_ROOT" not in os.environ:
    # One directory for the whole run, shared by the xdist workers through the environment they inherit.
    os.environ["LIBRARIAN_TEST_ROOT"] = tempfile.mkdtemp(prefix="librarian-tests-")
    atexit.register(shutil.rmtree, os.environ["LIBRARIAN_TEST_ROOT"], ignore_errors=True)
TEST_ROOT = Path(os.environ["LIBRARIAN_TEST_ROOT"])
HOME = TEST_ROOT / _WORKER / "home"
(HOME / "static").mkdir(parents=True, exist_ok=True)

for _name in [name for name in os.environ if name.startswith("LIBRARIAN_") and name not in _KEPT]:
    del os.environ[_name]  # a developer's own site must not change what the suite sees
os.environ.update(
    DJANGO_SETTINGS_MODULE="librarian.settings",
    LIBRARIAN_ENV_FILE="none",
    LIBRARIAN_HOME=str(HOME),
    LIBRARIAN_NAME="test_librarian",
    LIBRARIAN_DEBUG="off",
    PYTEST_DEBUG_TEMPROOT=str(TEST_ROOT),  # tmp_path lies in the run's directory too, and goes with it
)
os.umask(0o022)  # modes of files are asserted; what another umask does has tests of its own

pytest_plugins = ["tests.rig.plugin"]


def pytest_configure() -> None:
    """Cheap passwords and plain static files; Argon2 stays known, for the tests that are about it.

    Hypothesis searches the same examples each time and without a clock: a red run must mean a changed program.
    """
    from django.conf import settings
    from hypothesis import settings as hypothesis_settings

    hypothesis_settings.register_profile("suite", deadline=None, derandomize=True, database=None)
    hypothesis_settings.load_profile("suite")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


def pytest_sessionstart() -> None:
    """Keep the name of the settings from the xdist workers, started next: they must prepare their own first."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


# --- Database ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Put the SQLite test database in a file, so that threads and server processes can share it."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        database.setdefault("TEST", {})["NAME"] = str(HOME / "test.sqlite3")


@pytest.fixture(scope="session", autouse=True)
def _flush_past_the_triggers() -> Iterator[None]:
    """Let the flush after a `transaction=True` test delete the rows that triggers keep from everybody else."""
    from django.db import connections
    from django.test import TransactionTestCase

    from librarian.common.triggers import drop_triggers, install_triggers

    flush = TransactionTestCase._fixture_teardown

    def flush_without_triggers(self: Any) -> None:
        aliases = self._databases_names(include_mirrors=False)
        for alias in aliases:
            drop_triggers(connections[alias])
        try:
            flush(self)
        finally:
            for alias in aliases:
                install_triggers(connections[alias])

    TransactionTestCase._fixture_teardown = flush_without_triggers
    yield
    TransactionTestCase._fixture_teardown = flush


@pytest.fixture(autouse=True)
def _fresh_catalogue() -> None:
    """Each test has a catalogue of its own, so what a process remembers of one must not reach the next."""
    from files.services.naming import forget_naming_mode

    forget_naming_mode()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of its own, to be filled, unmounted or made read-only."""
    point = tmp_path / "mounted"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", point], check=True)
    yield point
    while subprocess.run(["umount", "-l", point], capture_output=True).returncode == 0:
        pass


# --- Real servers and a real browser ----------------------------------------------------------------------------------


@pytest.fixture
def start_site(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start real Librarian processes: `start_site("north", LIBRARIAN_FILE_NAMES="path")`; all stop with the test."""
    from tests.rig.servers import Site

    sites: list[Site] = []

    def start(name: str = "site", **environment: str) -> Site:
        site = Site(name, tmp_path / name, environment=environment)
        sites.append(site)
        site.prepare()
        site.start()
        return site

    yield start
    for site in reversed(sites):
        site.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium per worker. Give tests that use it `@pytest.mark.xdist_group("browser")` to start only one."""
    from tests.rig.chromium import launched

    # Playwright keeps an event loop in this thread, by which Django believes that we are asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with launched() as running:
        yield running
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
