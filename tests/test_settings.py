"""Settings from the environment: keys made once, and a public site that refuses to start when it is not safe to."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from librarian.common.keys import new_fernet_key, new_secret, read_or_create
from tests.rig.databases import ROOT

pytestmark = pytest.mark.database_independent
SAFE = {"LIBRARIAN_ALLOWED_HOSTS": "archive.example.org,127.0.0.1", "LIBRARIAN_HTTPS": "on", "LIBRARIAN_DEBUG": "off"}


def start(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Import the WSGI application as gunicorn does, with these settings alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LIBRARIAN_", "DATABASE_"))}
    ours = {"LIBRARIAN_ENV_FILE": "none", "LIBRARIAN_HOME": str(tmp_path / "home"), "LIBRARIAN_NAME": "site"}
    kept.pop("DJANGO_SETTINGS_MODULE", None)
    (tmp_path / "home").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", "import librarian.wsgi"],
        cwd=ROOT,
        env={**kept, **ours, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("LIBRARIAN_NAME", "", "librarian.E001"),
        ("LIBRARIAN_NAME", "two words", "librarian.E001"),
        ("LIBRARIAN_NAME", "x" * 65, "librarian.E001"),
        ("LIBRARIAN_FILE_NAMES", "tree", "librarian.E002"),
        ("LIBRARIAN_DEBUG", "on", "librarian.E010"),
        ("LIBRARIAN_SECRET_KEY", "secret", "librarian.E011"),
        ("LIBRARIAN_SECRET_KEY", "a" * 60, "librarian.E011"),
        ("LIBRARIAN_ALLOWED_HOSTS", "*", "librarian.E012"),
        ("LIBRARIAN_HTTPS", "off", "librarian.E013"),
    ],
)
def test_a_public_site_refuses_to_start_on_weak_settings_and_says_which(
    tmp_path: Path, setting: str, value: str, code: str
) -> None:
    ended = start(tmp_path, **{**SAFE, setting: value})
    assert ended.returncode != 0
    assert code in ended.stderr


def test_a_safe_public_site_and_a_local_one_start(tmp_path: Path) -> None:
    assert start(tmp_path, **SAFE).returncode == 0
    assert start(tmp_path, LIBRARIAN_DEBUG="on").returncode == 0


def test_keys_are_made_once_readable_by_their_owner_alone(tmp_path: Path) -> None:
    assert start(tmp_path).returncode == 0
    keys = tmp_path / "home" / "keys"
    made = {path.name: path.read_text() for path in keys.iterdir()}
    assert {"secret_key", "fernet_keys"} <= set(made)
    assert {path.stat().st_mode & 0o777 for path in keys.iterdir()} == {0o600}
    assert keys.stat().st_mode & 0o777 == 0o700
    assert start(tmp_path).returncode == 0
    assert {path.name: path.read_text() for path in keys.iterdir()} == made


def test_processes_that_start_together_agree_on_a_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        read = list(pool.map(lambda _: read_or_create(tmp_path / "keys" / "k", new_secret), range(16)))
    assert len(set(read)) == 1
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["k"]
    assert new_secret() != new_secret()
    assert len(new_fernet_key()) == 44


def test_the_database_comes_from_its_url(tmp_path: Path) -> None:
    code = "from librarian import settings; d = settings.DATABASES['default']; print(d['ENGINE'], d['NAME'], d['PORT'])"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "LIBRARIAN_ENV_FILE": "none",
            "LIBRARIAN_HOME": str(tmp_path),
            "DATABASE_URL": "postgres://ann:secret@db.example.org:5433/archive",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == ["django.db.backends.postgresql", "archive", "5433"]
