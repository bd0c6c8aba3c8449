"""Jobs of a real site, here and now, without the second and a half that `manage.py run_jobs` takes to start.

    with Jobs(site) as jobs:
        jobs.run("choose_files", "offer_files")
        jobs.evaluate("OutgoingTransfer.objects.count()")

Below it is one process per site that has Django and all jobs loaded, reads requests as JSON lines and forks a child for
each. A child that a test kills (LIBRARIAN_KILL_AT) takes nothing else with it, and every run has a process identity of
its own, as in a cluster.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.rig.databases import ROOT
from tests.rig.processes import RigError, die_with_parent, stop_group, tail
from tests.rig.servers import Site


class Killed(Exception):
    """The process that ran a job was killed on its way."""


class Jobs:
    """The process that runs the jobs of one site; `environment` is on top of the site's."""

    def __init__(self, site: Site, **environment: str) -> None:
        self.site = site
        self.log = site.folder / "jobs.log"
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> "Jobs":
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process. Harmless when it does not run."""
        if self._process is not None:
            stop_group(self._process, grace_seconds=2)  # type: ignore[arg-type]
            self._process = None

    def run(self, *names: str, check: bool = True, **options: Any) -> list[dict[str, Any]]:
        """Run jobs one after the other; each answers `{job, outcome, summary, error}`.

        Raises
        ------
        Killed
            The process died in the middle.
        RigError
            A job did not succeed, and `check` is on.
        """
        runs: list[dict[str, Any]] = self._ask(run=names, options=options)
        for run in runs:
            if check and run["outcome"] != "succeeded":
                raise RigError(f"{self.site.name}: {run['job']} {run['outcome']}: {run['error']}")
        return runs

    def evaluate(self, expression: str) -> Any:
        """Value of a Python expression inside the site (all models are imported); must be plain data for JSON."""
        return self._ask(evaluate=expression)

    def execute(self, code: str) -> None:
        """Run Python statements inside the site."""
        self._ask(execute=code)

    def _ask(self, **request: Any) -> Any:
        with self._one_at_a_time:
            if self._process is None or self._process.poll() is not None:
                self._start()
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise RigError(f"the jobs of {self.site.name} ended:\n{tail(self.log)}")
        answer = json.loads(line)
        if "killed" in answer:
            raise Killed(f"{self.site.name}: killed by signal {answer['killed']}")
        if "error" in answer:
            raise RigError(f"{self.site.name}: {answer['error']}")
        return answer["value"]

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.rig.jobs"],
                cwd=ROOT,
                env=self.site.environment(DJANGO_SETTINGS_MODULE="librarian.settings", **self._environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )


# --- Inside the process -----------------------------------------------------------------------------------------------


def main() -> None:
    """Answer requests, each from a child, until standard input ends."""
    import django

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a job prints goes to the log
    django.setup()
    _load_jobs()
    for line in sys.stdin:
        answers.write(_answer_from_child(line) + "\n")
        answers.flush()


def _load_jobs() -> None:
    from librarian.common.jobtable import all_jobs

    for job in all_jobs():
        try:
            _ = job.callable  # imported once here, not in every child
        except ImportError:
            pass  # its run will say so


def _answer_from_child(line: str) -> str:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _perform_and_leave(line, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return json.dumps({"killed": os.WTERMSIG(status)})
    return answer or json.dumps({"error": f"the child left with status {status}"})


def _perform_and_leave(line: str, writing: int) -> None:
    try:
        answer = {"value": _perform(**json.loads(line))}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    with os.fdopen(writing, "w") as pipe:
        pipe.write(json.dumps(answer, default=str))
    sys.stderr.flush()
    os._exit(0)


def _perform(
    *, run: tuple[str, ...] = (), options: dict[str, Any] | None = None, evaluate: str = "", execute: str = ""
) -> Any:
    if evaluate:
        return eval(evaluate, _names())
    if execute:
        return exec(execute, _names())
    return [_run(name, options or {}) for name in run]


def _run(name: str, options: dict[str, Any]) -> dict[str, Any]:
    from librarian.common.jobs import BY_COMMAND, run_job

    run = run_job(name, trigger=BY_COMMAND, options=options)
    return {"job": name, "outcome": str(run.outcome), "summary": run.summary, "error": run.error}


def _names() -> dict[str, Any]:
    """All models by name, as in `manage.py shell`."""
    from django.apps import apps

    return {model.__name__: model for model in apps.get_models()} | {"Path": Path}


if __name__ == "__main__":
    main()
