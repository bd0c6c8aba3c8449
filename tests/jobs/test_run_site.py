"""`manage.py run_site` from nothing: a named site with a login, a store, sample files, web and jobs; twice."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import urllib.request

import psutil
import pytest

from tests.rig.processes import die_with_parent, free_port, stop_group, tail, wait_for
from tests.rig.servers import ROOT

pytestmark = pytest.mark.database_independent


def environment(tmp_path):
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    ours = {"LIBRARIAN_HOME": str(tmp_path / "home"), "LIBRARIAN_ENV_FILE": str(tmp_path / ".env")}
    return {**kept, **ours, "DJANGO_SETTINGS_MODULE": "librarian.settings"}


@pytest.fixture
def run_site(tmp_path):
    """Start `run_site` with nothing set but where it may keep its state; yields a function."""
    running = []

    def begin(log, *arguments):
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "run_site", *arguments],
                cwd=ROOT,
                env=environment(tmp_path),
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        running.append(process)
        wait_for(
            lambda: "Stop it with Ctrl-C" in tail(log) or process.poll() is not None, timeout_seconds=90, what=tail(log)
        )
        assert process.poll() is None, tail(log)
        return process

    yield begin
    for process in running:
        stop_group(process, grace_seconds=30)


def interrupt(process):
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(45) == 0
    _, left = psutil.wait_procs(below, timeout=10)
    assert left == []


def files_of(tmp_path):
    with sqlite3.connect(tmp_path / "home" / "librarian.sqlite3") as connection:
        return connection.execute("SELECT count(*), min(source), max(source) FROM files_file").fetchone()


def test_from_nothing_to_a_site_and_later_runs_reuse_everything(run_site, tmp_path):
    port = free_port()
    log = tmp_path / "first.log"
    first = run_site(log, "--port", str(port), "--no-sample")
    said = log.read_text()
    assert f"http://127.0.0.1:{port}/" in said
    named = (tmp_path / ".env").read_text()
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert "LIBRARIAN_NAME=" in named
    password_file = tmp_path / "home" / "admin-password"
    password = password_file.read_text().strip()
    assert stat.S_IMODE(password_file.stat().st_mode) == 0o600
    for path in (tmp_path / "home").glob("librarian.sqlite3*"):  # sessions and password digests
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert said.count(password) == 1
    assert files_of(tmp_path)[0] == 0  # SAMPLE=no starts clean
    interrupt(first)

    log = tmp_path / "second.log"
    second = run_site(log, "--port", str(port))
    said = log.read_text()
    assert (tmp_path / ".env").read_text() == named
    assert password not in said
    assert str(password_file) in said
    assert "Added the store" not in said
    assert files_of(tmp_path) == (24, "sample", "sample")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=10) as answer:
        assert answer.status == 200
    interrupt(second)

    again = "import django; django.setup(); from librarian.first_run import ensure_sample; ensure_sample(print)"
    answer = subprocess.run([sys.executable, "-c", again], cwd=ROOT, env=environment(tmp_path), capture_output=True)
    assert (answer.returncode, answer.stdout) == (0, b"")
    assert files_of(tmp_path)[0] == 24


def test_a_file_of_settings_keeps_what_is_in_it(tmp_path):
    (tmp_path / ".env").write_text("# mine\nLIBRARIAN_LOG_LEVEL=ERROR\nLIBRARIAN_NAME=\n")
    code = (
        "import sys, os; sys.argv = ['-c', 'print(1)']; import django; django.setup();"
        "from librarian.first_run import ensure_name; ensure_name(print)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(tmp_path), capture_output=True, check=True)
    mine, level, name = (tmp_path / ".env").read_text().splitlines()
    assert (mine, level) == ("# mine", "LIBRARIAN_LOG_LEVEL=ERROR")
    assert len(name) > len("LIBRARIAN_NAME=")


def test_a_site_that_serves_a_public_name_only_is_asked_under_that_name(run_site, tmp_path):
    public = {"LIBRARIAN_NAME": "karoo", "LIBRARIAN_ALLOWED_HOSTS": ".example.org", "LIBRARIAN_HTTPS": "on"}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in public.items()))
    log = tmp_path / "public.log"
    process = run_site(log, "--port", str(free_port()), "--no-sample", "--only", "web")
    assert "did not get ready" not in log.read_text()
    assert "DisallowedHost" not in (tmp_path / "home" / "logs" / "web.log").read_text()
    interrupt(process)


def test_who_reads_only_the_first_line_sees_no_traceback(tmp_path):
    piped = [sys.executable, "manage.py", "help"]
    with subprocess.Popen(
        piped, cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        command.stdout.close()
        assert command.stderr.read() == b""
        assert command.wait(60) == 128 + signal.SIGPIPE


def test_a_proxy_that_is_no_address_stops_the_start(tmp_path):
    (tmp_path / ".env").write_text("LIBRARIAN_NAME=karoo\nLIBRARIAN_TRUSTED_PROXIES=nginx.example.org\n")
    start = [sys.executable, "manage.py", "run_site", "--port", str(free_port())]
    answer = subprocess.run(start, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=60)
    assert answer.returncode == 1
    assert "accounts.E001" in answer.stderr
    assert "Traceback" not in answer.stderr
