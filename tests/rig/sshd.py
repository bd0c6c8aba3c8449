"""A real sshd on loopback for one run of the suite, with keys, known hosts and a client configuration of its own.

It runs as the user of the tests and lets that user in, by key only. What is missing is installed by apt as root, or
named in one sentence. `python -m tests.rig.sshd` shows that it works.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.rig.processes import RigError, die_with_parent, free_port, signal_group, stop_group, tail, wait_for

PROGRAMS = {"sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client", "rsync": "rsync"}
ADVICE = "Sending by rsync is tested over a real sshd. Install it with: sudo apt-get install "
HOST = "archive-over-there"  # known to nobody but the client configuration
PRIVILEGE_SEPARATION = Path("/run/sshd")


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")


def find_or_install() -> dict[str, str]:
    """Return the programs by name, installed by apt where we are root; RigError with the one command otherwise."""
    missing = sorted({package for program, package in PROGRAMS.items() if _find(program) is None})
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"{' and '.join(missing)} missing; installing with apt-get", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
            if subprocess.run(["apt-get", *command], env=environment, check=False).returncode != 0:
                break
    found = {program: path for program in PROGRAMS if (path := _find(program)) is not None}
    if len(found) < len(PROGRAMS):
        raise RigError(ADVICE + " ".join(sorted({PROGRAMS[program] for program in PROGRAMS if program not in found})))
    return found


class Sshd:
    """One sshd in a folder of its own.

    Attributes
    ----------
    port : int
    config : Path
        For `ssh -F`: `HOST` leads here, with our key and the right host key.
    """

    def __init__(self, folder: Path, *, options: Mapping[str, str] | None = None) -> None:
        self._programs = find_or_install()
        self.folder = folder
        self.port = free_port()
        self.config = folder / "ssh_config"
        self.log = folder / "sshd.log"
        self._options = dict(options or {})
        self._log_before = 0
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        for name in ("host_key", "user_key", "other_key"):
            self._make_key(name)
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        self.write_config()

    def _make_key(self, name: str) -> None:
        command = [self._programs["ssh-keygen"], "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.folder / name]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def write_config(
        self, *, port: int | None = None, key: str = "user_key", host_key: str = "host_key", name: str = "ssh_config"
    ) -> Path:
        """A client configuration; `key` and `host_key` other than the usual are wrong ones. Returns its path."""
        port = port or self.port
        known = self.folder / f"{name}.known_hosts"
        known.write_text(self.known_host(port=port, host_key=host_key))
        config = self.folder / name
        config.write_text(self.host_section(HOST, known, port=port, key=key))
        config.chmod(0o600)
        return config

    def known_host(self, *, port: int | None = None, host_key: str = "host_key") -> str:
        """The line of a known_hosts file that vouches for this sshd."""
        return f"[127.0.0.1]:{port or self.port} {(self.folder / f'{host_key}.pub').read_text()}"

    def host_section(self, alias: str, known: Path, *, port: int | None = None, key: str = "user_key") -> str:
        """The part of a client configuration by which `alias` leads here."""
        return (
            f"Host {alias}\n"
            "  HostName 127.0.0.1\n"
            f"  Port {port or self.port}\n"
            f"  IdentityFile {self.folder / key}\n"
            "  IdentitiesOnly yes\n"
            "  IdentityAgent none\n"
            f"  UserKnownHostsFile {known}\n"
            "  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking yes\n"
        )

    def start(self) -> None:
        """Start it and wait until it listens."""
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        options = {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "HostKey": str(self.folder / "host_key"),
            "AuthorizedKeysFile": str(self.folder / "authorized_keys"),
            "PidFile": "none",
            "StrictModes": "no",  # the run's directory may lie below one that others may write, such as /tmp
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "MaxStartups": "100",
            "PrintMotd": "no",
            **self._options,
        }
        self._log_before = self.log.stat().st_size if self.log.exists() else 0  # of an earlier life
        file = self.folder / "sshd_config"
        file.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
        self._process = subprocess.Popen(
            [self._programs["sshd"], "-D", "-E", self.log, "-f", file],  # found by its absolute path, as it insists
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        wait_for(self._listens, timeout_seconds=20, what=f"sshd on port {self.port}")

    def _listens(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RigError(f"sshd stopped while starting:\n{tail(self.log)}")
        return self.log.exists() and b"Server listening" in self.log.read_bytes()[self._log_before :]

    def kill(self, *, with_programs: bool = True) -> None:
        """Kill it and every session of it: as a power cut would, or without what runs in them, as a fault of it."""
        if self._process is not None:
            for pid in _descendants(self._process.pid):
                if not with_programs and not _is_sshd(pid):
                    continue
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            signal_group(self._process, signal.SIGKILL)
            self._process.wait(10)

    def freeze(self) -> None:
        """Let every session of it stand still, with the lines open."""
        self._tell_sessions(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the sessions go on."""
        self._tell_sessions(signal.SIGCONT)

    def _tell_sessions(self, number: int) -> None:
        for pid in self.sessions():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # ended meanwhile

    def sessions(self) -> list[int]:
        """Processes of its sessions, and what runs in them."""
        return [] if self._process is None else _descendants(self._process.pid)

    def count_connections(self) -> int:
        """Connections that were let in since it was made."""
        return self.log.read_text(errors="replace").count("Accepted publickey")

    def stop(self) -> None:
        """Stop it; harmless when it does not run."""
        if self._process is not None:
            stop_group(self._process)
            self._process = None


def write_shared_config(path: Path, hosts: Mapping[str, Sshd], *, through: Mapping[str, str] | None = None) -> Path:
    """One client configuration for several hosts, by alias; `through` names the alias that one is reached through."""
    known = path.with_name(f"{path.name}.known_hosts")
    known.write_text("".join(server.known_host() for server in hosts.values()))
    sections = []
    for alias, server in hosts.items():
        jump = (through or {}).get(alias)
        sections.append(server.host_section(alias, known) + (f"  ProxyJump {jump}\n" if jump else ""))
    path.write_text("".join(sections))
    path.chmod(0o600)
    return path


def _is_sshd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("sshd")
    except OSError:
        return False  # ended meanwhile


def _descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that they started: sessions leave the group (Linux)."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = entry.read_text().split(" ", 1)
        except OSError:
            continue
        parents.setdefault(int(rest.rpartition(")")[2].split()[1]), []).append(int(number))
    found, waiting = [], [pid]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


@contextmanager
def running(folder: Path | None = None) -> Iterator[Sshd]:
    """An sshd for the block."""
    with tempfile.TemporaryDirectory(prefix="librarian-sshd-") as temporary:
        server = Sshd(folder or Path(temporary))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def main() -> int:
    """Show that it lets us in."""
    try:
        with running() as server:
            command = ["ssh", "-F", server.config, "-o", "BatchMode=yes", HOST, "rsync --version"]
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            print(answer.stdout.splitlines()[0] if answer.stdout else answer.stderr)
            return answer.returncode
    except RigError as error:
        print(error, file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
