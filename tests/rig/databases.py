"""Databases for real sites: one migrated template per run of the suite, copied for every site.

A file on SQLite; on the PostgreSQL that DATABASE_URL names, `CREATE DATABASE … TEMPLATE`.
"""

import fcntl
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.rig.forks import fork_server
from tests.rig.processes import RigError

ROOT = Path(__file__).resolve().parents[2]
ADMIN = "admin"
ADMIN_PASSWORD = "correct-horse-battery-staple"
_NOT_INHERITED = ("LIBRARIAN_", "DATABASE_URL", "DJANGO_", "PYTEST_", "Q_CLUSTER")


class SiteDatabase:
    """One site's database: its address, and how to get rid of it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def drop(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "sqlite":
            execute(self.url, f'DROP DATABASE IF EXISTS "{parts.path[1:]}" WITH (FORCE)')


class Template:
    """A migrated database with an administrator, and the collected static files: made once a run, copied per site."""

    def __init__(self, home: Path) -> None:
        self.home = home
        base = os.environ.get("DATABASE_URL", "")
        self.postgres = base if base.startswith("postgres") else ""
        self.file = home / "template.sqlite3"
        # Named after the run's directory, so that two runs on one server do not meet.
        self.database_name = re.sub(r"\W", "_", f"template_{home.parent.name}")
        self.url = _with_database(base, self.database_name) if self.postgres else f"sqlite:///{self.file}"

    def build(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)  # an attempt that failed must not hide why behind "exists already"
        self.home.mkdir(parents=True)
        if self.postgres:
            SiteDatabase(self.url).drop()
            execute(self.postgres, f'CREATE DATABASE "{self.database_name}"')
        password_file = self.home / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(f"{ADMIN_PASSWORD}\n")
        for arguments in (
            ["migrate", "--no-input", "-v", "0"],
            ["collectstatic", "--no-input", "-v", "0"],
            ["add_user", ADMIN, "--level", "ADMIN", "--password-file", str(password_file)],
        ):
            self._manage(arguments)
        if not self.postgres:
            # Everything into the one file that is copied.
            connection = sqlite3.connect(self.file)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()

    def copy(self, home: Path) -> SiteDatabase:
        if not self.postgres:
            shutil.copyfile(self.file, home / "librarian.sqlite3")
            return SiteDatabase(f"sqlite:///{home / 'librarian.sqlite3'}")
        name = f"site_{secrets.token_hex(6)}"
        execute(self.postgres, f'CREATE DATABASE "{name}" TEMPLATE "{self.database_name}"')
        return SiteDatabase(_with_database(self.postgres, name))

    def _manage(self, arguments: list[str]) -> None:
        env = site_environment(self.home, self.url, "template", {})
        answer = fork_server().run(["manage.py", *arguments], env=env, timeout=300)
        if answer.returncode != 0:
            raise RigError(f"template: manage.py {arguments[0]} failed:\n{answer.stdout}{answer.stderr}")


def shared_template() -> Template:
    """Return the run's template; the first of the workers builds it while the others wait."""
    root = Path(os.environ["LIBRARIAN_TEST_ROOT"])
    template = Template(root / "template")
    with _locked(root / "template.lock"):
        if not (root / "template.built").exists():
            template.build()
            (root / "template.built").touch()
    return template


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def execute(url: str, statement: str) -> None:
    """Run one statement on the server's maintenance database, outside a transaction."""
    import psycopg2

    connection = psycopg2.connect(_with_database(url, "postgres"))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def site_environment(home: Path, database_url: str, name: str, more: Mapping[str, str]) -> dict[str, str]:
    """What a process of a site finds in its environment: ours, without what is about us, and its own settings."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(_NOT_INHERITED)}
    return {
        **inherited,
        "LIBRARIAN_ENV_FILE": "none",
        "LIBRARIAN_HOME": str(home),
        "LIBRARIAN_NAME": name,
        "LIBRARIAN_DEBUG": "off",
        "DATABASE_URL": database_url,
        "PYTHONUNBUFFERED": "1",
        **more,
    }
