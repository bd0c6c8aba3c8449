"""Modes of the files that hold secrets, or that decide whom we believe. Nothing of what is in them is read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from hera_librarian.config import DEFAULT_PATHS, PATH_VARIABLE
from librarian.common.findings import Finding, Look, fails, works
from librarian.doctor.scope import Scope

GROUP = "secrets"
KEYS = ("secret_key", "fernet_keys", "roots_ed25519")


def examine(scope: Scope) -> Iterator[Look]:
    """The site's keys, the server user's ssh and cloud files, connection files."""
    yield Look(GROUP, _look, "secret files")


def _look() -> Iterator[Finding]:
    for path in _private():
        yield from _check(path, 0o077, "Nobody else may read it")
    for path in _trusted():
        yield from _check(path, 0o022, "Nobody else may write it")


def _private() -> Iterator[Path]:
    """What only its owner may read."""
    home = Path(settings.LIBRARIAN_HOME)
    yield home / "keys"
    yield from (home / "keys" / name for name in KEYS)
    yield home / "admin-password"
    yield home / "ssh"
    environment_file = os.environ.get("LIBRARIAN_ENV_FILE") or settings.BASE_DIR / ".env"
    yield Path(environment_file)
    if settings.LIBRARIAN_GLOBUS_SECRET_FILE:
        yield Path(settings.LIBRARIAN_GLOBUS_SECRET_FILE)
    named = os.environ.get(PATH_VARIABLE)
    yield from (Path(path).expanduser() for path in ([named] if named else DEFAULT_PATHS))
    yield Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    yield from sorted(path for path in _ssh_folder().glob("id_*") if path.suffix != ".pub")


def _trusted() -> Iterator[Path]:
    """What decides whom ssh believes and lets in."""
    yield from (_ssh_folder(), *(_ssh_folder() / name for name in ("known_hosts", "config", "authorized_keys")))
    if settings.LIBRARIAN_SSH_CONFIG:
        yield Path(settings.LIBRARIAN_SSH_CONFIG)


def _ssh_folder() -> Path:
    return Path("~/.ssh").expanduser()


def _check(path: Path, forbidden: int, wanted: str) -> Iterator[Finding]:
    """Nothing of what is not there."""
    try:
        seen = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        yield fails(str(path), f"it cannot be looked at: {error.strerror}", "Mend its permissions.")
        return
    mode = stat.S_IMODE(seen.st_mode)
    if mode & forbidden:
        right = mode & ~forbidden
        yield fails(str(path), f"its mode is {mode:04o}", f"{wanted}: chmod {right:o} {path}")
    elif seen.st_uid not in (os.geteuid(), 0):
        yield fails(str(path), f"it belongs to user {seen.st_uid}", f"Give it to the server's user: chown {path}")
    else:
        yield works(str(path), f"mode {mode:04o}")
