"""Trying a host out by ssh for a person: is its name known, its port open, its key the right one, ours let in.

Every try is a connection of its own: a shared one would still work after the door was closed.
"""

import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from librarian.common.findings import Finding, doubts, fails, works
from librarian.common.programs import Answered, ask_program
from librarian.common.ssh import (
    SshHostKeyChanged,
    SshKeyRefused,
    SshProblem,
    SshUnknownHost,
    SshUnreachable,
    host_problem,
    ssh_words,
    understand,
)

PORT_SECONDS = 5.0
LOGIN_SECONDS = 30.0
_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key is known for", re.I)


@dataclass(slots=True)
class Door:
    """How ssh would go to a host, by its configuration (`ssh -G`)."""

    name: str
    port: int
    user: str
    goes_through: str  # a jump host or proxy command, by which the host need not be known or reachable from here
    known_as: str  # in the files of known hosts
    known_hosts: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    checks_host_key: bool = True


def try_host(host: str, *, config: str = "") -> Iterator[Finding]:
    """Try each thing that a connection needs, up to the first behind which nothing can work."""
    if problem := host_problem(host):
        yield fails("ssh host", problem, "Give a name of letters, digits and _ . -, perhaps with user@ before it.")
        return
    if shutil.which("ssh") is None:
        yield fails("ssh", "it is not installed on this machine", "Install the OpenSSH client.")
        return
    door = _door(host, config)
    if isinstance(door, Finding):
        yield door
        return
    yield works("ssh configuration", f"{host} leads to {door.user}@{door.name}, port {door.port}{door.goes_through}")
    yield _key_files(door)
    for look in (_resolves, _listens):
        if not door.goes_through:
            found = look(host, door)
            yield found
            if not found.works:
                return
    if not door.checks_host_key:
        yield doubts(
            "ssh host key",
            "the configuration lets ssh believe any key of a host that it does not know yet",
            f"Set StrictHostKeyChecking to yes for {host}, and enter its key in known_hosts.",
        )
    yield from _login(host, config, door)


def fresh_command(host: str, config: str, *argv: str) -> list[str]:
    """An ssh command that shares no connection with others."""
    alone = ["-o", "ControlPath=none", "-o", "ControlMaster=no"]
    return [*ssh_words(config=config), *alone, "--", host, *argv]


# --- What the configuration says --------------------------------------------------------------------------------------


def _door(host: str, config: str) -> Door | Finding:
    answered = ask_program([*ssh_words(config=config), "-G", "--", host])
    if not answered.ok:
        where = config or "~/.ssh/config of the server's user"
        return fails("ssh configuration", answered.last_words, f"Mend {where}; `ssh -G {host}` shows what it says.")
    said: dict[str, list[str]] = {}
    for line in answered.output.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)

    def one(key: str, default: str = "") -> str:
        return said.get(key, [default])[0]

    name, port = one("hostname", host.rpartition("@")[2]), int(one("port", "22"))
    jump, command = one("proxyjump"), one("proxycommand")
    through = f", by way of {jump}" if jump not in ("", "none") else ""
    through = through or (", by a proxy command" if command not in ("", "none") else "")
    alias = one("hostkeyalias")
    known_as = alias if alias not in ("", "none") else name if port == 22 else f"[{name}]:{port}"
    files = f"{one('userknownhostsfile')} {one('globalknownhostsfile')}".split()
    return Door(
        name,
        port,
        one("user"),
        through,
        known_as,
        known_hosts=[os.path.expanduser(path) for path in files],
        keys=[os.path.expanduser(path) for path in said.get("identityfile", [])],
        checks_host_key=one("stricthostkeychecking", "true") in ("true", "yes", "ask"),
    )


def _key_files(door: Door) -> Finding:
    """ssh leaves a key alone that others may read."""
    there = [path for path in door.keys if os.path.exists(path)]
    for path in there:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & 0o077:
            return fails(
                "ssh keys", f"{path} is open to others (mode {mode:04o}); ssh does not use it", f"chmod 600 {path}"
            )
        if not os.access(path, os.R_OK):
            return fails(
                "ssh keys", f"{path} cannot be read by the server's user", f"Give it to that user: chown {path}"
            )
    if not there:
        return doubts(
            "ssh keys",
            f"none of the key files that ssh would use is there ({', '.join(door.keys) or 'none is named'})",
            "Make one as the server's user with ssh-keygen, or see that its agent also serves the jobs.",
        )
    return works("ssh keys", ", ".join(there))


# --- On the way there -------------------------------------------------------------------------------------------------


def _resolves(host: str, door: Door) -> Finding:
    try:
        found = socket.getaddrinfo(door.name, door.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return fails("host name", f"{door.name} is not known: {error.strerror or error}", SshUnknownHost.remedy)
    return works("host name", f"{door.name} is {found[0][4][0]}")


def _listens(host: str, door: Door) -> Finding:
    begun = time.monotonic()
    try:
        with socket.create_connection((door.name, door.port), timeout=PORT_SECONDS):
            pass
    except OSError as error:
        said = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        return fails("ssh port", f"port {door.port} of {door.name}: {said}", SshUnreachable.remedy)
    return works("ssh port", f"{door.port} is open, {(time.monotonic() - begun) * 1000:.0f} ms away")


def _login(host: str, config: str, door: Door) -> Iterator[Finding]:
    answered = ask_program(fresh_command(host, config, "true"), seconds=LOGIN_SECONDS)
    if answered.ok:
        yield works("ssh host key", f"{door.known_as} shows the key that is known here")
        yield works("ssh login", f"as {door.user}, without a question")
        if answered.output:
            yield fails(
                "ssh shell",
                "the account over there prints text before a command runs, which spoils what is carried",
                "Make its shell's start files (such as ~/.bashrc) silent where the shell is not interactive.",
            )
        return
    problem = understand(host, answered.complaints)
    if isinstance(problem, SshHostKeyChanged):
        yield _host_key(host, door, answered)
        return
    if not isinstance(problem, SshUnreachable | SshUnknownHost) and problem is not None:
        yield works("ssh host key", f"{door.known_as} shows the key that is known here")
    yield _refusal(host, config, door, answered, problem)


def _host_key(host: str, door: Door, answered: Answered) -> Finding:
    known = [path for path in door.known_hosts if os.path.exists(path) and _holds(path, door.known_as)]
    files = " and ".join(known or door.known_hosts[:1])
    if known and _CHANGED.search(answered.complaints):
        reason = f"{door.known_as} shows another host key than the one that {files} knows"
        remedy = f"Compare the keys with the people who run {host}. If theirs changed: ssh-keygen -R '{door.known_as}' "
        remedy += f"-f {known[0]}, then enter the new one. Until then nothing is sent there."
    else:
        reason = f"the host key of {door.known_as} is not known here"
        remedy = (
            f"Fetch it as the server's user with ssh-keyscan -p {door.port} {door.name}, compare it with the people "
        )
        remedy += f"who run {host}, and add it to {files or 'known_hosts'}."
    return fails("ssh host key", reason, remedy)


def _holds(path: str, name: str) -> bool:
    return ask_program(["ssh-keygen", "-F", name, "-f", path]).ok


def _refusal(host: str, config: str, door: Door, answered: Answered, problem: SshProblem | None) -> Finding:
    if answered.code is None:
        reason = f"{host} let nobody in within {LOGIN_SECONDS:.0f} s"
        return fails("ssh login", reason, "Look after the machine over there, its name service and its login scripts.")
    if isinstance(problem, SshUnreachable):
        remedy = "Look after sshd over there and the load of that machine; a tunnel may answer where it does not."
        return fails("ssh login", f"it does not answer as sshd should: {answered.last_words}", remedy)
    if isinstance(problem, SshKeyRefused):
        tried = ", ".join(path for path in door.keys if os.path.exists(path)) or "no key file"
        remedy = (
            f"Enter the public key in authorized_keys of {door.user} over there; see the modes of its home and .ssh."
        )
        return fails("ssh login", f"{host} refuses our key ({tried})", remedy)
    if problem is not None:
        return fails(
            "ssh login", problem.reason.removeprefix(f"The host {host} could not be used: "), problem.suggested_remedy
        )
    where = f" -F {config}" if config else ""
    remedy = f"Try `ssh{where} -o BatchMode=yes {host} true` as the server's user."
    return fails("ssh login", f"ssh ended with {answered.code}: {answered.last_words}", remedy)
