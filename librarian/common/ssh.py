"""The system's own ssh: how it is called, and what it means when it ends without having carried anything.

What is done over it lives with stores (stores/backends/ssh/) and providers (network/providers/rsync.py).
"""

import re
import shlex
from collections.abc import Sequence
from http import HTTPStatus

from librarian.common.errors import ArchiveError

CONNECT_SECONDS = 20
ALIVE_SECONDS = 15
_HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*")


class SshProblem(ArchiveError):
    """ssh could not begin on a host: nothing was done there."""

    code = "ssh_failed"
    status = HTTPStatus.BAD_GATEWAY
    remedy = "Its own words are in the reason; try `ssh -o BatchMode=yes HOST true` as the server's user."
    passing = True


class SshHostKeyChanged(SshProblem):
    code = "ssh_host_key_refused"
    remedy = (
        "Compare the host's key with the people who run it, then enter the right one in known_hosts of the server's "
        "user (ssh-keyscan, ssh-keygen -R). Until then nothing is sent there."
    )
    passing = False


class SshKeyRefused(SshProblem):
    code = "ssh_key_refused"
    remedy = (
        "Enter the public key of the server's user in authorized_keys of the account over there, and try "
        "`ssh -o BatchMode=yes HOST true` as that user."
    )
    passing = False


class SshUnknownHost(SshProblem):
    code = "ssh_unknown_host"
    remedy = "Give the host a name that DNS or ~/.ssh/config of the server's user knows."
    passing = False


class SshUnreachable(SshProblem):
    code = "ssh_unreachable"
    remedy = "Check that sshd runs there, its port, and the tunnel or firewall between; it is tried again."


class NoRemoteRsync(SshProblem):
    code = "remote_rsync_missing"
    remedy = "Install rsync on the host over there, where the account that we use finds it."
    passing = False


# What ssh, or the shell behind it, says in the C locale.
_WORDS: Sequence[tuple[re.Pattern[str], type[SshProblem], str]] = (
    (
        re.compile(r"host key verification failed|remote host identification has changed|host key is known for", re.I),
        SshHostKeyChanged,
        "its host key is not known here, or is not the one that is",
    ),
    (re.compile(r"could not resolve hostname", re.I), SshUnknownHost, "no such host is known here"),
    (
        re.compile(r"connection refused|connection timed out|no route to host|network is unreachable", re.I),
        SshUnreachable,
        "it cannot be reached",
    ),
    (
        re.compile(r"permission denied \([a-z,-]*\)|too many authentication failures|no more auth", re.I),
        SshKeyRefused,
        "it refuses our key",
    ),
    (
        re.compile(r"rsync:? (command )?not found|rsync: no such file|command not found: rsync", re.I),
        NoRemoteRsync,
        "it has no rsync",
    ),
    (
        re.compile(r"connection closed by|connection reset by|kex_exchange|closed by remote host", re.I),
        SshUnreachable,
        "it closed the connection",
    ),
)


def host_problem(host: object) -> str:
    """What is wrong with the name of a host as an argument of ssh; empty when it may be used."""
    if not isinstance(host, str) or not _HOST.fullmatch(host) or len(host) > 255:
        return "it names a host for SSH that is no plain host name"
    return ""


def ssh_words(*, config: str = "", control_path: str = "", persist_seconds: int = 0) -> list[str]:
    """The words of an ssh command up to the host: it never asks anybody anything, and gives up on a dead connection.

    Parameters
    ----------
    config : str
        A configuration file instead of the user's own.
    control_path : str
        A socket by which several commands share one connection, kept `persist_seconds` after the last of them.
    """
    words = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
    words += ["-o", f"ServerAliveInterval={ALIVE_SECONDS}", "-o", "ServerAliveCountMax=4"]
    words += ["-o", "ForwardAgent=no", "-o", "ForwardX11=no", "-o", "ClearAllForwardings=yes"]
    if control_path:
        words += ["-o", "ControlMaster=auto", "-o", f"ControlPath={control_path}"]
        words += ["-o", f"ControlPersist={persist_seconds}"]
    if config:
        words += ["-F", config]
    return words


def remote_shell(config: str = "") -> str:
    """What rsync is told to start."""
    return shlex.join(ssh_words(config=config))


def understand(host: str, complaints: str) -> SshProblem | None:
    """Why ssh could not begin, from what it said; None when it said nothing of the kind."""
    for words, kind, said in _WORDS:
        if words.search(complaints):
            return kind(f"The host {host} could not be used: {said}.")
    return None
