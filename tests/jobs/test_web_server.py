"""Clients that fall silent do not hold the web server's threads."""

import signal
import socket
import subprocess
import sys

import pytest

from librarian.management.commands.run_site import web_server
from tests.rig.processes import die_with_parent, free_port, stop_group, tail, wait_for
from tests.rig.servers import ROOT

pytestmark = pytest.mark.database_independent
APP = """
def application(environ, start_response):
    try:
        said = b"%d" % len(environ["wsgi.input"].read())
    except OSError:
        said = b"gave up"
    start_response("200 OK", [("Content-Length", str(len(said)))])
    return [said]
"""
CONFIG = "from librarian import web_server\nweb_server.SILENT_SECONDS = 1\nwhen_ready = web_server.when_ready\n"


@pytest.fixture
def port(tmp_path):
    """A gunicorn with two threads, configured as ours but for the time."""
    (tmp_path / "small_app.py").write_text(APP)
    (tmp_path / "config.py").write_text(CONFIG)
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "gunicorn", "small_app:application", f"--bind=127.0.0.1:{port}", "--threads=2"]
    command += ["--worker-class=gthread", "--no-control-socket", f"--config={tmp_path / 'config.py'}"]
    command += [f"--pythonpath={tmp_path}"]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
    wait_for(lambda: "Booting worker" in tail(log), timeout_seconds=20, what="gunicorn")
    yield port
    stop_group(process, grace_seconds=5)


def ask(port: int, request: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=15)
    connection.sendall(request)
    return connection


def test_half_sent_requests_do_not_close_the_site(port) -> None:
    body = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 500\r\n\r\n{"
    header = b"POST / HTTP/1.1\r\nHost: he"
    silent = [ask(port, part) for part in (body, header) * 3]
    with ask(port, b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n") as alive:
        assert alive.recv(100).startswith(b"HTTP/1.1 200")
    assert b"gave up" in b"".join(iter(lambda: silent[0].recv(100), b""))
    for connection in silent:
        connection.close()


def test_make_run_uses_it() -> None:
    command = web_server({"host": "127.0.0.1", "port": 8000, "no_setup": False})
    assert f"--config={ROOT / 'librarian' / 'web_server.py'}" in command.command
