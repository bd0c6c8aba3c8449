"""Peers out of `~/.hl_client.cfg`: both forms, under the sites' own names, and nothing that is known is touched."""

import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from network.models import Peer
from tests.make import make_peer

pytestmark = pytest.mark.django_db


@pytest.fixture
def write(tmp_path):
    def write(**connections):
        path = tmp_path / "hl_client.cfg"
        path.write_text(json.dumps({"connections": connections}))
        path.chmod(0o600)
        return path

    return write


@pytest.fixture(autouse=True)
def no_other_connections(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HL_CLIENT_CONFIG", raising=False)
    monkeypatch.delenv("LIBRARIAN_CLIENT_CONNECTIONS", raising=False)


@pytest.fixture
def site(standin):
    standin.answers["v2/ping/"] = (200, {"name": "karoo", "description": "The Karoo"})
    return standin


def seeds(server):
    return {"url": f"http://127.0.0.1:{server.port}/", "authenticator": "test_librarian:right"}


def run(capsys, path, *arguments):
    call_command("import_connections", *arguments, *(["--file", str(path)] if path else []))
    return capsys.readouterr().out


def test_both_forms_become_peers_under_their_own_names(site, start_standin, write, capsys):
    other = start_standin()
    other.answers["v2/ping/"] = (200, {"name": "central", "description": ""})
    classic = {"host": "http://127.0.0.1", "port": other.port, "user": "test_librarian", "password": "right"}
    said = run(capsys, write(local=seeds(site), central=classic))
    assert said.splitlines()[0].startswith("local (karoo): added.")
    peer = Peer.objects.get(name="karoo")
    assert (peer.url, peer.port, peer.answers) == ("http://127.0.0.1", site.port, True)
    assert peer.account().authenticator == "test_librarian:right"
    assert Peer.objects.get(name="central").port == other.port


def test_the_usual_place_is_read(site, write, capsys, tmp_path):
    (tmp_path / "home").mkdir()
    write(local=seeds(site)).rename(tmp_path / "home" / ".hl_client.cfg")
    run(capsys, None)
    assert Peer.objects.get().name == "karoo"


def test_a_dry_run_changes_nothing_and_a_second_run_either(site, write, capsys):
    path = write(local=seeds(site))
    assert "local (karoo): would be added." in run(capsys, path, "--dry-run")
    assert not Peer.objects.exists()
    run(capsys, path)
    before = Peer.objects.values().get()
    assert "local (karoo): known already." in run(capsys, path)
    assert (
        Peer.objects.values("pk", "sealed_authenticator").get()["sealed_authenticator"]
        == before["sealed_authenticator"]
    )


def test_a_known_name_at_another_address_is_left(site, write, capsys):
    make_peer("karoo", port=1)
    assert "another address" in run(capsys, write(local=seeds(site)))
    assert Peer.objects.get().port == 1


def test_a_name_for_people_is_no_name_of_a_peer(site, write, capsys):
    site.answers["v2/ping/"] = (200, {"name": "The Karoo site", "description": ""})
    assert "name for people" in run(capsys, write(local=seeds(site)))
    assert Peer.objects.get().name == "local"


def test_only_those_that_are_named(site, write, capsys):
    path = write(local=seeds(site), other={"url": "http://127.0.0.1:1/", "authenticator": "a:b"})
    run(capsys, path, "local")
    assert Peer.objects.count() == 1
    with pytest.raises(CommandError, match="no connection called nowhere"):
        run(capsys, path, "nowhere")


def test_one_that_fails_is_told_and_the_others_are_added(site, write, capsys, free_port):
    path = write(
        away={"url": f"http://127.0.0.1:{free_port}/", "authenticator": "a:b"},
        wrong={**seeds(site), "authenticator": "test_librarian:wrong"},
        odd={"url": 7},
        mute={"url": "http://127.0.0.1:5/", "user": "me"},
        local=seeds(site),
    )
    with pytest.raises(CommandError, match="4 not added"):
        run(capsys, path)
    said = capsys.readouterr().out
    assert "cannot be reached" in said
    assert "does not accept our credentials" in said
    assert "neither 'url' nor 'host'" in said
    assert "no password" in said
    assert "right" not in said
    assert [peer.name for peer in Peer.objects.all()] == ["karoo"]


def test_unchecked_calls_nobody_and_takes_the_name_of_the_connection(site, write, capsys):
    run(capsys, write(local=seeds(site)), "--no-check")
    assert Peer.objects.get().name == "local"
    assert site.asked == []


def test_this_site_itself_is_no_peer(site, write, capsys):
    site.answers["v2/ping/"] = (200, {"name": "test_librarian", "description": ""})
    with pytest.raises(CommandError):
        run(capsys, write(local=seeds(site)))
    assert not Peer.objects.exists()


def test_a_file_that_is_none_says_so(write, tmp_path, capsys):
    with pytest.raises(CommandError, match="no file"):
        run(capsys, tmp_path / "nothing")
    with pytest.raises(CommandError, match="no connections"):
        run(capsys, write())
    path = write()
    path.write_text("{")
    with pytest.raises(CommandError, match="not JSON"):
        run(capsys, path)
