"""Which process is which: a name for the present process that no later one shares, and whether its bearer is dead.

The name reads `<host>:<pid>:<boot>.<namespace>.<start>`; the last part tells a process from a later one with the same
number. Only what certainly does not run any more is called dead: another host's process never is.
"""

import os
import socket
from functools import cache
from pathlib import Path


def own_identity() -> str:
    """Name of the process that asks."""
    return _identity(os.getpid())


def own_host() -> str:
    """The part of a name that all processes of this host share."""
    return socket.gethostname()[:64]


def identity_of(pid: int) -> str:
    """Name of another process of this host, for one that this process started."""
    return f"{own_host()}:{pid}:{boot_id()}.{_namespace()}.{_started(pid)}"


@cache  # one entry per process: a fork has another pid
def _identity(pid: int) -> str:
    return identity_of(pid)


def pid_of(identity: str) -> int:
    """Process number inside a name."""
    return int(identity.rsplit(":", 2)[1])


def is_dead(identity: str) -> bool:
    """True if the process that bore this name has certainly ended.

    Same host and another boot: it ended with that boot. Same boot and process namespace: the process table tells.
    Anything else (another host, another container) cannot be seen from here and is not called dead.
    """
    try:
        host, pid, incarnation = identity.rsplit(":", 2)
        boot, namespace, started = incarnation.split(".")
    except ValueError:
        return False
    if host != own_host():
        return False
    if boot != boot_id():
        return True
    return namespace == _namespace() and _started(int(pid)) != started


@cache
def boot_id() -> str:
    """What tells this run of the machine from any other; the machine's own word, or empty where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return "0"  # not Linux: told apart by number alone


@cache
def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return "0"


def _started(pid: int) -> str:
    """Clock ticks after boot at which the process began (field 22 of /proc/PID/stat, proc(5)); `gone` without one.

    A zombie has ended, whatever its parent is waiting for.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return "gone" if Path("/proc/self/stat").exists() else _started_elsewhere(pid)
    except ProcessLookupError:
        return "gone"
    return "gone" if fields[0] in ("Z", "X") else fields[19]


def _started_elsewhere(pid: int) -> str:
    """Where there is no /proc, all that can be asked is whether the number is in use."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass  # somebody's process: the number is in use
    return "0"
