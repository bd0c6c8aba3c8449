"""The frame of the command: help, refusals, failures of every kind, and what a script can rely on."""

import os
import re
import shlex
import signal
import subprocess
import sys

import pytest

from hera_librarian.cli.parser import VERBS, verb_parser
from hera_librarian.cli.verbs.refused import REFUSED
from tests.hera_librarian.cli.running import ROOT, command_line, environment_of, run_command
from tests.hera_librarian.foreign import Answer, Foreign

CONNECTION_FAILURES = {
    "nobody-listens": (3, "could not be reached"),
    "no-such-host": (3, "name of the host"),
    "no-tls": (3, "certificate"),
    "unheard-of": (1, "Connection name unheard-of not found in client settings."),
}


@pytest.fixture
def alone(home, tmp_path):
    """The command without any server."""

    def run(*words, connections=None, **environment):
        return run_command(*words, cwd=tmp_path, env=environment_of(home, connections or {}, **environment))

    return run


@pytest.mark.database_independent
def test_help_lists_every_verb(alone):
    ran = alone("--help")
    assert ran.code == 0
    assert set(VERBS) <= set(re.findall(r"[a-z-]+", ran.out))


@pytest.mark.database_independent
def test_the_version_is_told(alone):
    assert re.fullmatch(r"librarian \S+\n", alone("-V").out)
    assert alone("--version").out == alone("-V").out


@pytest.mark.database_independent
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb):
    parser = verb_parser(verb)
    assert parser.description
    assert "--json" in parser.format_help()


@pytest.mark.database_independent
@pytest.mark.parametrize("verb", sorted(REFUSED))
def test_a_verb_that_is_gone_says_what_to_use_whatever_follows_it(verb, alone):
    ran = alone(verb, "CONN", "--noop", "x=1")
    assert ran.code == 1
    assert ran.err == f"error: The verb {verb} no longer exists.\n  {REFUSED[verb]}\n"
    assert ran.out == ""


@pytest.mark.database_independent
@pytest.mark.parametrize("words", [[], ["sing"], ["ping"], ["ping", "a", "b"], ["revoke-token", "a", "minus-one"]])
def test_wrong_words_end_with_2(words, alone):
    ran = alone(*words)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) == 2
    assert ran.out == ""


@pytest.mark.database_independent
@pytest.mark.parametrize(
    "words", [["ping"], ["revoke-token", "a", "minus-one"], ["upload", "a", "b", "c", "--obsid", "x"]]
)
def test_wrong_words_are_json_when_json_is_wanted(words, alone):
    ran = alone(*words, "--json")
    assert ran.code == 2
    assert ran.document["error"]["code"] == "wrong_usage"
    assert ran.err.startswith(f"error: {ran.document['error']['reason']}")


@pytest.mark.database_independent
def test_the_package_of_the_command_imports_nothing_heavy():
    code = "import sys, hera_librarian.cli; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"requests", "pydantic", "tqdm", "xxhash", "astropy", "django"} & set(ran.stdout.split()) == set()


# --- The page of the manual -------------------------------------------------------------------------------------------


def told_of(verb: str) -> str:
    text = (ROOT / "docs/cli.md").read_text()
    return re.search(rf"^### {verb}\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)[1]


@pytest.mark.database_independent
@pytest.mark.parametrize("verb", VERBS)
def test_the_manual_tells_of_every_option_and_of_no_other(verb):
    options = {option for action in verb_parser(verb)._actions for option in action.option_strings if option[1] == "-"}
    told = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", told_of(verb)))
    assert told - options <= {"--check"}, "sha256sum's own"
    assert options - told <= {"--help"}


@pytest.mark.database_independent
def test_the_manual_tells_of_every_verb_that_is_gone_and_of_every_exit_code():
    from hera_librarian.cli.failures import ExitCode

    text = (ROOT / "docs/cli.md").read_text()
    assert all(f"`{verb}`" in text for verb in REFUSED)
    codes = re.search(r"### Exit codes\n(.*?)\n## ", text, re.DOTALL)[1]
    assert {int(number) for number in re.findall(r"^\| (\d+) \|", codes, re.MULTILINE)} == set(ExitCode)


# --- Connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connection", CONNECTION_FAILURES)
def test_a_connection_that_does_not_work_is_two_lines_and_a_code(connection, librarian):
    code, said = CONNECTION_FAILURES[connection]
    ran = librarian("ping", connection)
    assert ran.code == code
    assert said in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.splitlines()[1].startswith("  ")


def test_wrong_credentials_end_with_4(librarian):
    for words in (
        ["ping", "wrong", "--login"],
        ["search-files", "wrong"],
        ["delete-user", "reader", "--username", "x"],
    ):
        assert librarian(*words).code == 4


def test_a_failure_is_json_when_json_is_wanted(librarian):
    ran = librarian("search-files", "wrong", "--json")
    assert ran.code == 4
    assert set(ran.document["error"]) == {"code", "reason", "suggested_remedy", "exit_code"}
    assert ran.document["error"]["exit_code"] == 4
    assert "of the connection in the client configuration" in ran.err
    assert ran.err.startswith(f"error: {ran.document['error']['reason']}")


@pytest.mark.database_independent
@pytest.mark.parametrize(
    ("content", "mode"), [("{", 0o600), ("[]", 0o600), ('{"connections": {}}', 0o602), ("\xff", 0o600)]
)
def test_a_configuration_that_cannot_be_used_is_explained(content, mode, home, tmp_path):
    env = environment_of(home, {})
    config = home / ".hl_client.cfg"
    config.write_bytes(content.encode("latin-1"))
    config.chmod(mode)
    for words in (["ping", "karoo"], ["check-connections"]):
        ran = run_command(*words, cwd=tmp_path, env=env)
        assert ran.code == 1
        assert str(config) in ran.err


@pytest.mark.database_independent
def test_the_page_of_a_proxy_is_no_traceback(alone):
    page = Answer(200, b"<html>Welcome to the hotel</html>", {"Content-Type": "text/html"})
    paths = ["POST /api/v2/ping/", "POST /api/v2/search/file", "GET /api/v3/", "POST /api/v2/admin/stores/list"]
    with Foreign(dict.fromkeys(paths, page)) as server:
        here = {"hotel": {"url": f"http://127.0.0.1:{server.port}", "authenticator": "a:b"}}
        for words in (["ping", "hotel"], ["search-files", "hotel"], ["get-store-list", "hotel"]):
            ran = alone(*words, connections=here)
            assert ran.code == 1
            assert "Check that the address is that of a Librarian." in ran.err


def test_a_password_that_is_written_nowhere_needs_a_terminal(librarian):
    ran = librarian("ping", "asks")
    assert ran.code == 2
    assert "no terminal" in ran.err


# --- Output -----------------------------------------------------------------------------------------------------------


def test_a_reader_that_goes_away_is_no_failure_that_is_told(librarian, connections, home, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ran = librarian("search-files", "reader", stdout=writing)
    finally:
        os.close(writing)
    assert ran.code == 141
    assert "error" not in ran.err


def test_output_that_cannot_be_written_is_a_failure(librarian):
    with open("/dev/full", "w") as full:
        for words in (["search-files", "reader"], ["search-files", "reader", "--json"], ["ping", "reader"], ["--help"]):
            ran = librarian(*words, stdout=full)
            assert ran.code == 1
            assert "No space left" in ran.err


@pytest.mark.parametrize("closed", ["1", "2"])
def test_closed_streams_are_no_traceback_and_swap_nothing(closed, connections, home, tmp_path):
    words = shlex.join(command_line("search-files", "reader", "zen.2461364.0000?.*", "--max-results", "1"))
    ended = subprocess.run(
        ["sh", "-c", f"{words} {closed}>&-"],
        cwd=tmp_path,
        env=environment_of(home, connections),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0
    note = "note: only the newest 1 are shown; ask for more with --max-results, or for --all\n"
    assert ended.stderr == ("" if closed == "2" else note)
    assert ("zen." in ended.stdout) == (closed == "2")
    assert "note:" not in ended.stdout


def test_an_interrupted_command_ends_with_130(connections, home, tmp_path):
    """The server takes the call and never answers it, so the command is certainly waiting."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        here = {"deaf": {"url": f"http://127.0.0.1:{deaf.getsockname()[1]}", "authenticator": "a:b"}}
        command = subprocess.Popen(
            command_line("ping", "deaf"),
            cwd=tmp_path,
            env=environment_of(home, here),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = deaf.accept()
        with connection:
            connection.recv(1)
            command.send_signal(signal.SIGINT)
            out, err = command.communicate(timeout=30)
    assert command.returncode == 130
    assert (out, err) == ("", "\nerror: interrupted\n")


def test_names_that_a_poor_terminal_cannot_show_are_shown_as_escapes(librarian, tmp_path):
    (tmp_path / "naïve.log").write_bytes(b"a name beyond ASCII\n")
    assert librarian("upload", "pipeline", "naïve.log", "naïve.log").code == 0
    poor = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    ran = librarian("search-files", "reader", "na*ve.log", **poor)
    assert ran.code == 0
    assert ran.out.startswith("na\\xefve.log (20.0 B) - ")
    assert librarian("search-files", "reader", "na*ve.log", "--json", **poor).document[0]["name"] == "naïve.log"
