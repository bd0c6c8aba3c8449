"""Keys of a site: created once under `LIBRARIAN_HOME/keys`, readable by their owner alone.

They live outside the database on purpose: a dump of the database must not hold what opens it.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.fernet import Fernet


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """Return the text of a key file, creating it with mode 0600 when it does not exist.

    Two processes that start together agree: the file is written aside and linked into place, so that the loser of the
    race reads the winner's key.
    """
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(make() + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    return path.read_text().strip()


def new_secret() -> str:
    """A fresh Django secret key (64 random bytes)."""
    return secrets.token_urlsafe(64)


def new_fernet_key() -> str:
    """A fresh Fernet key, URL-safe base64 (https://github.com/fernet/spec)."""
    return Fernet.generate_key().decode()
