"""`manage.py copy_to_store` and `manage.py offload`: what they say, do and refuse."""

import json

import pytest
from django.core.management import CommandError, call_command

from files.models import Instance, Offload, StoreCopy
from files.services.copying import copy_files
from files.services.offloading import run_offloads
from librarian.common.models import AuditEntry
from tests.make import make_file, make_store

pytestmark = pytest.mark.django_db


@pytest.fixture
def stores(tmp_path):
    return [make_store(tmp_path, name=name) for name in ("old", "new", "newer")]


def run(capsys, *words):
    call_command(*words)
    return capsys.readouterr().out


def test_it_shows_first_and_does_it_when_told(stores, capsys):
    file = make_file("zen.2457561.1.uvh5", store=stores[0], content=b"x" * 2_000_000)
    make_file("zen.2457561.2.uvh5", store=stores[0])
    asked = ("copy_to_store", file.name, "--to", "new", "--to", "newer")
    assert "1 files of 2.0 MB would be copied to new, then newer" in run(capsys, *asked)
    assert not StoreCopy.objects.exists()
    assert "are copied to new" in run(capsys, *asked, "--yes")
    assert StoreCopy.objects.get().targets == [stores[1].pk, stores[2].pk]
    assert AuditEntry.objects.get().action == "want_copies"
    copy_files()
    assert json.loads(run(capsys, *asked, "--json")) == {
        "files": 0,
        "size_bytes": 0,
        "stores": ["new", "newer"],
        "wanted": False,
    }


def test_files_are_found_by_search(stores, capsys, monkeypatch):
    for number in range(3):
        make_file(f"zen.2457561.{number}.uvh5", store=stores[0])
    make_file("other.txt", store=stores[0])
    search = '{"name-matches": "zen.%"}'
    assert json.loads(run(capsys, "copy_to_store", "--to", "new", "--search", search, "--yes", "--json"))["files"] == 3
    assert StoreCopy.objects.count() == 3


@pytest.mark.parametrize(
    "words",
    [
        ["--to", "new"],
        ["--to", "new", "zen.uvh5", "--search", "{}"],
        ["--to", "new", "--search", "{}"],
        ["--to", "none", "zen.uvh5"],
        ["--to", "new", "no-such-file"],
    ],
)
def test_what_is_not_understood_is_refused(stores, words):
    make_file("zen.uvh5", store=stores[0])
    with pytest.raises(CommandError) as refused:
        call_command("copy_to_store", *words, "--yes")
    assert refused.value.returncode == 1
    assert not StoreCopy.objects.exists()


def test_a_store_is_emptied_by_command(stores, capsys):
    make_file(store=stores[0])
    said = run(capsys, "offload", "old", "--to", "new", "--drain")
    assert said.startswith("Store old: running; 0 of 1 files have another verified copy, 1 are left")
    stores[0].refresh_from_db()
    assert not stores[0].ingestable
    assert "paused" in run(capsys, "offload", "old", "--pause")
    assert "running" in run(capsys, "offload", "old", "--resume")
    run_offloads()
    copy_files()
    run_offloads()
    status = json.loads(run(capsys, "offload", "old", "--status", "--json"))
    assert (status["state"], status["files_safe"], status["files_left"]) == ("done", 1, 0)
    assert Instance.objects.filter(deletion_policy=1).count() == 1
    with pytest.raises(CommandError):
        call_command("offload", "old", "--stop")


@pytest.mark.parametrize("words", [["old"], ["old", "--to", "old"], ["old", "--status"], ["none", "--to", "new"]])
def test_an_offload_that_cannot_be_is_refused(stores, words):
    with pytest.raises(CommandError):
        call_command("offload", *words)
    assert not Offload.objects.exists()
