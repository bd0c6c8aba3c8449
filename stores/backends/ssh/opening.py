"""Beginning a link: ssh, the program that is sent, and what it means when it does not begin."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from librarian.common.errors import StoreUnavailable
from librarian.common.ssh import CONNECT_SECONDS, understand
from stores.backends.ssh import frames, links, payload
from stores.backends.ssh.calling import far_command
from stores.backends.ssh.links import Link, LinkBroken
from stores.backends.ssh.sharing import NotBegun, begin_sharing, forget_sharing

OPEN_SECONDS = CONNECT_SECONDS + 40.0
IDLE_SECONDS = 3 * 3600  # without a call, after which the far end leaves
DEFAULT_PYTHON = "python3"
_NOISE_BYTES = 64 * 1024  # that a login shell may say first
_NOT_FOUND = (126, 127)  # what a shell, or env, answers for a program that is not there


def open_link(store: Mapping[str, Any], configuration: Mapping[str, Any]) -> Link:
    """A link to the host of a store, for whatever stores are there. Raises StoreUnavailable."""
    try:
        begin_sharing(configuration)
        return _open(store, configuration)
    except NotBegun as error:
        raise unavailable(store, _why(configuration["host"], str(error), None)) from error
    except LinkBroken as error:
        if error.is_silent:
            forget_sharing(configuration)
        raise unavailable(store, _why_not(configuration, error)) from error


def describe(store: Any) -> dict[str, Any]:
    """What the far end has to know of a store."""
    options = ("travelling", "group_writable_staging", "own_after_commit", "read_only_after_commit")
    return {
        "name": store.name,
        "marker": str(store.marker),
        "configuration": {key: store.configuration[key] for key in ("root", "staging") if store.configuration.get(key)},
        **{option: getattr(store, option) for option in options},
    }


def _open(store: Mapping[str, Any], configuration: Mapping[str, Any]) -> Link:
    python = configuration.get("python") or DEFAULT_PYTHON
    command = far_command(configuration, ["env", "PYTHONUTF8=1", python, "-c", payload.bootstrap()])
    complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed with the link
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        bufsize=0,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,  # not told to die with the thread that began it: others use it later
    )
    link = Link(process, complaints)
    try:
        version = _await_greeting(link)
        if version < payload.OLDEST_PYTHON:
            raise unavailable(store, _too_old(configuration["host"], python, version))
        link.write([memoryview(payload.program(_description()))])
        link.receive(within_seconds=OPEN_SECONDS)
        return link
    except BaseException:
        link.close()
        raise


def _description() -> bytes:
    alive = min(links.ALIVE_SECONDS, links.SILENCE_SECONDS / 4)
    return json.dumps({"alive_seconds": alive, "idle_seconds": IDLE_SECONDS}).encode()


def _await_greeting(link: Link) -> tuple[int, int]:
    """Read up to what our program says first, past anything that a login shell says."""
    until = time.monotonic() + OPEN_SECONDS
    line = bytearray()
    for _ in range(_NOISE_BYTES):
        line += link.read_exactly(1, until=until)
        if line.endswith(b"\n"):
            _, found, version = bytes(line).rpartition(frames.GREETING)
            if found:
                major, minor = map(int, version.split())
                return major, minor
            line.clear()
    raise link.broken("its login shell says too much", is_silent=True)


# --- What it means ---


def unavailable(store: Mapping[str, Any], why: tuple[str, str | None]) -> StoreUnavailable:
    """The error for a store, from a reason and a remedy."""
    return StoreUnavailable(f"Store {store['name']} is not available: {why[0]}.", remedy=why[1])


def _why_not(configuration: Mapping[str, Any], error: LinkBroken) -> tuple[str, str | None]:
    host, python = configuration["host"], configuration.get("python") or DEFAULT_PYTHON
    if error.status in _NOT_FOUND:
        return (
            f"the host {host} has no Python {python!r}",
            f"Install Python {_oldest()} or later over there, or name its path as 'python' in the store's "
            "configuration.",
        )
    return _why(host, error.complaints, error)


def _too_old(host: str, python: str, version: tuple[int, int]) -> tuple[str, str]:
    found = ".".join(map(str, version))
    return (
        f"Python {found} ({python!r}) on the host {host} is too old: {_oldest()} or later is needed",
        "Install a newer one over there and name its path as 'python' in the store's configuration.",
    )


def _oldest() -> str:
    return ".".join(map(str, payload.OLDEST_PYTHON))


def _why(host: str, complaints: str, error: LinkBroken | None) -> tuple[str, str | None]:
    """From what ssh said; its own last line where it is not known."""
    problem = understand(host, complaints)
    if problem is not None:
        reason = problem.reason.removesuffix(".")
        return f"{reason[0].lower()}{reason[1:]} ({problem.code})", problem.suggested_remedy
    return broken_line(host, error, complaints)


def broken_line(host: str, error: LinkBroken | None, complaints: str = "") -> tuple[str, str]:
    """About a line that ended, or did not come about, without ssh naming a known reason."""
    said = (complaints or (error.complaints if error else "")).strip().splitlines()
    last = f" ({said[-1][:200]})" if said else ""
    happened = f"the line to the host {host} does not work: {error or 'ssh ended'}{last}"
    return happened, f"Try `ssh -o BatchMode=yes {host} true` as the server's user; it is tried again by itself."
