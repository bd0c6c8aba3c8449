"""`manage.py run_site`: the whole site in one command; `make run` is this."""

import argparse
import io
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.http.request import validate_host

from librarian import first_run
from librarian.checks import refuse_bad_settings
from librarian.common.errors import ArchiveError
from librarian.common.heartbeat import HEARTBEATS, LATE_AFTER_SECONDS, last_sign_of_life
from librarian.common.jobs import BY_COMMAND, queue_job
from librarian.common.jobtable import CLUSTERS
from librarian.supervisor import Child, Supervisor, only_one

DEFAULT_PORT = 8000
READY_SECONDS = 90.0


def port_number(text: str) -> int:
    """A TCP port that a server can be given."""
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; choose a number from 1 to 65535")
    return int(text)


class Command(BaseCommand):
    help = "Set the site up where it is not, then run web server and job clusters until Ctrl-C."
    requires_system_checks: list[str] = []  # a fresh checkout has no name yet; the settings are checked below

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument(
            "--port", type=port_number, default=DEFAULT_PORT, help=f"port to listen on ({DEFAULT_PORT})"
        )
        parser.add_argument("--no-sample", action="store_true", help="bring no sample files")
        parser.add_argument("--no-setup", action="store_true", help="start what is there; for production")
        parser.add_argument("--only", choices=["web", "jobs"], help="run this half only")
        parser.add_argument(
            "--late-after",
            type=float,
            default=LATE_AFTER_SECONDS,
            metavar="S",
            help="seconds without work before a cluster is restarted",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        web, jobs = options["only"] != "jobs", options["only"] != "web"
        if web:
            check_port(options["host"], options["port"])
        try:
            if not options["no_setup"]:
                first_run.ensure_name(self.tell)
            refuse_bad_settings()
            with ExitStack() as locks:
                for half, wanted in (("web server", web), ("job clusters", jobs)):
                    if wanted:
                        lock = settings.LIBRARIAN_HOME / "run" / f"{half.replace(' ', '-')}.lock"
                        locks.enter_context(only_one(lock, what=f"the {half}"))
                login = None if options["no_setup"] else self._set_up(sample=not options["no_sample"])
                if jobs:
                    call_command("sync_schedules", stdout=io.StringIO())
                children = [*([web_server(options)] if web else []), *(job_clusters(options) if jobs else [])]
                supervisor = Supervisor(children, late_after_seconds=options["late_after"], tell=self.tell)
                supervisor.run(lambda running: self._announce(running, options, login))
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        except ArchiveError as error:
            raise CommandError(f"{error.reason} {error.suggested_remedy}") from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted during set-up; start again to go on.", returncode=130) from None
        self.tell("Stopped.")

    def tell(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _set_up(self, *, sample: bool) -> first_run.Login:
        first_run.prepare_database(self.tell)
        login = first_run.ensure_admin()
        first_run.ensure_store(self.tell)
        if sample:
            first_run.ensure_sample(self.tell)
        return login

    def _announce(self, running: Supervisor, options: dict[str, Any], login: first_run.Login | None) -> None:
        """Wait until everything answers, then say where the site is and how to get in."""
        url = address(options)
        for child in running.children:
            if child.cluster:
                queue_job(HEARTBEATS[child.cluster], trigger=BY_COMMAND)
        deadline = time.monotonic() + READY_SECONDS
        waiting = list(running.children)
        while waiting and not running.is_stopping and time.monotonic() < deadline:
            waiting = [child for child in waiting if not is_ready(child, url)]
            running.look_after()
            if waiting:
                running.pause()
        if running.is_stopping:
            return
        for child in waiting:
            where = f"; its log: {child.log_path}" if child.log_path else ""
            self.tell(f"{child.name} did not get ready within {READY_SECONDS:.0f} s{where}")
        if options["only"] == "jobs":
            self.tell(f"The job clusters of {settings.LIBRARIAN_NAME} run.")
            return
        self.tell(f"\nThe Librarian {settings.LIBRARIAN_NAME} runs at {url}")
        if login is not None:
            self._tell_login(login)
        self.tell("Stop it with Ctrl-C.\n")

    def _tell_login(self, login: first_run.Login) -> None:
        self.tell(f"  user      {login.username}")
        if login.password:
            self.tell(f"  password  {login.password}   (shown once; kept in {login.password_path})")
        elif login.password_path:
            self.tell(f"  password  as first printed; it is in {login.password_path} unless changed since")


def check_port(host: str, port: int) -> None:
    """Raise CommandError, naming the way out, unless a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            other = port + 1 if port < 65535 else DEFAULT_PORT
            raise CommandError(
                f"Port {port} on {host} is taken ({error.strerror}). Choose another: make run PORT={other} "
                f"(or manage.py run_site --port {other})."
            ) from error


def address(options: dict[str, Any]) -> str:
    """URL at which a browser on this machine finds the site."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(options["host"], options["host"])
    return f"http://{f'[{host}]' if ':' in host.strip('[]') and host[0] != '[' else host}:{options['port']}/"


def is_ready(child: Child, url: str) -> bool:
    """Whether the web server answers, or a cluster's worker has recorded work since it was started."""
    if child.cluster:
        seen = last_sign_of_life(child.cluster)
        return seen is not None and seen > child.started_at
    probe = urllib.request.Request(f"{url}health/live", headers={"Host": served_name(url)})  # noqa: S310  ours
    try:
        with urllib.request.urlopen(probe, timeout=5) as answer:  # noqa: S310  our own http address
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def served_name(url: str) -> str:
    """Name under which to ask our own server: its address, or a name that it serves where it does not serve that."""
    host = urlsplit(url).netloc
    if validate_host(host.rpartition(":")[0], settings.ALLOWED_HOSTS) or not settings.ALLOWED_HOSTS:
        return host
    return settings.ALLOWED_HOSTS[0].removeprefix(".")


def web_server(options: dict[str, Any]) -> Child:
    """gunicorn, with threads: most of a request is waiting for disk or database."""
    host = f"[{options['host']}]" if ":" in options["host"] else options["host"]
    command = [sys.executable, "-m", "gunicorn", "librarian.wsgi:application"]
    command += [f"--bind={host}:{options['port']}", "--worker-class=gthread"]
    command += [f"--config={settings.BASE_DIR / 'librarian' / 'web_server.py'}"]
    command += [f"--workers={settings.LIBRARIAN_WEB_PROCESSES}", f"--threads={settings.LIBRARIAN_WEB_THREADS}"]
    command += ["--timeout=120", "--graceful-timeout=30", "--keep-alive=75", "--no-control-socket"]
    command += [f"--chdir={settings.BASE_DIR}"]
    memory = Path("/dev/shm")  # noqa: S108  gunicorn's own advice: its heartbeat file must not wait for a disk
    if os.access(memory, os.W_OK):
        command += [f"--worker-tmp-dir={memory}"]
    return Child("web", command, log_path=log_path("web", options), grace_seconds=35.0)


def job_clusters(options: dict[str, Any]) -> list[Child]:
    """Both clusters. Named by the environment: the option of qcluster comes too late for its own settings."""
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"]
    return [
        Child(
            f"jobs-{name}",
            command,
            environment={"Q_CLUSTER_NAME": name},
            cluster=name,
            log_path=log_path(f"jobs-{name}", options),
        )
        for name in CLUSTERS
    ]


def log_path(name: str, options: dict[str, Any]) -> Path | None:
    """A file of its own under `make run`; in production what starts us collects the lines."""
    return None if options["no_setup"] else settings.LIBRARIAN_HOME / "logs" / f"{name}.log"
