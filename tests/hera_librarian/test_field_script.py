"""The script by which sites in the field are connected runs word for word, its questions answered at a terminal."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hera_librarian import AdminClient
from hera_librarian.authlevel import AuthLevel
from tests.rig.servers import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("field_script.txt")
DEADLINE_SECONDS = 90


class Terminal:
    """A program at a terminal of its own."""

    def __init__(self, *arguments):
        self.text = ""
        self._answered = 0
        self._master, slave = pty.openpty()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)

    def answer(self, question, text):
        """Wait for a question that was not answered yet, and type the answer."""
        self._read_until(lambda: question in self.text[self._answered :], question)
        self._answered = self.text.index(question, self._answered) + len(question)
        os.write(self._master, f"{text}\n".encode())

    def wait_for(self, text):
        """Wait until a text was shown."""
        self._read_until(lambda: text in self.text, text)

    def wait(self):
        """All that was shown, once the program ended well."""
        self._read_until(lambda: False, None)
        assert self._process.wait(DEADLINE_SECONDS) == 0, self.text
        return self.text.replace("\r\n", "\n")

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def _read_until(self, seen, question):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not seen():
            ready, _, _ = select.select([self._master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {question!r} in: {self.text}"
            try:
                block = os.read(self._master, 65536)
            except OSError:  # what Linux says when the program has closed its terminal
                block = b""
            if not block:
                assert question is None, f"ended before {question!r}: {self.text}"
                return
            self.text += block.decode()


@pytest.fixture
def run(tmp_path):
    script = tmp_path / "connect.py"
    script.write_text(SCRIPT.read_text())
    started = []

    def start(*arguments):
        started.append(Terminal(str(script), *arguments))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


def begin(terminal, site, other_name, level):
    """Steps 1 and 2 at one site; the authenticator of the account that was made for the other."""
    for question, text in (
        ("administrator username: ", ADMIN),
        ("administrator password: ", ADMIN_PASSWORD),
        ("librarian host (including http/https): ", "http://127.0.0.1"),
        ("librarian port: ", site.port),
        ("printed above): ", other_name),
        ("(READAPPEND or CALLBACK): ", level),
        ("(yes/no): ", "yes"),
    ):
        terminal.answer(question, text)
    terminal.wait_for("Enter the remote librarian host")
    assert f"This librarian is called: {site.name} " in terminal.text
    return re.search(r"User created\. Authenticator: (\S+)", terminal.text)[1]


def finish(terminal, other, authenticator):
    """Step 3: the other site is registered."""
    for question, text in (
        ("remote librarian host (including http/https): ", "http://127.0.0.1"),
        ("remote librarian port (443 for HTTPS default): ", other.port),
        ("remote librarian name: ", other.name),
        ("Step 2): ", authenticator),
        ("(yes/no): ", "yes"),
    ):
        terminal.answer(question, text)
    shown = terminal.wait()
    assert shown.endswith("Remote librarian added.\n"), shown
    assert "WARNING" not in shown
    assert "Traceback" not in shown


def test_two_sites_are_connected_by_the_script(start_site, run):
    source, destination = start_site("source_librarian"), start_site("destination_librarian")
    at_destination, at_source = run(), run()
    for_source = begin(at_destination, destination, source.name, "READAPPEND")
    for_destination = begin(at_source, source, destination.name, "callback")
    finish(at_destination, source, for_destination)
    finish(at_source, destination, for_source)
    for here, there, level in (
        (source, destination, AuthLevel.CALLBACK),
        (destination, source, AuthLevel.READAPPEND),
    ):
        client = AdminClient("http://127.0.0.1", here.port, ADMIN, ADMIN_PASSWORD)
        assert client.get_user(there.name).permission == level
        (known,) = client.get_librarian_list(ping=True).librarians
        assert (known.name, known.port, known.available, known.enabled) == (there.name, there.port, True, True)


def test_a_dry_run_changes_nothing(shared_site, run):
    terminal = run("--dry-run")
    before = shared_site.evaluate("[User.objects.count(), Peer.objects.count()]")
    for question, text in (
        ("administrator username: ", ADMIN),
        ("administrator password: ", "x"),
        ("librarian host (including http/https): ", "http://127.0.0.1"),
        ("librarian port: ", shared_site.port),
        ("printed above): ", "other"),
        ("(READAPPEND or CALLBACK): ", "READAPPEND"),
        ("(yes/no): ", "yes"),
        ("remote librarian host (including http/https): ", "http://127.0.0.1"),
        ("remote librarian port (443 for HTTPS default): ", 443),
        ("remote librarian name: ", "other"),
        ("Step 2): ", "dry-run:x"),
        ("(yes/no): ", "yes"),
    ):
        terminal.answer(question, text)
    assert terminal.wait().endswith("Remote librarian added.\n")
    assert shared_site.evaluate("[User.objects.count(), Peer.objects.count()]") == before


def test_a_site_that_is_not_there_is_told_in_the_scripts_own_words(run):
    terminal = run()
    for question, text in (
        ("administrator username: ", ADMIN),
        ("administrator password: ", "x"),
        ("librarian host (including http/https): ", "http://127.0.0.1"),
        ("librarian port: ", 1),
    ):
        terminal.answer(question, text)
    terminal.wait_for("Failed to connect to librarian.")
    assert "Traceback" not in terminal.text
