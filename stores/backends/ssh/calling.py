"""Running a command on the host of an `ssh` store: its argument list, and the connection that commands share."""

import hashlib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from librarian.common.ssh import ssh_words

PERSIST_SECONDS = 60
_PLAIN = re.compile(r"[A-Za-z0-9_./@+-]+")  # ssh splits an option at blanks, and replaces what begins with %
LONGEST_SOCKET = 90  # of the 108 bytes of a socket's address: ssh appends some of its own while it begins


def far_command(configuration: Mapping[str, Any], argv: Sequence[str]) -> list[str]:
    """The local argument list that runs `argv` on the host of a store, word for word, whatever is in the words."""
    config = configuration.get("ssh_config") or settings.LIBRARIAN_SSH_CONFIG
    words = ssh_words(config=config, control_path=control_path(configuration), persist_seconds=PERSIST_SECONDS)
    return [*words, "--", configuration["host"], shlex.join(argv)]


def control_path(configuration: Mapping[str, Any]) -> str:
    """Socket of the connection that commands to this host share; empty where its path is none that ssh takes."""
    config = configuration.get("ssh_config") or settings.LIBRARIAN_SSH_CONFIG
    name = hashlib.sha256(f"{configuration['host']}\0{config}".encode()).hexdigest()[:12]
    folder = Path(settings.LIBRARIAN_HOME) / "ssh"
    path = str(folder / name)
    if len(os.fsencode(path)) > LONGEST_SOCKET or not _PLAIN.fullmatch(path):
        return ""
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    return path
