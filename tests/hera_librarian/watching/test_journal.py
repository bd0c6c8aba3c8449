"""The watcher's journal: what it keeps, and what it survives."""

import os
import sqlite3

import pytest

from hera_librarian.exceptions import LibrarianError
from hera_librarian.uploading import UploadResult
from hera_librarian.uploading.memory import UploadKey
from hera_librarian.watching import Journal, State, read_status
from hera_librarian.watching.memory import JournalMemory
from hera_librarian.watching.spool import holding, make_spool

pytestmark = pytest.mark.database_independent
KEY = UploadKey("http://site/api", "me", "/a", "1:2:3", "filename=a")


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def journal(spool):
    with Journal(spool) as opened:
        yield opened


def states(journal):
    return {entry.path: entry.state for entry in journal.in_state(*State)}


def test_a_product_is_one_row_however_often_it_is_looked_at_and_tried(journal, spool):
    failed = UploadResult("/a", outcome="failed", code="store_full", reason="No room.")
    for number in range(300):
        journal.note_seen([("a", f"{number}:1:1", number)])
        journal.move(["a"], State.SENDING)
        journal.note_results([("a", State.FAILED, failed)])
    assert states(journal) == {"a": State.FAILED}
    assert read_status(spool)["failed"][0]["reason"] == "No room."


def test_everything_is_there_after_a_restart(spool):
    receipt = {"id": 7, "file": "a", "outcome": "new"}
    with Journal(spool) as journal:
        journal.note_seen([("a", "1:2:3", 1), ("b", "4:5:6", 4), ("c", "7:8:9", 7)])
        journal.note_results([("a", State.DELIVERED, UploadResult("/a", "a", "new", 1, "xxh3:::00", receipt=receipt))])
        journal.move(["b"], State.SETTLED)
        with JournalMemory(journal).holding(KEY) as held:
            held.remember("http://site/api/v3/uploads/7/", "")
    with Journal(spool) as journal:
        assert states(journal) == {"a": State.DELIVERED, "b": State.SETTLED, "c": State.SEEN}
        assert journal.look_up(["a", "x"])["a"].identity == "1:2:3"
        with JournalMemory(journal).holding(KEY) as held:
            assert held.location == "http://site/api/v3/uploads/7/"
            held.forget()
        with JournalMemory(journal).holding(KEY) as held:
            assert held.location == ""
    with sqlite3.connect(spool / "journal.sqlite3") as db:
        assert db.execute("SELECT receipt FROM product WHERE path = ?", [b"a"]).fetchone() == (
            '{"id": 7, "file": "a", "outcome": "new"}',
        )
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("spoil", ["garbage", "middle"])
def test_a_broken_journal_is_set_aside_and_a_new_one_begins(spool, spoil):
    with Journal(spool) as journal:
        journal.note_seen([(f"product-{number}", "1:2:3", 1) for number in range(2000)])
    path = spool / "journal.sqlite3"
    if spoil == "garbage":
        path.write_bytes(b"this was a journal once" * 1000)
    else:
        with path.open("r+b") as file:
            file.seek(8192)
            file.write(os.urandom(60_000))
    with Journal(spool) as journal:
        journal.note_seen([("a", "1:2:3", 1)])
        assert states(journal) == {"a": State.SEEN}
    assert list(spool.glob("journal.sqlite3.broken-*"))


def test_names_that_are_no_text_are_kept_as_they_are(journal, spool):
    path = os.fsdecode(b"night/\xff.dat")
    journal.note_seen([(path, "1:2:3", 1)])
    journal.note_results([(path, State.FAILED, UploadResult("x", outcome="failed", reason=f"{path} is bad"))])
    assert states(journal) == {path: State.FAILED}
    assert read_status(spool)["failed"][0]["path"] == "night/\\xff.dat"


def test_only_what_is_over_and_no_longer_on_the_disk_is_pruned(journal, tmp_path):
    (tmp_path / "kept").write_text("")
    journal.note_seen([("kept", "1", 0), ("gone", "2", 0), ("waiting", "3", 0)])
    journal.move(["kept", "gone"], State.DELIVERED)
    assert journal.prune(str(tmp_path), keep_days=1) == 0
    assert journal.prune(str(tmp_path / "not mounted"), keep_days=-1) == 0
    assert journal.prune(str(tmp_path), keep_days=-1) == 1
    assert states(journal) == {"kept": State.DELIVERED, "waiting": State.SEEN}


def test_only_its_owner_can_read_it(journal, spool):
    assert spool.stat().st_mode & 0o777 == 0o700
    assert (spool / "journal.sqlite3").stat().st_mode & 0o777 == 0o600


def test_a_spool_is_one_watchers(spool):
    with holding(make_spool(spool)), pytest.raises(LibrarianError) as refused, holding(spool):
        pass
    assert refused.value.code == "spool_in_use"
    with holding(spool):
        pass


def test_what_is_no_spool_is_told(tmp_path):
    with pytest.raises(LibrarianError) as refused:
        read_status(tmp_path)
    assert refused.value.code == "no_journal"
    (tmp_path / "file").write_text("")
    with pytest.raises(LibrarianError) as refused:
        Journal(tmp_path / "file" / "spool")
    assert refused.value.code == "spool_unusable"
