"""Accounts and tokens: made, changed, ended; secrets stay off the command line and out of the output."""

import os
import pty
import subprocess

import pytest

from tests.hera_librarian.cli.running import command_line, environment_of


def account(librarian, site, name, password):
    """Whether a name and password open the site."""
    connection = {"tried": {"url": site.url, "authenticator": f"{name}:{password}"}}
    return librarian("ping", "tried", "--login", more_connections=connection).code == 0


def test_a_password_comes_from_a_file_from_the_environment_or_from_standard_input(librarian, site, tmp_path):
    (tmp_path / "secret").write_text("first line counts\nnot this\n")
    words = ["--auth-level", "readonly"]
    ran = librarian("create-user", "karoo", "--username", "ada", *words, "--password-file", "secret")
    assert (ran.code, ran.out, ran.err) == (0, "User ada created with level READONLY.\n", "")
    assert account(librarian, site, "ada", "first line counts")
    ran = librarian("create-user", "karoo", "--username", "bea", *words, LIBRARIAN_NEW_PASSWORD="from the environment")
    assert ran.code == 0
    assert account(librarian, site, "bea", "from the environment")
    ran = librarian("create-user", "karoo", "--username", "cyd", *words, "--password-file", "-", stdin="piped in\n")
    assert ran.code == 0
    assert account(librarian, site, "cyd", "piped in")


def test_a_password_on_the_command_line_is_taken_with_a_warning(librarian, site):
    words = ["--username", "dot", "--auth-level", "READAPPEND", "--password", "seen-by-all"]
    ran = librarian("create-user", "karoo", *words, "--json")
    assert ran.code == 0
    assert ran.document == {"username": "dot", "auth_level": "READAPPEND"}
    assert "can be read by everybody on this machine" in ran.err
    assert "seen-by-all" not in ran.err
    assert account(librarian, site, "dot", "seen-by-all")


def test_a_generated_password_stands_alone_on_standard_output(librarian, site):
    ran = librarian("create-user", "karoo", "--username", "eve", "--auth-level", "READONLY", "--generate")
    assert ran.code == 0
    [password] = ran.lines
    assert password not in ran.err
    assert account(librarian, site, "eve", password)


def test_a_password_is_asked_for_twice_on_a_terminal(connections, home, librarian, site, tmp_path):
    def typed(*answers, words):
        ours, theirs = pty.openpty()
        running = subprocess.Popen(
            command_line(*words),
            cwd=tmp_path,
            env=environment_of(home, connections),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(theirs)
        for answer in answers:  # after its prompt: what is typed ahead is thrown away
            seen = b""
            while not seen.endswith(b": "):
                byte = os.read(running.stderr.fileno(), 1)
                assert byte, f"it ended after {seen!r}"
                seen += byte
            os.write(ours, f"{answer}\n".encode())
        out, err = running.communicate(timeout=60)
        os.close(ours)
        return running.returncode, out, err

    words = ["create-user", "karoo", "--username", "fay", "--auth-level", "READONLY"]
    code, _, err = typed("one", "another", words=words)
    assert code == 1
    assert b"differ" in err
    assert typed("typed twice", "typed twice", words=words)[0] == 0
    assert account(librarian, site, "fay", "typed twice")


def test_accounts_are_changed_and_deleted(librarian, site, tmp_path):
    (tmp_path / "secret").write_text("the-old-one\n")
    (tmp_path / "new").write_text("the-new-one\n")
    words = ["--username", "gil", "--auth-level", "READONLY", "--password-file", "secret"]
    assert librarian("create-user", "karoo", *words).code == 0
    again = librarian("create-user", "karoo", *words)
    assert again.code == 1
    assert "User already exists" in again.err
    changed = librarian("update-user", "karoo", "--username", "gil", "--auth-level", "CALLBACK", "--json")
    assert changed.document == {"username": "gil", "auth_level": "CALLBACK", "password_changed": False}
    assert account(librarian, site, "gil", "the-old-one")
    assert librarian("update-user", "karoo", "--username", "gil", "--password-file", "new").code == 0
    assert account(librarian, site, "gil", "the-new-one")
    assert librarian("delete-user", "karoo", "--username", "gil").out == "User gil deleted.\n"
    gone = librarian("delete-user", "karoo", "--username", "gil", "--json")
    assert gone.code == 1
    assert "User not found" in gone.document["error"]["reason"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create-user", "karoo", "--username", "x", "--auth-level", "READONLY"], "no terminal"),
        (["create-user", "karoo", "--username", "x", "--auth-level", "KING", "--generate"], "KING"),
        (["create-user", "karoo", "--username", "x", "--auth-level", "NONE", "--password", ""], "empty"),
        (["create-user", "karoo", "--username", "x", "--auth-level", "NONE", "--password", "a", "--generate"], "Both"),
        (["update-user", "karoo", "--username", "x"], "Nothing is to be changed"),
        (["issue-token", "karoo", "--name", "x", "--expires-days", "0"], "--expires-days"),
        (["issue-token", "karoo", "--name", "x", "--user", "reader"], "--level"),
    ],
)
def test_wrong_words_change_nothing(words, said, librarian):
    ran = librarian(*words)
    assert ran.code == 2
    assert said in ran.err


def test_a_password_file_that_cannot_be_read_is_explained(librarian):
    words = ["--username", "x", "--auth-level", "NONE", "--password-file", "not-there"]
    ran = librarian("create-user", "karoo", *words)
    assert ran.code == 1
    assert "not-there cannot be read" in ran.err


# --- Tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_is_issued_used_listed_and_revoked(librarian, site):
    issued = librarian("issue-token", "pipeline", "--name", "night")
    assert issued.code == 0
    [token] = issued.lines
    assert token not in issued.err
    connection = {"by-token": {"url": site.url, "token": token}}
    check = librarian("check-connections", "by-token", "--json", more_connections=connection)
    assert check.document[0]["level"] == "READAPPEND"
    [row] = librarian("list-tokens", "pipeline", "--json").document
    assert (row["name"], row["user"], row["is_usable"]) == ("night", "pipeline", True)
    heading, _, line = librarian("list-tokens", "pipeline").lines
    assert heading.startswith("ID")
    assert line.split(" | ")[0].strip() == str(row["id"])
    assert librarian("revoke-token", "pipeline", row["id"]).out == f"Token {row['id']} revoked.\n"
    assert librarian("ping", "by-token", "--login", more_connections=connection).code == 4
    assert librarian("list-tokens", "pipeline").out == "No tokens found.\n"
    assert len(librarian("list-tokens", "pipeline", "--all", "--json").document) == 1
    assert librarian("revoke-token", "pipeline", "999999").code == 1


def test_a_token_goes_into_a_new_private_file(librarian, site, tmp_path):
    words = [
        "issue-token",
        "karoo",
        "--name",
        "filed",
        "--user",
        "reader",
        "--level",
        "READONLY",
        "--expires-days",
        "7",
    ]
    ran = librarian(*words, "--output", "token", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["token"] is None
    assert ran.document["expires_at"]
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    connection = {"by-file": {"url": site.url, "token_file": str(tmp_path / "token")}}
    assert librarian("ping", "by-file", "--login", more_connections=connection).code == 0
    occupied = librarian("issue-token", "karoo", "--name", "other", "--output", "token")
    assert occupied.code == 1
    refused = librarian("issue-token", "reader", "--name", "more", "--level", "ADMIN", "--output", "not-made")
    assert refused.code == 4
    assert not (tmp_path / "not-made").exists()
