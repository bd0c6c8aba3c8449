"""What lets another process go on with an upload."""

import json
import os
import time
from email.utils import formatdate

import pytest

from hera_librarian.uploading.memory import Forgetful, Memory, UploadKey, default_folder

pytestmark = pytest.mark.database_independent
SOON = formatdate(time.time() + 86400, usegmt=True)
PLACE = "http://site/api/v3/uploads/7/"


def key(**changes):
    parts = {"server": "http://site/api", "account": "me", "path": "/a", "identity": "1:2:3", "wishes": "filename=a"}
    return UploadKey(**{**parts, **changes})


@pytest.fixture
def memory(tmp_path):
    return Memory(tmp_path / "cache" / "uploads")


def remember(memory, location=PLACE, expires_at=SOON, **changes):
    with memory.holding(key(**changes)) as held:
        held.remember(location, expires_at)


def location(memory, **changes):
    with memory.holding(key(**changes)) as held:
        return held.location


def test_another_process_finds_it(memory):
    remember(memory)
    assert location(Memory(memory.folder)) == PLACE


@pytest.mark.parametrize("part", ["server", "account", "path", "identity", "wishes"])
def test_anything_else_is_another_upload(memory, part):
    remember(memory)
    assert location(memory, **{part: "another"}) == ""


def test_only_its_owner_can_read_it(memory):
    previous = os.umask(0)
    try:
        remember(memory)
    finally:
        os.umask(previous)
    assert memory.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in memory.folder.iterdir()} == {0o600}


def test_what_is_over_leaves_nothing_behind(memory):
    with memory.holding(key()) as held:
        held.remember(PLACE, SOON)
        held.forget()
    assert list(memory.folder.iterdir()) == []


def test_a_second_process_on_the_same_upload_does_not_interfere(memory):
    with memory.holding(key()) as first:
        first.remember(PLACE, SOON)
        with memory.holding(key()) as second:
            assert isinstance(second, Forgetful)
            second.remember("http://site/api/v3/uploads/8/", SOON)
            second.forget()
    assert location(memory) == PLACE


def test_expired_ones_are_dropped_and_live_ones_stay(memory):
    remember(memory, path="/live")
    remember(memory, path="/old", expires_at=formatdate(time.time() - 3 * 86400, usegmt=True))
    remember(memory, path="/undated", expires_at="")
    assert memory.drop_expired() == 1
    assert location(memory, path="/live") == location(memory, path="/undated") == PLACE
    assert location(memory, path="/old") == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"location": 5}'])
def test_a_spoilt_file_is_as_good_as_none(memory, text):
    remember(memory)
    next(memory.folder.glob("*.json")).write_text(text)
    assert location(memory) == ""


def test_a_folder_that_cannot_be_made_costs_the_memory_only(tmp_path):
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "uploads")
    remember(memory)
    assert location(memory) == ""
    assert memory.drop_expired() == 0


def test_names_that_are_no_text_are_remembered(memory):
    path = os.fsdecode(b"/data/\xff")
    remember(memory, path=path)
    assert location(memory, path=path) == PLACE
    assert json.loads(next(memory.folder.glob("*.json")).read_text())["location"] == PLACE


def test_it_lies_in_the_cache_of_its_owner(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "librarian" / "uploads"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "librarian" / "uploads"
