"""Python processes without the second that importing takes: forked from one that has imported the libraries.

A fork server is a process of its own. Asked over a socket, it forks; the child gets arguments, environment, directory
and streams as a new process would, and runs `-m module` or a script. It is a process like any other: it can be killed,
has its own memory and ends with its own exit code. What it does not see is a setting that the interpreter itself reads
when it starts (PYTHON…, LC_…): `must_start_anew` tells which those are.

A server can be asked for another that has set Django up for one environment as well: one for each site of the tests.
"""

import atexit
import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hera_librarian
from tests.rig.processes import RigError, die_with_parent

ROOT = Path(__file__).resolve().parents[2]
LONGEST_REQUEST = 200_000
# Slow to import, the same whatever the settings.
LIBRARIES = (
    *("pydantic", "requests", "tqdm", "xxhash", "psutil", "psycopg2", "cryptography.fernet", "argon2", "re2", "numpy"),
    *("django.contrib.admin", "django.contrib.auth.hashers", "django.core.management.commands.migrate"),
    *("django.core.serializers.json", "django.db.models", "django.views.generic", "rest_framework.settings"),
    *("gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "whitenoise.base", "arrow", "croniter", "blessed"),
)
_READ_BY_THE_INTERPRETER = ("PYTHON", "LC_", "LANG", "MALLOC")
_HARMLESS = {"PYTHONUNBUFFERED", "PYTHONPATH"}  # done by hand below; the tree is on every path


def must_start_anew(environment: Mapping[str, str]) -> bool:
    """Whether a process with this environment differs from ours in what only a new interpreter notices."""
    names = {name for name in {*environment, *os.environ} if name.startswith(_READ_BY_THE_INTERPRETER)} - _HARMLESS
    return any(environment[name] != os.environ.get(name) for name in names & set(environment))


# --- Asking -----------------------------------------------------------------------------------------------------------


class Forked:
    """A process that a fork server started, used as one uses `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], pid: int, line: socket.socket) -> None:
        self.args = list(arguments)
        self.pid = pid
        self.returncode: int | None = None
        self._line = line
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = 3600.0 if deadline is None else max(0.0, deadline - time.monotonic())
            code = self._look(left)
            if code is not None:
                return code
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, seconds: float) -> int | None:
        if self.returncode is None and select.select([self._line], [], [], seconds)[0]:
            with self._lock:
                if self.returncode is None:
                    said = self._line.recv(64)
                    self.returncode = (
                        int(said) if said else -signal.SIGKILL
                    )  # the server died, and its children with it
                    self._line.close()
        return self.returncode


class ForkServer:
    """The near end of a fork server."""

    def __init__(self, line: socket.socket, process: "subprocess.Popen[bytes] | Forked") -> None:
        self.process = process
        self._line = line
        self._lock = threading.Lock()

    def start(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | str = ROOT,
        streams: tuple[int, int, int] | None = None,
        start_new_session: bool = False,
    ) -> Forked:
        """Start `-m module …` or `script …`; `streams` are file numbers for its input, output and errors."""
        how = {"arguments": [str(word) for word in arguments], "session": start_new_session}
        return self._ask(how, env=env, cwd=cwd, streams=streams)

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | str = ROOT,
        input: str | None = None,
        timeout: float | None = None,
        stdout: int | io.IOBase | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run to its end like `subprocess.run(..., capture_output=True, text=True)`; `stdout` may go elsewhere."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
            given.write((input or "").encode())
            given.seek(0)
            out = said if stdout in (None, subprocess.PIPE) else stdout
            out_number = out if isinstance(out, int) else out.fileno()
            process = self.start(arguments, env=env, cwd=cwd, streams=(given.fileno(), out_number, errors.fileno()))
            try:
                code = process.wait(timeout)
            except BaseException:
                process.kill()
                process.wait(10)
                raise
            texts = []
            for stream in (said, errors):
                stream.seek(0)
                texts.append(io.TextIOWrapper(stream, encoding="utf-8", errors="replace").read())
            return subprocess.CompletedProcess(process.args, code, texts[0], texts[1])

    def with_django(self, environment: Mapping[str, str]) -> "ForkServer":
        """Start a server below this one that has set Django up with this environment."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = self._ask({"serve": True}, env=environment, cwd=ROOT, streams=None, more=[theirs.fileno()])
        if not ours.recv(64):
            raise RigError("Django could not be set up for the fork server; what it said is above")
        return ForkServer(ours, process)

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """End the server, and with it what it started."""
        self._line.close()
        self.process.kill()
        self.process.wait(10)

    def _ask(
        self,
        how: dict[str, Any],
        *,
        env: Mapping[str, str],
        cwd: Path | str,
        streams: tuple[int, int, int] | None,
        more: Sequence[int] = (),
    ) -> Forked:
        mask = os.umask(0o022)
        os.umask(mask)
        request = json.dumps({**how, "env": dict(env), "cwd": str(cwd), "umask": mask}).encode()
        if len(request) > LONGEST_REQUEST:
            raise RigError("the environment is too long for the fork server")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        nothing = os.open(os.devnull, os.O_RDWR) if streams is None else -1
        try:
            numbers = [theirs.fileno(), *(streams or (nothing, nothing, 2)), *more]
            with self._lock:
                socket.send_fds(self._line, [request], numbers)
        except OSError as error:
            raise RigError(f"the fork server is gone: {error}") from error
        finally:
            theirs.close()
            if nothing >= 0:
                os.close(nothing)
        pid = ours.recv(64)
        if not pid:
            raise RigError("the fork server died")
        return Forked(how.get("arguments", []), int(pid), ours)


_server: ForkServer | None = None
_starting = threading.Lock()


def fork_server() -> ForkServer:
    """Return the server of this test process; started when first wanted, gone when the test process is."""
    global _server
    with _starting:
        if _server is None or not _server.lives:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.rig.forks", str(theirs.fileno())],
                    cwd=ROOT,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    preexec_fn=die_with_parent(signal.SIGKILL),
                )
            _server = ForkServer(ours, process)
            atexit.register(_server.stop)
        return _server


# --- Serving ----------------------------------------------------------------------------------------------------------


class _Child(Exception):
    """Unwinds the server's frames in a child: what is to be done there instead."""

    def __init__(self, request: dict[str, Any], numbers: list[int]) -> None:
        self.request = request
        self.numbers = numbers


def _serve(line: socket.socket) -> None:
    """Fork on request and tell how the children end, until the asker is gone. Raises _Child in each child."""
    gc.collect()
    gc.freeze()  # the collector must not touch, and so copy, what parent and children share
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    lines: dict[int, int] = {}
    while True:
        ready = select.select([line, reader], [], [])[0]
        if reader in ready:
            os.read(reader, 4096)
            _tell_ends(lines)
        if line not in ready:
            continue
        said, numbers, _, _ = socket.recv_fds(line, LONGEST_REQUEST, 16)
        if not said:
            return
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (reader, writer, numbers[0], *lines.values()):
                os.close(number)
            line.close()
            raise _Child(json.loads(said), numbers[1:])
        for number in numbers[1:]:
            os.close(number)
        lines[pid] = numbers[0]
        os.write(numbers[0], str(pid).encode())


def _tell_ends(lines: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        number = lines.pop(pid)
        try:
            os.write(number, str(os.waitstatus_to_exitcode(status)).encode())
        except BrokenPipeError:
            pass  # nobody waits for it any more
        os.close(number)


def _become(request: dict[str, Any], numbers: list[int]) -> list[int]:
    """Make this child what it was asked to be; returns the file numbers that are left."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the server
    if request.get("session"):
        os.setsid()
    for target, number in enumerate(numbers[:3]):
        os.dup2(number, target)
    for number in set(numbers[:3]) - {0, 1, 2}:
        os.close(number)
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)  # noqa: SIM115
    sys.stdout.reconfigure(write_through=unbuffered, line_buffering=unbuffered)
    sys.stderr = open(2, "w", 1, sys.stderr.encoding, "backslashreplace", closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    return numbers[3:]


def _act(request: dict[str, Any], numbers: list[int]) -> None:
    left = _become(request, numbers)
    if request.get("serve"):
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "librarian.settings")
        import django
        from django.db import connections

        django.setup()
        importlib.import_module("django.core.management.base")
        importlib.import_module("librarian.urls")
        connections.close_all()
        line = socket.socket(fileno=left[0])
        line.send(b"ready")
        _life(line)
        return
    words = request["arguments"]
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def _life(line: socket.socket) -> None:
    try:
        _serve(line)
    except _Child as child:
        request, numbers = child.request, child.numbers
    else:
        return
    _end(request, numbers)


def _end(request: dict[str, Any], numbers: list[int]) -> None:
    """Act, and end as the interpreter does, except that it does not take all that is imported apart first."""
    try:
        _act(request, numbers)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        if not isinstance(leaving.code, int | None):
            print(leaving.code, file=sys.stderr)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or 120  # what the interpreter answers then
    os._exit(code & 0xFF)


def main() -> None:
    """Import the libraries, then fork for whoever has the other end of the socket."""
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # renamed or gone: its import is only slower
    for module in pkgutil.walk_packages(hera_librarian.__path__, "hera_librarian."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    sys.modules["tests.rig.forks"] = sys.modules["__main__"]
    _life(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
