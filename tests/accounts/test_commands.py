"""`manage.py add_user` and `manage.py issue_token`."""

import io
import sys
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from accounts.levels import Level
from accounts.models import ApiToken, User
from librarian.common.models import AuditEntry
from tests.make import make_user

pytestmark = pytest.mark.django_db

GOOD = "a long enough password"


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "password"
    path.write_text(f"{GOOD}\nsecond line\n")
    return path


def test_a_password_comes_from_a_file_and_is_not_printed(password_file):
    out, err = run(
        "add_user", "obs", "--level", "readappend", "--kind", "instrument", "--password-file", str(password_file)
    )
    user = User.objects.get(username="obs")
    assert user.check_password(GOOD)
    assert (user.level, user.kind) == (Level.READAPPEND, "instrument")
    assert GOOD not in out + err
    assert AuditEntry.objects.get().actor_name.partition("@")[2], "says which machine's account did it"


def test_a_password_comes_from_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(GOOD + "\n"))
    run("add_user", "obs", "--password-file", "-")
    assert User.objects.get(username="obs").check_password(GOOD)


def test_a_generated_password_is_all_that_standard_output_has():
    out, _ = run("add_user", "obs", "--generate")
    assert User.objects.get(username="obs").check_password(out.strip())
    assert User.objects.get(username="obs").level == Level.READONLY


def test_there_is_no_way_to_give_a_password_on_the_command_line():
    for option in ("--password", "-p"):
        with pytest.raises(CommandError):
            run("add_user", "obs", option, GOOD)
    assert not User.objects.exists()


def test_a_prompt_asks_twice(monkeypatch):
    answers = iter([GOOD, "a typing mistake", GOOD, GOOD])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    monkeypatch.setattr(sys, "stdin", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    with pytest.raises(CommandError, match="differ"):
        run("add_user", "obs")
    run("add_user", "obs")
    assert User.objects.get(username="obs").check_password(GOOD)


def test_without_a_terminal_it_does_not_wait_for_one(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(CommandError, match="--password-file"):
        run("add_user", "obs")


def test_an_account_that_exists_is_left_alone():
    before = make_user("obs", level=Level.CALLBACK).password
    with pytest.raises(CommandError, match="already exists") as caught:
        run("add_user", "obs", "--generate")
    assert caught.value.returncode == 3
    out, err = run("add_user", "obs", "--generate", "--level", "ADMIN", "--exists-ok")
    assert out == ""
    assert "nothing was changed" in err
    user = User.objects.get(username="obs")
    assert (user.password, user.level) == (before, Level.CALLBACK)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bad name", "--generate"], "username"),
        (["obs", "--level", "boss", "--generate"], "READAPPEND"),
        (["obs", "--password-file", "/nonexistent/file"], "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_made(arguments, says):
    with pytest.raises(CommandError, match=says):
        run("add_user", *arguments)
    assert not User.objects.exists()


def test_a_token_is_printed_once_and_alone(call):
    make_user("obs", level=Level.READAPPEND)
    out, err = run("issue_token", "obs", "--name", "night", "--expires-days", "2")
    token = ApiToken.objects.get()
    assert out.startswith("lib_")
    assert len(out.strip()) == 47
    assert out.strip() not in err
    assert token.level == Level.READAPPEND
    assert timedelta(days=1.9) < token.expires_at - now() < timedelta(days=2.1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nobody", "--name", "x"], "add_user"),
        (["obs", "--name", "x", "--level", "ADMIN"], "READONLY"),
        (["obs", "--name", " "], "name"),
        (["obs", "--name", "x", "--expires-days", "0"], "expires-days"),
        (["obs", "--name", "x", "--expires-days", "nan"], "expires-days"),
    ],
)
def test_what_is_wrong_with_a_token_is_said(arguments, says):
    make_user("obs")
    with pytest.raises(CommandError, match=says) as caught:
        run("issue_token", *arguments)
    assert caught.value.returncode == 1
    assert not ApiToken.objects.exists()
