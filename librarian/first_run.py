"""What makes a fresh checkout a working site: name, tables, static files, an administrator, a store, sample data.

Every step looks first and does nothing when it has been done, so that a second start reuses all of it.
"""

import io
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command

from accounts.levels import Level
from accounts.models import User
from accounts.services import create_user, new_password
from files.models import File
from librarian.checks import SITE_NAME
from librarian.common.children import running_child
from librarian.common.errors import ArchiveError, Misconfigured
from stores.models import Store

ADMIN = "admin"
STORE = "store"
SAMPLE = "sample"
Tell = Callable[[str], None]


class SetupFailed(ArchiveError):
    """A step of the set-up did not succeed; nothing was started."""

    code = "setup_failed"
    remedy = "Mend what the message names and start again; what was done is kept."


@dataclass(frozen=True, slots=True)
class Login:
    """How to get in. `password` is there only when it was made just now."""

    username: str
    password: str
    password_path: Path | None


def environment_file() -> Path | None:
    """The file that settings are read from besides the environment; None when there is none to be."""
    chosen = os.environ.get("LIBRARIAN_ENV_FILE", "")
    if chosen == "none":
        return None
    return Path(chosen) if chosen else settings.BASE_DIR / ".env"


def ensure_name(tell: Tell) -> None:
    """Give a site without a name one, in its `.env`, and start this command again so that every setting sees it."""
    if settings.LIBRARIAN_NAME:
        return
    path = environment_file()
    if path is None:
        raise Misconfigured(
            "LIBRARIAN_NAME is not set.", remedy="Set it in the environment; peers know the site by it."
        )
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname().split(".")[0])[:64]
    if not SITE_NAME.fullmatch(name):
        name = "librarian"
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if not re.match(r"\s*(export\s+)?LIBRARIAN_NAME\s*=", line)]
    path.touch(mode=0o600)  # it is where people will put their secrets
    path.write_text("\n".join([*kept, f"LIBRARIAN_NAME={name}", ""]))
    tell(f"This site had no name. It is called {name} now: see LIBRARIAN_NAME in {path}.")
    tell("Peers will know it by that name; change it before the first one does.")
    os.environ.pop("LIBRARIAN_NAME", None)  # an empty value would win over the file
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606  ourselves, with the same arguments


def prepare_database(tell: Tell) -> None:
    """Bring the tables to this version, and the static files to where the web server reads them."""
    tell("Preparing the database and the static files …")
    _keep_private(settings.DATABASES["default"])
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)


def _keep_private(database: dict[str, Any]) -> None:
    """A database in a file holds sessions and password digests: its owner alone may read it, and what lies beside it.

    SQLite gives its journal the mode of the database.
    """
    if "sqlite" in database["ENGINE"]:
        path = Path(database["NAME"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)


def ensure_admin() -> Login:
    """Make an administrator unless there is one. The password also goes to a file that only its owner can read."""
    path = settings.LIBRARIAN_HOME / "admin-password"
    known = User.objects.filter(level=Level.ADMIN, is_active=True).order_by("pk").first()
    if known is not None:
        return Login(known.username, "", path if known.username == ADMIN and path.exists() else None)
    password = new_password()
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(password + "\n")
    create_user(actor=None, username=ADMIN, password=password, level=Level.ADMIN)
    return Login(ADMIN, password, path)


def ensure_store(tell: Tell) -> None:
    """Add one store below LIBRARIAN_HOME unless the site has a store."""
    if Store.objects.exists():
        return
    path = settings.LIBRARIAN_HOME / "store"
    path.mkdir(parents=True, exist_ok=True)
    call_command("add_store", STORE, "--kind", "posix", "--path", str(path), stdout=io.StringIO())
    tell(f"Added the store {STORE} at {path}.")


def ensure_sample(tell: Tell) -> None:
    """Write a night of sample files and ingest it for real, once."""
    done = settings.LIBRARIAN_HOME / "sample-is-in"
    if done.exists() and File.objects.filter(source=SAMPLE).exists():
        return
    folder = settings.LIBRARIAN_HOME / "sample"
    shutil.rmtree(folder, ignore_errors=True)  # of a start that was cut off
    tell("Writing a night of sample files and ingesting it (SAMPLE=no leaves them out) …")
    _manage("make_samples", str(folder), stdout=subprocess.DEVNULL)
    _manage("ingest", str(folder), "--source", SAMPLE)
    shutil.rmtree(folder, ignore_errors=True)
    done.touch()


def _manage(*arguments: str, stdout: int | None = None) -> None:
    """Run a command in a process of its own, which gives its memory back; it ends with us."""
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]
    with running_child(command, stdin=subprocess.DEVNULL, stdout=stdout) as child:
        if child.wait() != 0:
            raise SetupFailed(f"`manage.py {arguments[0]}` ended with exit code {child.returncode}.")
