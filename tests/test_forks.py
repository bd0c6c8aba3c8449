"""Processes from the fork server are like any others: their own arguments, environment, streams, end and death."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.forks import fork_server, must_start_anew
from tests.rig.processes import wait_for

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.database_independent


@pytest.fixture
def run(tmp_path):
    """Run a few lines as a script: `run("print(1)", "--word", input="…", NAME="value")`."""

    def run(source, *words, input=None, timeout=30, **environment):
        (tmp_path / "script.py").write_text(source)
        env = {"PATH": os.environ["PATH"], **environment}
        return fork_server().run(["script.py", *words], env=env, cwd=tmp_path, input=input, timeout=timeout)

    return run


def test_what_a_process_is_given_is_all_that_it_sees(run, tmp_path):
    source = "import os, sys; print(sys.argv, dict(os.environ), os.getcwd(), __name__, sys.stdin.read())"
    ran = run(source, "a b", input="line", ONLY="this")
    environment = {"PATH": os.environ["PATH"], "ONLY": "this"}
    assert ran.stdout == f"['script.py', 'a b'] {environment} {tmp_path} __main__ line\n"


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("print('out')", 0, ""),
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('why')", 1, "why\n"),
        ("raise ValueError('oh')", 1, "ValueError: oh\n"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt\n"),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
        ("import atexit, sys; atexit.register(print, 'bye', file=sys.stderr)", 0, "bye\n"),
        ("import threading, os; threading.Timer(0.2, lambda: os._exit(5)).start()", 5, ""),
    ],
)
def test_it_ends_as_a_new_interpreter_would(run, tmp_path, source, code, said):
    ran = run(source)
    alone = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (code, alone.stdout)
    assert alone.returncode == code
    assert ran.stderr.endswith(said)
    assert alone.stderr.endswith(said)


def test_one_that_takes_too_long_is_killed(run):
    with pytest.raises(subprocess.TimeoutExpired):
        run("import time; time.sleep(600)", timeout=0.2)


def test_none_outlives_the_process_that_wanted_it(tmp_path):
    """Killed as by a power cut, the asker takes its fork server and what that started with it."""
    (tmp_path / "sleep.py").write_text("import time; time.sleep(600)")
    code = (
        "import os; from tests.rig.forks import fork_server; s = fork_server();"
        f"p = s.start([{str(tmp_path / 'sleep.py')!r}], env=dict(os.environ), start_new_session=True);"
        "print(s.process.pid, p.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    wait_for(lambda: not any(map(_runs, ended.stdout.split())), timeout_seconds=20, what="both to be gone")


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_environment_that_only_a_new_interpreter_notices_is_known():
    ours = dict(os.environ)
    assert not must_start_anew({**ours, "LIBRARIAN_NAME": "other", "PYTHONUNBUFFERED": "1"})
    assert must_start_anew({**ours, "PYTHONUTF8": "0"})
    assert must_start_anew({**ours, "LC_ALL": "other"})
