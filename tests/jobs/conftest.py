"""Test jobs in the table, and real clusters on the test database."""

import os
import signal
import subprocess
import sys
from urllib.parse import quote

import pytest
from django.db import connection

from tests.jobs import work
from tests.rig.processes import die_with_parent, signal_group, tail, wait_for
from tests.rig.servers import ROOT

SETTINGS = {"DJANGO_SETTINGS_MODULE": "librarian.settings", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(autouse=True)
def _test_jobs():
    work.register()
    yield
    work.forget()


def database_url():
    """Address of the database that this test uses, for a process of its own."""
    facts = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{facts['NAME']}"
    login = f"{quote(facts['USER'])}:{quote(facts['PASSWORD'])}@" if facts["USER"] else ""
    host = quote(facts["HOST"] or "", safe="")
    return f"postgres://{login}{host}{':' + str(facts['PORT']) if facts['PORT'] else ''}/{facts['NAME']}"


@pytest.fixture
def start(transactional_db, tmp_path):
    """Start a process on the test database: `start("-m", "tests.jobs.cluster", Q_CLUSTER_NAME="bulk")`."""
    running = []

    def begin(*arguments, **environment):
        log = tmp_path / f"process-{len(running)}.log"
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, **SETTINGS, "DATABASE_URL": database_url(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        process.log = log
        running.append(process)
        return process

    yield begin
    for process in running:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        signal_group(process, signal.SIGKILL)
        process.wait(10)


@pytest.fixture
def start_cluster(start):
    """Start a real cluster that knows the test jobs."""

    def begin(name="default", **environment):
        return start("-m", "tests.jobs.cluster", Q_CLUSTER_NAME=name, **environment)

    return begin


@pytest.fixture
def until(request):
    """Wait for a condition; what the processes said is shown when it does not come."""

    def wait(check, what, timeout_seconds=40):
        try:
            return wait_for(check, timeout_seconds=timeout_seconds, what=what)
        except Exception:
            folder = request.getfixturevalue("tmp_path")
            for log in sorted(folder.glob("process-*.log")):
                sys.stderr.write(f"--- {log.name}\n{tail(log)}\n")
            raise

    return wait
