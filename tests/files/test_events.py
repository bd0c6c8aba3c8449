"""Histories: how lines are chained, what signed roots cover, and what a verification finds."""

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from files.models import EventHead, FileEvent
from files.services.event_verification import verify_events
from files.services.events import append_event, canonical_json, chain_digest
from files.services.roots import root_paths, write_root
from librarian.common.triggers import drop_triggers
from tests.make import make_file

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_home(settings, tmp_path) -> None:
    settings.LIBRARIAN_HOME = tmp_path


@pytest.fixture
def file():
    made = make_file("zen.2457561.1.uvh5")
    append_event(file=made, type="noted", actor="ann", facts={"text": "été"})
    append_event(file=made, type="noted", actor="bob", facts={"text": "two"})
    return made


def tamper(sql: str, *values: object) -> None:
    """What somebody with the database's password can do."""
    drop_triggers(connection)
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def test_each_line_is_chained_to_the_one_before(file) -> None:
    digest = "0" * 64
    for number, line in enumerate(FileEvent.objects.filter(file=file).order_by("number"), start=1):
        digest = chain_digest(digest, line.text)
        assert (line.number, line.digest) == (number, digest)
        assert json.loads(line.text)["number"] == number
    head = EventHead.objects.get(file=file)
    assert (head.count, head.digest) == (3, digest)


def test_canonical_json_is_one_text() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


def test_untouched_histories_hold_before_and_after_a_root(file) -> None:
    assert verify_events().findings == []
    write_root()
    append_event(file=file, type="noted", actor="ann")
    verdict = verify_events()
    assert verdict.findings == []
    assert (verdict.rooted_lines, verdict.younger, verdict.roots) == (3, 1, 1)


def test_a_root_holds_only_what_changed_since_the_last(file) -> None:
    assert write_root()["histories"] == 1
    assert write_root()["histories"] == 0
    append_event(file=file, type="noted", actor="ann")
    assert write_root()["histories"] == 1
    assert len(root_paths()) == 3
    assert verify_events().findings == []


def test_a_changed_line_is_found(file) -> None:
    tamper("UPDATE files_fileevent SET text = replace(text, 'two', 'six') WHERE number = 3")
    assert "line 3 is not the one that was written" in verify_events().findings[0]


def test_a_changed_column_is_found(file) -> None:
    tamper("UPDATE files_fileevent SET actor = 'eve' WHERE number = 2")
    assert "columns of line 2" in verify_events().findings[0]


def test_a_removed_line_is_found(file) -> None:
    tamper("DELETE FROM files_fileevent WHERE number = 2")
    assert "line 2 is missing" in verify_events().findings[0]


def test_reordered_lines_are_found(file) -> None:
    tamper("UPDATE files_fileevent SET number = 99 WHERE number = 2")
    tamper("UPDATE files_fileevent SET number = 2 WHERE number = 3")
    tamper("UPDATE files_fileevent SET number = 3 WHERE number = 99")
    assert verify_events().findings


def test_a_cut_off_tail_is_found_though_the_head_was_adjusted(file) -> None:
    write_root()
    last = FileEvent.objects.get(file=file, number=2)
    tamper("DELETE FROM files_fileevent WHERE number = 3")
    tamper("UPDATE files_eventhead SET count = 2, rooted_count = 2, digest = %s", last.digest)
    assert "it was cut off" in verify_events().findings[0]


def test_a_rewritten_history_is_found_though_it_is_consistent(file) -> None:
    write_root()
    line = FileEvent.objects.get(file=file, number=3)
    text = line.text.replace("two", "six")
    digest = chain_digest(FileEvent.objects.get(file=file, number=2).digest, text)
    tamper("UPDATE files_fileevent SET text = %s, digest = %s WHERE number = 3", text, digest)
    tamper("UPDATE files_eventhead SET digest = %s", digest)
    assert "not those that a root covers" in verify_events().findings[0]


def test_a_history_that_vanished_with_its_file_is_found(file) -> None:
    write_root()
    tamper("DELETE FROM files_fileevent")
    tamper("DELETE FROM files_eventhead")
    tamper("DELETE FROM files_file")
    assert "is gone from the database" in verify_events().findings[0]


@pytest.mark.parametrize("harm", ["change", "cut", "remove"])
def test_a_harmed_root_is_found(file, harm: str) -> None:
    write_root()
    append_event(file=file, type="noted", actor="ann")
    write_root()
    first = root_paths()[0]
    if harm == "remove":
        first.unlink()
    elif harm == "cut":
        first.write_bytes(b"".join(first.read_bytes().splitlines(keepends=True)[:-1]))
    else:
        first.write_bytes(first.read_bytes().replace(b",3,", b",2,"))
    assert verify_events().findings


def test_a_restored_database_is_named_and_accepted_once_by_a_named_person(file) -> None:
    write_root()
    second = FileEvent.objects.get(file=file, number=2)
    tamper("DELETE FROM files_fileevent WHERE number = 3")  # as an older backup has it
    tamper("UPDATE files_eventhead SET count = 2, rooted_count = 0, digest = %s", second.digest)
    assert verify_events().looks_restored
    with pytest.raises(CommandError, match="--by NAME"):
        call_command("verify_events", "--accept-restore", stdout=io.StringIO())
    call_command("verify_events", "--accept-restore", "--by", "Ann Operator", stdout=io.StringIO())
    assert json.loads(root_paths()[-1].read_text().splitlines()[0])["restore_accepted_by"] == "Ann Operator"
    assert verify_events().findings == []


def test_a_changed_line_is_never_accepted_as_a_restore(file) -> None:
    write_root()
    tamper("UPDATE files_fileevent SET text = replace(text, 'two', 'six') WHERE number = 3")
    with pytest.raises(CommandError, match="do not look like"):
        call_command("verify_events", "--accept-restore", "--by", "Ann", stdout=io.StringIO())


def test_the_command_says_what_is_younger_and_fails_on_findings(file) -> None:
    out = io.StringIO()
    call_command("verify_events", "--write-root", stdout=out)
    assert "1 roots cover 3, 0 lines are younger" in out.getvalue()
    tamper("DELETE FROM files_fileevent WHERE number = 2")
    with pytest.raises(CommandError) as failed:
        call_command("verify_events", stdout=io.StringIO(), stderr=io.StringIO())
    assert failed.value.returncode == 1
