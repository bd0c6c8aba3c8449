"""Looks at a directory of a storage node: the way there, what runs there, then the directory itself."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from librarian.common.findings import Finding, doubts, fails, works
from librarian.common.programs import Answered, ask_program
from librarian.common.ssh import NoRemoteRsync, understand
from librarian.common.ssh_trying import try_host
from stores.backends.ssh.calling import far_command
from stores.backends.ssh.payload import OLDEST_PYTHON
from stores.models import Store
from stores.services.testing import ground, soil

FAR_SECONDS = 30.0
OLDEST_RSYNC = (3, 1)
CLOCK_SECONDS = 30.0  # staging is swept by its age, and staleness counted, across both clocks


def look(store: Store) -> Iterator[Finding]:
    """The host by ssh, its Python, rsync and clock, then mount, marker, permissions and room over there."""
    configuration = store.configuration
    config = configuration.get("ssh_config") or settings.LIBRARIAN_SSH_CONFIG
    last = None
    for last in try_host(configuration["host"], config=config):
        yield last
    if last is None or not last.works:
        return
    begun = time.time()
    facts = _facts(store)
    if isinstance(facts, Finding):
        yield facts
        yield _rsync_alone(store)
        return
    yield _python(facts)
    yield _rsync(facts["rsync"])
    if not facts["xxhash"]:
        yield doubts(
            "xxhash over there",
            "its Python has no module xxhash, so checksums of that kind are computed here, with every byte read over",
            "Install it over there: python3 -m pip install xxhash, or the package python3-xxhash.",
        )
    yield _clock(facts["time"], begun, time.time())
    yield from soil.tell(store, facts)


def _facts(store: Store) -> dict[str, Any] | Finding:
    """What the storage node's own Python sees, or why it could not be asked."""
    python = store.configuration.get("python") or "python3"
    command = far_command(store.configuration, [python, "-", *soil.directories_of(store)])
    answered = ask_program(command, given=Path(ground.__file__).read_bytes(), seconds=FAR_SECONDS)
    if answered.ok:
        try:
            facts: dict[str, Any] = json.loads(answered.output.splitlines()[-1])
            return facts
        except (ValueError, IndexError):
            remedy = "Make the shell's start files of that account silent, and see that `python` names a Python."
            return fails("python over there", "what answers is not what was asked for", remedy)
    return _no_python(store, python, answered)


def _no_python(store: Store, python: str, answered: Answered) -> Finding:
    host = store.configuration["host"]
    if answered.code is None:
        reason = f"{python} on {host} did not answer within {FAR_SECONDS:.0f} s: perhaps a mount over there hangs"
        return fails("python over there", reason, f"Look after {store.configuration['root']} on {host}.")
    if answered.code == 127 or "not found" in answered.complaints or "No such file" in answered.complaints:
        remedy = f"Install Python {'.'.join(map(str, OLDEST_PYTHON))} or newer on {host}, or name it by its whole path "
        return fails(
            "python over there", f"{host} has no {python}", remedy + "as `python` in the store's configuration."
        )
    problem = understand(host, answered.complaints)
    if problem is not None:
        return fails("python over there", problem.reason, problem.suggested_remedy)
    reason = f"{python} on {host} ended with {answered.code}: {answered.last_words}"
    return fails("python over there", reason, "Try it by hand as the server's user.")


def _python(facts: dict[str, Any]) -> Finding:
    version = tuple(facts["python"])
    said = f"{'.'.join(map(str, version))}, {facts['executable']} on {facts['host']}"
    if version < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        remedy = f"Install Python {wanted} or newer there, and name it as `python` in the store's configuration."
        return fails("python over there", f"it is {said}, older than {wanted}", remedy)
    return works("python over there", said)


def _rsync(version: str) -> Finding:
    if not version:
        reason = "there is none, so no files can be sent from there, or brought there, by rsync"
        return fails("rsync over there", reason, NoRemoteRsync.remedy)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_RSYNC:
        wanted = ".".join(map(str, OLDEST_RSYNC))
        return fails(
            "rsync over there", f"it is {version}, older than {wanted}", f"Install rsync {wanted} or newer there."
        )
    return works("rsync over there", version)


def _rsync_alone(store: Store) -> Finding:
    """Where Python cannot be asked, rsync is asked itself."""
    answered = ask_program(far_command(store.configuration, ["rsync", "--version"]), seconds=FAR_SECONDS)
    return works("rsync over there") if answered.ok else _rsync("")


def _clock(theirs: float, begun: float, ended: float) -> Finding:
    """Compared with the middle of the call, which is wrong by half of it at most."""
    apart = abs(theirs - (begun + ended) / 2) - (ended - begun) / 2
    if apart > CLOCK_SECONDS:
        reason = f"it differs from ours by {apart:.0f} s"
        return doubts("clock over there", reason, "Let both machines follow a time server (chrony, systemd-timesyncd).")
    return works("clock over there", "as ours")
