"""deploy/env.example names every setting that settings.py reads, with the default it has there."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.rig.servers import ROOT

pytestmark = pytest.mark.database_independent

SETTINGS = (ROOT / "librarian" / "settings.py").read_text()
EXAMPLE = (ROOT / "deploy" / "env.example").read_text()
LISTED = dict(re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
READ = set(re.findall(r"""(?:env\.\w+|environ\.get)\(\s*["']([A-Z_]+)["']""", SETTINGS))
SHOWN = re.compile(  # settings by the names that Django or we give them
    r"^(LIBRARIAN_\w+|DEBUG|SESSION_COOKIE_AGE|FORCE_SCRIPT_NAME|ALLOWED_HOSTS|CSRF_TRUSTED_ORIGINS)$"
)


def settings_with(tmp_path, **environment):
    """repr of every setting, in a process that finds nothing but these in its environment."""
    code = (
        "import json; from librarian import settings as s; print(json.dumps({k: repr(v) for k, v in vars(s).items()}))"
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**kept, "LIBRARIAN_ENV_FILE": "none", "LIBRARIAN_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {name: value for name, value in json.loads(answer.stdout).items() if SHOWN.match(name)}


def test_every_setting_is_listed_and_nothing_else():
    assert set(LISTED) == READ


def test_every_setting_has_words():
    blocks = re.split(r"\n\n+", EXAMPLE)
    naked = [block for block in blocks if re.match(r"#[A-Z_]+=", block)]
    assert naked == []


def test_the_defaults_shown_are_the_defaults_there_are(tmp_path):
    shown = {name: value for name, value in LISTED.items() if value and name != "LIBRARIAN_HOME"}
    assert settings_with(tmp_path, **shown) == settings_with(tmp_path)


def test_the_defaults_shown_are_really_read(tmp_path):
    """The test before this one would pass for a name that nobody reads."""
    usual = settings_with(tmp_path)
    changed = settings_with(
        tmp_path,
        LIBRARIAN_DEBUG="on",
        LIBRARIAN_FILE_NAMES="path",
        LIBRARIAN_WEB_THREADS="3",
        LIBRARIAN_PATH_PREFIX="/archive",
    )
    different = {name for name in usual if usual[name] != changed[name]}
    assert {"DEBUG", "LIBRARIAN_FILE_NAMES", "LIBRARIAN_WEB_THREADS", "FORCE_SCRIPT_NAME"} <= different
