"""`manage.py add_store`."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from librarian.common.models import AuditEntry
from stores.models import Store

pytestmark = pytest.mark.django_db


def add_store(*arguments: object) -> str:
    out = io.StringIO()
    call_command("add_store", *map(str, arguments), stdout=out, stderr=out)
    return out.getvalue()


def refused(*arguments: object) -> CommandError:
    with pytest.raises(CommandError) as refusal:
        add_store(*arguments)
    return refusal.value


def test_store_is_added_and_tried_out(tmp_path: Path) -> None:
    told = add_store("attic", "--path", tmp_path / "attic")
    store = Store.objects.get()
    assert store.configuration == {"root": str(tmp_path / "attic")}
    assert store.available
    assert "FAILS" not in told
    assert told.count("works") >= 4
    assert AuditEntry.objects.get().action == "add_store"


def test_options_are_kept(tmp_path: Path) -> None:
    arguments = ["--staging", tmp_path / "staging", "--host", "far", "--host", "farther", "--fullness-limit", 0.5]
    error = refused("attic", "--path", tmp_path / "attic", *arguments, "--not-ingestable")
    assert error.returncode == 4  # added, but this host does not reach it
    store = Store.objects.get()
    assert store.configuration["staging"] == str(tmp_path / "staging")
    assert (store.hosts, store.fullness_limit, store.ingestable) == (["far", "farther"], 0.5, False)
    assert not (tmp_path / "attic").exists()


def test_dry_run_changes_nothing(tmp_path: Path) -> None:
    told = add_store("attic", "--path", tmp_path / "attic", "--dry-run")
    assert "Would make the directory" in told
    assert not Store.objects.exists()
    assert not (tmp_path / "attic").exists()
    (tmp_path / "attic").mkdir()
    assert "Would write the marker" in add_store("attic", "--path", tmp_path / "attic", "--dry-run")
    assert "would be written" in add_store("attic", "--path", tmp_path / "attic", "--dry-run", "--host", "far")
    assert list((tmp_path / "attic").iterdir()) == []


def test_refusals_say_why(tmp_path: Path) -> None:
    add_store("attic", "--path", tmp_path / "attic")
    assert refused("attic", "--path", tmp_path / "other").returncode == 3
    assert "left as it is" in add_store("attic", "--path", tmp_path / "other", "--exists-ok")
    for arguments, word in (
        (["cellar", "--path", tmp_path / "attic" / "below"], "overlap"),
        (["bad name", "--path", tmp_path / "x"], "Letters"),
        (["cellar", "--path", tmp_path / "x", "--fullness-limit", 3], "fullness"),
        (["cellar", "--path", "/"], "root"),
    ):
        for more in ([], ["--dry-run"]):
            error = refused(*arguments, *more)
            assert error.returncode == 1
            assert word in str(error)
    Store.objects.all().delete()
    for more in ([], ["--dry-run"]):
        assert "marker" in str(refused("cellar", "--path", tmp_path / "attic", *more))
    assert not Store.objects.exists()


def test_stores_of_other_kinds_are_added(tmp_path: Path) -> None:
    """On another host, so that nothing is called."""
    node = ["node", "--kind", "ssh", "--destination", "archive@node1", "--path", "/data/a", "--python", "python3.11"]
    assert refused(*node, "--host", "far", "--ssh-host", "node1", "--provider", "rsync").returncode == 4
    cloud = ["cloud", "--kind", "s3", "--bucket", "archive", "--spool", "/data/spool", "--region", "eu-1"]
    assert refused(*cloud, "--host", "far").returncode == 4
    disk = ["disk", "--path", tmp_path / "disk", "--travelling"]
    add_store(*disk)
    stores = {store.name: store for store in Store.objects.all()}
    assert stores["node"].configuration == {"host": "archive@node1", "root": "/data/a", "python": "python3.11"}
    assert (stores["node"].ssh_host, stores["node"].providers) == ("node1", ["rsync"])
    assert stores["cloud"].configuration == {"bucket": "archive", "spool": "/data/spool", "region": "eu-1"}
    assert (stores["disk"].travelling, stores["disk"].ingestable) == (True, False)


def test_options_of_another_kind_are_refused(tmp_path: Path) -> None:
    for arguments, words in (
        (["x", "--path", tmp_path / "x", "--bucket", "b"], "--bucket is no option of a store of kind posix"),
        (["x", "--kind", "ssh", "--path", "/data/a"], "--destination"),
        (["x", "--kind", "ssh", "--destination", "node1"], "--path DIR"),
        (["x", "--kind", "s3", "--bucket", "archive"], "'spool' is missing"),
        (["x"], "--path DIR"),
    ):
        error = refused(*arguments)
        assert error.returncode == 1
        assert words in str(error)
    assert not Store.objects.exists()
