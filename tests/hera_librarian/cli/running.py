"""Running the real command in a process of its own, with a home of its own.

The process is forked from one that has imported the client (tests/rig/forks.py), unless its environment is one that
only a new interpreter notices.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.rig.forks import fork_server, must_start_anew
from tests.rig.servers import FORKS

ROOT = Path(__file__).resolve().parents[3]
NIGHT = [f"zen.2461364.{number:05}.sum.uvh5" for number in range(70)]
PASSWORDS = {"reader": "reads-the-archive", "pipeline": "appends-to-the-archive"}


@dataclass
class Ran:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)

    @property
    def records(self):
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def lines(self):
        return self.out.splitlines()


def command_line(*words):
    return [sys.executable, "-m", "hera_librarian.cli", *map(str, words)]


def environment_of(folder: Path, connections: dict, **more: str) -> dict[str, str]:
    """What the command finds in its environment: a home of its own with these connections."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    config = folder / ".hl_client.cfg"
    config.write_text(json.dumps({"connections": connections}))
    config.chmod(0o600)
    return {**kept, "HOME": str(folder), "PYTHONPATH": str(ROOT), **more}


def run_command(*words, cwd, env, stdin=None, timeout_seconds=120, stdout=subprocess.PIPE) -> Ran:
    if FORKS and not must_start_anew(env):
        ended = fork_server().run(
            command_line(*words)[1:], cwd=cwd, env=env, input=stdin, timeout=timeout_seconds, stdout=stdout
        )
    else:
        given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        ended = subprocess.run(
            command_line(*words),
            cwd=cwd,
            env=env,
            text=True,
            timeout=timeout_seconds,
            check=False,
            stdout=stdout,
            stderr=subprocess.PIPE,
            **given,
        )
    assert "Traceback" not in ended.stderr
    assert "This should not happen" not in ended.stderr
    return Ran(ended.returncode, ended.stdout or "", ended.stderr)
