"""Stores over a real sshd on loopback, that the catalogue does not know."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stores.backends import open_backend
from stores.backends.ssh.backend import SshBackend
from stores.backends.ssh.pool import links
from stores.backends.ssh.sharing import end_sharing
from stores.models import Store
from tests.rig.sshd import HOST, Sshd

BARE_PYTHON = os.path.realpath(sys.executable)  # that the virtual environment was made with: without our packages


def ssh_store(config: Path, root: Path, *, initialise: bool = True, **configuration: object) -> SshBackend:
    """A store over there; further words are settings of its configuration."""
    settings = {"host": HOST, "ssh_config": str(config), "root": str(root), "python": sys.executable}
    settings |= {key: str(value) for key, value in configuration.items()}
    backend = open_backend(Store(name="attic", kind="ssh", configuration=settings))
    if initialise:
        backend.initialise()
    return backend


@contextmanager
def far_host(folder: Path, **options: str) -> Iterator[Sshd]:
    """An sshd for the block; no shared connection outlives it."""
    server = Sshd(folder, options=options)
    server.start()
    try:
        yield server
    finally:
        links.close()
        for config in folder.glob("ssh_config*"):
            end_sharing({"host": HOST, "ssh_config": str(config)})
        server.stop()
