"""`librarian watch`: what comes over the command; the watcher itself has tests of its own."""

import signal
import subprocess

import pytest

from tests.hera_librarian.cli.running import command_line, environment_of


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "instrument").mkdir()
    return tmp_path / "instrument"


def test_once_hands_over_what_is_there_and_tells_of_each(librarian, folder):
    (folder / "watched-1.log").write_bytes(b"one\n")
    (folder / "watched-2.log").write_bytes(b"two\n")
    words = ["watch", "instrument", "pipeline", "--spool", "spool", "--once", "--settle", "0", "--null-obsid"]
    ran = librarian(*words, "--json")
    assert ran.code == 0, ran.err
    assert {(record["name"], record["outcome"]) for record in ran.records} == {
        ("watched-1.log", "new"),
        ("watched-2.log", "new"),
    }
    again = librarian(*words)
    assert (again.code, again.out) == (0, "")
    assert (folder / "watched-1.log").exists()
    status = librarian("watch", "instrument", "pipeline", "--spool", "spool", "--status")
    assert status.lines == ["not running; 2 delivered", "0.0 B waiting"]
    [document] = librarian("watch", "instrument", "pipeline", "--spool", "spool", "--status", "--json").records
    assert document["products"]["delivered"] == 2


def test_a_name_that_is_taken_fails_and_is_shown_by_the_status(librarian, folder):
    (folder / "watched-taken.log").write_bytes(b"first\n")
    words = ["watch", "instrument", "pipeline", "--once", "--settle", "0"]
    assert librarian(*words, "--spool", "first").code == 0
    (folder / "watched-taken.log").write_bytes(b"other\n")
    ran = librarian(*words, "--spool", "second")
    assert ran.code == 1
    assert "watched-taken.log" in ran.err
    assert "watched-taken.log" in librarian("watch", "x", "pipeline", "--spool", "second", "--status").out


def test_once_is_no_success_while_something_is_left_that_an_earlier_run_has_told_of(librarian, folder):
    (folder / "watched-whole.log").write_bytes(b"one\n")
    (folder / "watched-link.log").symlink_to("watched-whole.log")
    words = ["watch", "instrument", "pipeline", "--spool", "spool", "--once", "--settle", "0"]
    first = librarian(*words)
    assert first.code == 5
    assert first.err.count("watched-link.log") == 1
    again = librarian(*words)
    assert (again.code, again.out) == (5, "")
    assert "note: 1 product is not delivered" in again.err
    (folder / "watched-link.log").unlink()
    assert librarian(*words).code == 0


def test_a_signal_ends_it_in_order(connections, home, folder, tmp_path):
    (folder / "watched-signal.log").write_bytes(b"one\n")
    running = subprocess.Popen(
        command_line("watch", "instrument", "pipeline", "--spool", "spool", "--settle", "0", "--interval", "0.1"),
        cwd=tmp_path,
        env=environment_of(home, connections),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout.readline().startswith("new: ")
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=30)
    finally:
        running.kill()
    assert (running.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["instrument", "pipeline"], 2, "--spool"),
        (["instrument", "asks", "--spool", "s"], 2, "nobody sits"),
        (["instrument", "unheard-of", "--spool", "s"], 1, "not found in client settings"),
        (["instrument", "wrong", "--spool", "s", "--once", "--settle", "0"], 4, "password"),
        (["instrument", "pipeline", "--spool", "s", "--settle", "-1"], 2, "seconds"),
        (["instrument", "pipeline", "--spool", "nowhere", "--status"], 1, "journal"),
    ],
)
def test_what_cannot_work_is_said_at_once(words, code, said, librarian, folder):
    (folder / "watched-refused.log").write_bytes(b"one\n")
    ran = librarian("watch", *words)
    assert ran.code == code, ran.err
    assert said in ran.err
