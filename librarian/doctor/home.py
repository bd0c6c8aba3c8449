"""LIBRARIAN_HOME: there, on a local disk, writable, with room."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from librarian.common.findings import Finding, Look, doubts, fails, works
from librarian.doctor.scope import Scope
from stores.services.testing import ground

GROUP = "home"
FEW_BYTES = 500 * 10**6
# File systems of other machines: their locks and fsyncs are not what the database counts on.
FAR_TYPES = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "fuse.sshfs",
    "9p",
    "ceph",
    "glusterfs",
    "fuse.glusterfs",
    "lustre",
)


def examine(scope: Scope) -> Iterator[Look]:
    """In a thread, for it may lie on a mount that hangs."""
    yield Look(GROUP, _look, "LIBRARIAN_HOME")


def _look() -> Iterator[Finding]:
    home = Path(settings.LIBRARIAN_HOME)
    facts = ground.directory(str(home))
    if facts["error"]:
        yield fails("directory", f"{home}: {facts['error'].lower()}", "Make it, or correct LIBRARIAN_HOME.")
        return
    if facts["read_only"] or not facts["writable"]:
        reason = f"{home} may not be written (mode {facts['mode']:04o})"
        yield fails("directory", reason, "Give the server's user the right, and mount it writable.")
    elif facts["mode"] & 0o002:
        yield doubts("directory", f"everybody may write to {home}", f"chmod o-w {home}")
    else:
        yield works("directory", f"{home} may be written")
    yield _mount(home)
    yield _room(home, facts)
    if os.geteuid() == 0:
        yield works("user", "root; in production the site has a user of its own")


def _mount(home: Path) -> Finding:
    mount = ground.mount(str(home))
    said = f"{mount['source']} ({mount['type']}) at {mount['point']}"
    if mount["type"] in FAR_TYPES:
        return fails("local disk", f"it lies on {said}", "Move LIBRARIAN_HOME to a disk of this machine.")
    if mount["type"] in ("tmpfs", "ramfs"):
        return doubts("local disk", f"it lies on {said}, which forgets all at a restart", "Move it to a disk.")
    return works("local disk", said)


def _room(home: Path, facts: dict[str, Any]) -> Finding:
    free = shutil.disk_usage(home).free
    if facts["inodes"] and not facts["free_inodes"]:
        return fails("room", "no inode is free: no file can be made", "Remove files elsewhere on this disk.")
    if free < FEW_BYTES:
        return doubts("room", f"only {free} bytes are free", "Free space: the database and its log must grow.")
    return works("room", f"{free} bytes are free")
