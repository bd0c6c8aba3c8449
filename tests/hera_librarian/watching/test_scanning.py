"""When a product counts as settled, on a clock of the test's own."""

import os

import pytest

from hera_librarian.exceptions import LibrarianError
from hera_librarian.watching import Journal, State, read_status
from hera_librarian.watching.scanning import Scanner

pytestmark = pytest.mark.database_independent


class Looker:
    """A scanner, its journal and its clock; `look(seconds)` looks after so many seconds and tells the states."""

    def __init__(self, directory, spool):
        self.now = 0.0
        self.directory = str(directory)
        self.journal = Journal(spool)
        self.restart()

    def restart(self, **options):
        options = {"settle_seconds": 60.0, "clock": lambda: self.now} | options
        self.scanner = Scanner(self.directory, self.journal, **options)

    def look(self, seconds=0.0):
        self.now += seconds
        self.scanner.scan()
        return {entry.path: str(entry.state) for entry in self.journal.in_state(*State)}


@pytest.fixture
def watched(tmp_path):
    (tmp_path / "watched").mkdir()
    return tmp_path / "watched"


@pytest.fixture
def looker(tmp_path, watched):
    looking = Looker(watched, tmp_path / "spool")
    yield looking
    looking.journal.close()


def test_a_product_settles_when_it_was_the_same_for_long_enough(looker, watched):
    (watched / "a").write_bytes(b"1")
    assert looker.look() == {"a": "seen"}
    assert looker.look(59) == {"a": "seen"}
    (watched / "a").write_bytes(b"22")
    assert looker.look(1) == {"a": "seen"}
    assert looker.look(59) == {"a": "seen"}
    assert looker.look(1) == {"a": "settled"}


@pytest.mark.parametrize("mtime", [0, 4_000_000_000])
def test_times_on_the_disk_decide_nothing(looker, watched, mtime):
    """The date stepped back or ahead: what was written a moment ago may look decades old, or yet to come."""
    (watched / "a").write_bytes(b"1")
    os.utime(watched / "a", (mtime, mtime))
    assert looker.look() == {"a": "seen"}
    assert looker.look(59) == {"a": "seen"}
    os.utime(watched / "a", (mtime - 1000 if mtime else 5, 5))
    assert looker.look(10) == {"a": "seen"}
    assert looker.look(60) == {"a": "settled"}


def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_another(looker, watched):
    (watched / "a").write_bytes(b"1")
    os.utime(watched / "a", (5, 5))
    looker.look()
    (watched / "new").write_bytes(b"2")
    os.utime(watched / "new", (5, 5))
    (watched / "new").rename(watched / "a")
    assert looker.look(60) == {"a": "seen"}


def test_a_directory_product_settles_as_a_whole(looker, watched):
    (watched / "zen.uv").mkdir()
    (watched / "zen.uv" / "header").write_bytes(b"1")
    assert looker.look() == {"zen.uv": "seen"}
    (watched / "zen.uv" / "visdata").write_bytes(b"2")
    assert looker.look(60) == {"zen.uv": "seen"}
    assert looker.look(60) == {"zen.uv": "settled"}


def test_names_under_which_something_was_being_written_are_forgotten(looker, watched):
    (watched / "a.part").write_bytes(b"1")
    (watched / ".hidden").write_bytes(b"1")
    assert looker.look() == {"a.part": "seen"}
    (watched / "a.part").rename(watched / "a")
    assert looker.look(60) == {"a": "seen"}
    assert looker.look(60) == {"a": "settled"}


def test_after_a_restart_settling_begins_again(looker, watched):
    (watched / "a").write_bytes(b"1")
    looker.look()
    looker.now = 1_000_000.0
    looker.restart()
    assert looker.look() == {"a": "seen"}
    assert looker.look(60) == {"a": "settled"}


def test_what_was_delivered_stays_so_until_it_changes(looker, watched):
    (watched / "a").write_bytes(b"1")
    looker.look()
    looker.journal.move(["a"], State.DELIVERED)
    assert looker.look(600) == {"a": "delivered"}
    (watched / "a").write_bytes(b"other")
    assert looker.look() == {"a": "seen"}


def test_what_cannot_be_delivered_says_why_and_waits_for_its_repair(looker, watched, tmp_path):
    os.mkfifo(watched / "pipe")
    (watched / "link").symlink_to("/etc/passwd")
    (watched / "zen.uv").mkdir()
    (watched / "zen.uv" / "out").symlink_to("/etc/passwd")
    expected = {"pipe": "failed", "link": "failed", "zen.uv": "failed"}
    assert looker.look() == looker.look(600) == expected
    reasons = {each["path"]: each["reason"] for each in read_status(tmp_path / "spool")["failed"]}
    assert "link" in reasons["link"]
    assert "leaves the product" in reasons["zen.uv"]
    (watched / "zen.uv" / "out").unlink()
    (watched / "zen.uv" / "out").write_bytes(b"1")
    assert looker.look() == {**expected, "zen.uv": "seen"}


def test_what_was_given_up_is_shown_no_longer_once_it_is_taken_away(looker, watched):
    (watched / "link").symlink_to("elsewhere")
    (watched / "taken").write_bytes(b"1")
    looker.look()
    assert looker.look(60) == {"link": "failed", "taken": "settled"}
    looker.journal.move(["taken"], State.CONFLICT)
    assert looker.look() == {"link": "failed", "taken": "conflict"}
    (watched / "link").unlink()
    (watched / "taken").rename(watched / "new-name")
    assert looker.look() == {"link": "vanished", "taken": "vanished", "new-name": "seen"}


def test_a_directory_that_is_not_there_says_nothing_of_what_was_in_it(looker, watched):
    (watched / "a").write_bytes(b"1")
    looker.look()
    watched.rename(watched.with_name("unmounted"))
    with pytest.raises(LibrarianError) as away:
        looker.look()
    assert away.value.code == "directory_missing"
    assert [entry.path for entry in looker.journal.in_state(State.SEEN)] == ["a"]


def test_the_spool_and_other_patterns_are_passed_over(looker, watched):
    (watched / "a.uvh5").write_bytes(b"1")
    (watched / "a.log").write_bytes(b"1")
    (watched / "deep").mkdir()
    (watched / "deep" / "b.uvh5").write_bytes(b"1")
    looker.journal.spool = watched / "deep"
    looker.restart(pattern="*.uvh5")
    assert looker.look() == {"a.uvh5": "seen"}
