"""Real Librarians for tests: a gunicorn on a free port, job clusters if wanted, an own home and an own database.

The database is a copy of the run's template (tests/rig/databases.py), so a site is ready in seconds. Everything is
started in process groups that die with the test process. They are forked from processes that have imported what they
need (tests/rig/forks.py); with `TEST_FORKS=no`, as under `make soak`, each is a new interpreter.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.rig.databases import ADMIN, ADMIN_PASSWORD, ROOT, SiteDatabase, shared_template, site_environment
from tests.rig.forks import Forked, ForkServer, fork_server, must_start_anew
from tests.rig.processes import RigError, die_with_parent, free_port, signal_group, stop_group, tail, wait_for

__all__ = ["ADMIN", "ADMIN_PASSWORD", "STORE", "Site"]

STORE = "store"
FORKS = os.environ.get("TEST_FORKS") != "no"
Process = subprocess.Popen[bytes] | Forked


class Site:
    """One Librarian in processes of its own.

    Parameters
    ----------
    name : str
        Its `LIBRARIAN_NAME`.
    folder : Path
        A directory that need not exist; holds home, store, staging and logs.
    environment : mapping
        Settings on top of the usual, e.g. `{"LIBRARIAN_KILL_AT": "instance-committed"}`.
    """

    def __init__(
        self, name: str, folder: Path, *, environment: Mapping[str, str] | None = None, workers: int = 1
    ) -> None:
        self.name = name
        self.workers = workers
        self.folder = folder
        self.home = folder / "home"
        self.store_path = folder / "store"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.overrides = dict(environment or {})
        self.web: Process | None = None
        self.clusters: dict[str, Process] = {}
        self.web_log = folder / "web.log"
        self._forks: ForkServer | None = None
        self._forks_made_for: object = None
        self._old_forks: list[ForkServer] = []
        self._database: SiteDatabase | None = None

    # --- Life ---------------------------------------------------------------------------------------------------------

    def prepare(self, *, store: bool = True) -> None:
        """Make home and database (migrated, with an administrator) and, unless told otherwise, one store."""
        self.home.mkdir(parents=True)
        template = shared_template()
        self._database = template.copy(self.home)
        (self.home / "static").symlink_to(template.home / "static")
        if store:
            self.store_path.mkdir()
            self.manage("add_store", STORE, "--kind", "posix", "--path", str(self.store_path))

    def start(self, **environment: str) -> None:
        """Start the web process and wait until it answers; `environment` counts for this start only."""
        if self.web is not None and self.web.poll() is None:
            raise RigError(f"{self.name} runs already")
        command = ["-m", "gunicorn", "librarian.wsgi:application", f"--bind=127.0.0.1:{self.port}"]
        command += [
            "--worker-class=gthread",
            f"--workers={self.workers}",
            "--threads=8",
            "--timeout=120",
            "--graceful-timeout=20",
        ]
        command += ["--no-control-socket", "--access-logfile=-"]
        if "LIBRARIAN_KILL_AT" in self.overrides:
            command.append("--preload")  # workers that a test kills one after the other are forked, not started anew
        self.web = self._spawn(command, self.web_log, environment)
        self._wait_until_live()

    def start_cluster(self, cluster: str = "default", **environment: str) -> Process:
        """Start the job cluster `default` or `bulk`; it leads a process group of its own."""
        command = ["manage.py", "qcluster"]
        environment = {"Q_CLUSTER_NAME": cluster, **environment}
        self.clusters[cluster] = self._spawn(command, self.folder / f"cluster-{cluster}.log", environment)
        return self.clusters[cluster]

    def kill(self) -> None:
        """Kill -9 the web process and everything it started, as a power cut would."""
        if self.web is not None:
            signal_group(self.web, signal.SIGKILL)
            self.web.wait(10)

    def kill_cluster(self, cluster: str = "default") -> None:
        """Kill -9 a job cluster with all its workers."""
        process = self.clusters.pop(cluster)
        signal_group(process, signal.SIGKILL)
        process.wait(10)

    def restart(self, **environment: str) -> None:
        """Stop the web process gracefully if it runs, and start it again on the same port and home."""
        if self.web is not None:
            stop_group(self.web, grace_seconds=30)
        self.start(**environment)

    def stop(self) -> None:
        """Stop all processes and give back the database. Harmless when nothing runs."""
        for process in [*self.clusters.values(), *([self.web] if self.web else [])]:
            stop_group(process)
        self.clusters.clear()
        self.web = None
        for forks in [*self._old_forks, *([self._forks] if self._forks else [])]:
            forks.stop()
        self._old_forks.clear()
        self._forks = None
        if self._database is not None:
            self._database.drop()
            self._database = None

    # --- Use ----------------------------------------------------------------------------------------------------------

    def manage(
        self, *arguments: str, check: bool = True, timeout_seconds: float = 120, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a management command against this site; RigError with its output when it fails and `check` is on."""
        env, command = self.environment(**environment), ["manage.py", *arguments]
        forks = self._fork_server(env)
        if forks is not None:
            answer = forks.run(command, env=env, timeout=timeout_seconds)
        else:
            answer = subprocess.run(
                [sys.executable, *command],
                cwd=ROOT,
                env=env,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        if check and answer.returncode != 0:
            raise RigError(f"manage.py {' '.join(arguments)}: exit {answer.returncode}\n{answer.stdout}{answer.stderr}")
        return answer

    def evaluate(self, expression: str) -> Any:
        """Value of a Python expression inside the site (all models are imported); must be plain data for JSON.

        For what no page or endpoint tells: `site.evaluate("File.objects.count()")`.
        """
        code = f"import json; print(json.dumps({expression}, default=str))"
        return json.loads(self.manage("shell", "-v", "0", "-c", code).stdout.splitlines()[-1])

    def environment(self, **more: str) -> dict[str, str]:
        """What a process of this site finds in its environment."""
        if self._database is None:
            raise RigError(f"{self.name} is not prepared")
        return site_environment(self.home, self._database.url, self.name, {**self.overrides, **more})

    def is_live(self) -> bool:
        """Whether the web process answers its health page."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/live", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def wait_until_dead(self, *, timeout_seconds: float = 30) -> None:
        """Wait until a worker that was told to kill itself (LIBRARIAN_KILL_AT) has done so, then kill the rest."""
        wait_for(
            lambda: "was sent SIGKILL" in tail(self.web_log, 200) or (self.web and self.web.poll() is not None),
            timeout_seconds=timeout_seconds,
            what=f"the worker of {self.name} to die",
        )
        self.kill()

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _spawn(self, command: list[str], log_path: Path, environment: Mapping[str, str]) -> Process:
        env = self.environment(**environment)
        forks = self._fork_server(env)
        with log_path.open("ab") as log, open(os.devnull, "rb") as nothing:
            if forks is not None:
                streams = (nothing.fileno(), log.fileno(), log.fileno())
                return forks.start(command, env=env, streams=streams, start_new_session=True)
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=env,
                stdin=nothing,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )

    def _fork_server(self, env: Mapping[str, str]) -> ForkServer | None:
        """Who forks a process with this environment: the site's own server if its settings are the usual ones.

        Settings are read once, so what they were read from must be as it was: the environment and the files of keys.
        """
        if not FORKS or must_start_anew(env):
            return None
        usual = _for_settings(self.environment())
        if _for_settings(env) != usual:
            return fork_server()
        keys = self._keys()
        if self._forks is not None and (not self._forks.lives or self._forks_made_for != (usual, keys)):
            # Its children die with it, and they may still run: so it stays until the site stops.
            self._old_forks.append(self._forks)
            self._forks = None
        if self._forks is None:
            self._forks = fork_server().with_django(usual)
            self._forks_made_for = (usual, self._keys())  # made by reading the settings, if they were not there
        return self._forks

    def _keys(self) -> list[tuple[str, bytes]]:
        return sorted((path.name, path.read_bytes()) for path in self.home.glob("keys/*") if path.is_file())

    def _wait_until_live(self) -> None:
        def live() -> bool:
            if self.web is None or self.web.poll() is not None:
                raise RigError(f"{self.name} stopped while starting:\n{tail(self.web_log)}")
            return self.is_live()

        try:
            wait_for(live, timeout_seconds=45, what=f"{self.url}/health/live")
        except RigError as error:
            self.kill()
            raise RigError(f"{error}\n{tail(self.web_log)}") from None


def _for_settings(env: Mapping[str, str]) -> dict[str, str]:
    """An environment without what is read later than the settings are."""
    return {name: value for name, value in env.items() if name != "LIBRARIAN_KILL_AT"}
