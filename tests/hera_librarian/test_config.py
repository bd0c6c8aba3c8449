"""Connections by name: both forms of the configuration, the environment, permissions, secrets that stay secret."""

import json

import pytest

from hera_librarian.config import (
    ClientInfo,
    LibrarianConfigWarning,
    NoSuchConnectionError,
    all_connections,
    connection,
    get_client_config,
    load_settings,
    read_connection,
)
from hera_librarian.exceptions import LibrarianError

pytestmark = pytest.mark.database_independent

SECRET = "s3cr3t-of-mine"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory without a configuration, and nothing in the environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HL_CLIENT_CONFIG", "LIBRARIAN_CLIENT_CONNECTIONS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def write(home):
    """`write(connections)` makes ~/.hl_client.cfg, private unless told otherwise."""

    def make(connections, name=".hl_client.cfg", mode=0o600, **more):
        path = home / name
        text = connections if isinstance(connections, str) else json.dumps({"connections": connections, **more})
        path.write_text(text)
        path.chmod(mode)
        return path

    return make


MODERN = {"host": "http://localhost", "port": 12345, "user": "me", "password": "pa:ss"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (MODERN, ClientInfo("http://localhost", 12345, "me", "pa:ss")),
        ({**MODERN, "comment": "x"}, ClientInfo("http://localhost", 12345, "me", "pa:ss")),
        (
            {"url": "http://librarian-b.example.edu:21106/", "authenticator": "sampleauth"},
            ClientInfo("http://librarian-b.example.edu", 21106, token="sampleauth"),
        ),
        (
            {"url": "http://localhost:21110/", "authenticator": "me:pa:ss", "globus_endpoint_id": "x"},
            ClientInfo("http://localhost", 21110, "me", "pa:ss"),
        ),
        ({"url": "https://x.org/lib/", "token": "t"}, ClientInfo("https://x.org/lib", 443, token="t")),
        ({"url": "http://x.org", "port": "8080", "token": "t"}, ClientInfo("http://x.org", 8080, token="t")),
        ({"host": "http://x.org", "port": 80}, ClientInfo("http://x.org", 80)),
    ],
)
def test_both_forms_are_read(entry, expected):
    assert read_connection(entry) == expected


@pytest.mark.parametrize(
    "entry",
    [
        [],
        {},
        {"url": "localhost:21106"},
        {"host": "http://x", "port": "http"},
        {"host": "http://x", "port": True},
        {"host": "http://x", "port": 0},
        {"host": "http://x:1", "port": 2},
        {"url": "http://x", "authenticator": SECRET, "password": SECRET},
        {"url": "http://x", "token": SECRET, "user": "me"},
        {"url": "http://x", "usr": "me", "password": SECRET},
        {"url": "http://x", "user": "me", "password": SECRET, "password_env": "X"},
        {"url": "http://x", "user": "me", "password": [SECRET]},
        {"url": f"http://me:{SECRET}@x", "token": "t"},
    ],
)
def test_what_is_no_connection_is_refused_without_showing_its_secret(entry):
    with pytest.raises(LibrarianError) as refused:
        read_connection(entry)
    assert SECRET not in f"{refused.value} {refused.value.suggested_remedy}"


def test_the_first_configuration_that_exists_counts(home, write, monkeypatch):
    write({"a": {"url": "http://json"}}, ".hl_client.json")
    assert connection("a").host == "http://json"
    write({"a": {"url": "http://cfg"}})
    assert connection("a").host == "http://cfg"
    named = write({"a": {"url": "http://named"}}, "named.cfg")
    monkeypatch.setenv("HL_CLIENT_CONFIG", str(named))
    assert connection("a").host == "http://named"
    monkeypatch.setenv("HL_CLIENT_CONFIG", "~/named.cfg")
    assert load_settings().path == named
    named.unlink()
    with pytest.warns(LibrarianConfigWarning, match="HL_CLIENT_CONFIG names"):
        assert connection("a").host == "http://cfg"


def test_the_environment_adds_connections_and_the_file_wins(write, monkeypatch):
    more = {"a": {"url": "http://environment"}, "b": {"url": "http://environment"}}
    monkeypatch.setenv("LIBRARIAN_CLIENT_CONNECTIONS", json.dumps(more))
    assert connection("a").host == "http://environment"  # suffices alone
    write({"a": {"url": "http://file"}})
    assert {name: info.host for name, info in load_settings().connections.items()} == {
        "a": "http://file",
        "b": "http://environment",
    }
    assert get_client_config() == {"connections": {"a": {"url": "http://file"}, "b": {"url": "http://environment"}}}


def test_an_unknown_connection_is_named_with_those_that_exist(home, write):
    with pytest.raises(NoSuchConnectionError) as unknown:
        connection("x")
    assert str(unknown.value) == "Connection name x not found in client settings."
    assert unknown.value.conn_name == "x"
    write({"karoo": {"url": "http://x"}})
    with pytest.raises(LibrarianError) as unknown:
        connection("x")
    assert "karoo" in unknown.value.suggested_remedy


def test_one_bad_connection_leaves_the_others_usable(write):
    write({"good": {"url": "http://x", "token": "t"}, "bad": {"token": SECRET}, "worse": 5})
    with pytest.warns(LibrarianConfigWarning) as warned:
        settings = load_settings()
    assert len(warned) == 2
    assert list(settings.connections) == ["good"]
    assert settings.connection("good").host == "http://x"
    assert [problem.partition(":")[0] for problem in settings.problems] == ["Connection bad", "Connection worse"]
    with pytest.raises(LibrarianError, match="cannot be used"):
        settings.connection("bad")
    assert SECRET not in repr(settings)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"connections": []}', "\ufeff{}", "[" * 100_000])
def test_what_is_no_configuration_is_refused(write, text):
    write(text)
    with pytest.raises(LibrarianError):
        load_settings()


def test_entries_that_mean_nothing_are_told(write):
    write({"a": {"url": "http://x"}}, conections={})
    with pytest.warns(LibrarianConfigWarning, match="conections"):
        load_settings()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_with_secrets_that_others_can_read_is_told(write, mode):
    path = write({"a": MODERN}, mode=mode)
    with pytest.warns(LibrarianConfigWarning, match=f"chmod 600 {path}"):
        assert load_settings().connections["a"].password == "pa:ss"
    assert load_settings(warn=False).problems


def test_a_file_without_secrets_may_be_read_by_others(write, recwarn):
    write({"a": {"url": "http://x", "user": "me", "password_file": "~/.password"}}, mode=0o644)
    load_settings(warn=False)
    settings = load_settings(warn=False)
    assert [problem for problem in settings.problems if "chmod" in problem] == []


@pytest.mark.parametrize("mode", [0o602, 0o666, 0o777])
def test_a_file_that_anybody_can_write_is_not_believed(write, mode):
    write({"a": {"url": "http://x"}}, mode=mode)
    with pytest.raises(LibrarianError, match="written by anybody"):
        load_settings()


@pytest.mark.parametrize("kind", ["password", "token", "authenticator"])
def test_secrets_come_from_files_and_from_the_environment(home, write, monkeypatch, kind):
    user = {"user": "me"} if kind == "password" else {}
    secret = home / "secret"
    secret.write_text(f"{SECRET}\nnot this\n")
    secret.chmod(0o600)
    write(
        {
            "a": {"url": "http://x", **user, f"{kind}_file": "~/secret"},
            "b": {"url": "http://x", **user, f"{kind}_env": "MINE"},
        }
    )
    monkeypatch.setenv("MINE", SECRET)
    for info in load_settings().connections.values():
        assert SECRET in (info.password, info.token)
        assert SECRET not in repr(info)
    assert len(load_settings().connections) == 2


@pytest.mark.parametrize(("content", "mode"), [(SECRET, 0o640), (SECRET, 0o604), ("", 0o600), ("\n", 0o600), (None, 0)])
def test_files_that_hold_no_secret_any_more_are_refused(home, content, mode):
    path = home / "secret"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(LibrarianError) as refused:
        read_connection({"url": "http://x", "user": "me", "password_file": str(path)})
    assert SECRET not in str(refused.value)
    with pytest.raises(LibrarianError, match="NOT_SET"):
        read_connection({"url": "http://x", "token_env": "NOT_SET"}, environ={})


def test_a_user_without_a_password_has_to_be_asked(write):
    write({"a": {"url": "http://x", "user": "me"}})
    assert connection("a").lacks_password
    assert not read_connection(MODERN).lacks_password
    assert not read_connection({"url": "http://x", "token": "t"}).lacks_password


def test_a_client_for_each_connection(write):
    write({"a": {"url": "http://x:1/", "authenticator": "me:b"}, "b": {"url": "http://y/", "authenticator": "t"}})
    assert [(client.name, client.host, client.port) for client in all_connections()] == [
        ("a", "http://x", 1),
        ("b", "http://y", 80),
    ]
