"""`manage.py run_network`: three sites on one machine, of which each sends to the next; `make network` is this.

Each is a whole site (`run_site`) with a home, a database, a port and a log of its own, known to its neighbours by the
same invitation that real sites use. What runs here knows no more of them than a person at a terminal would.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from librarian.common.children import kill_group, start_child
from librarian.common.errors import ArchiveError, Refused
from librarian.first_run import ADMIN
from librarian.management.commands.run_site import check_port, port_number
from librarian.supervisor import only_one

NAMES = ("source", "central", "destination")
DEFAULT_PORT = 8001
READY_SECONDS = 240.0
STOP_SECONDS = 60.0
SETTINGS = {"LIBRARIAN_ENV_FILE": "none", "LIBRARIAN_WEB_PROCESSES": "1", "LIBRARIAN_BULK_WORKERS": "2"}
_NOT_INHERITED = ("LIBRARIAN_", "DATABASE_URL", "Q_CLUSTER_NAME")


@dataclass
class TourSite:
    """One of the three: where it keeps its state, and the process that runs it."""

    name: str
    home: Path
    port: int
    process: "subprocess.Popen[Any] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        return self.home / "logs" / "site.log"

    @property
    def down_mark(self) -> Path:
        """Lies there as long as the site is to be down."""
        return self.home / "is-down"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def environment(self) -> dict[str, str]:
        """What its processes find: nothing of the site that this checkout may be besides."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        ours = {"LIBRARIAN_NAME": self.name, "LIBRARIAN_HOME": str(self.home), "LIBRARIAN_PUBLIC_URL": self.url}
        return {**inherited, **SETTINGS, **ours, "DATABASE_URL": f"sqlite:///{self.home / 'librarian.sqlite3'}"}

    def start(self, *, sample: bool) -> None:
        """Start it; it sets itself up first where it is new."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self.log_path.touch(mode=0o600)  # its first start prints a password
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "run_site", "--port", str(self.port)]
        with self.log_path.open("ab") as log:
            self.process = start_child(
                [*command, *([] if sample else ["--no-sample"])],
                when_we_die=signal.SIGTERM,  # it stops as it does by Ctrl-C
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """Ask it to stop as Ctrl-C would, and wait until it has; kill what is left."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        kill_group(self.process.pid)
        self.process.wait()
        self.process = None

    def is_live(self) -> bool:
        """Whether its web server answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/live", timeout=5) as answer:  # noqa: S310  ours
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def manage(self, *words: str) -> str:
        """What one of its commands prints. CommandError with its words when it fails."""
        ended = subprocess.run(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), *words],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise CommandError(f"{self.name}: manage.py {words[0]} failed.\n{ended.stdout}{ended.stderr}".rstrip())
        return ended.stdout.strip()

    def password(self) -> str:
        """Of its administrator, as its first start wrote it down."""
        path = self.home / "admin-password"
        return path.read_text().strip() if path.exists() else "(changed since)"


class Command(BaseCommand):
    help = (
        "Run three sites on this machine until Ctrl-C: source sends to central, central to destination. The first has "
        "sample files. While they run, --down and --up take one of them away and bring it back."
    )
    requires_system_checks: list[str] = []  # about the sites that it starts, which check themselves

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port", type=port_number, default=DEFAULT_PORT, help=f"of the first; the others follow ({DEFAULT_PORT})"
        )
        parser.add_argument(
            "--home", type=Path, metavar="D", help="where they keep their state (LIBRARIAN_HOME/network)"
        )
        parser.add_argument("--no-sample", action="store_true", help="bring no sample files")
        either = parser.add_mutually_exclusive_group()
        either.add_argument("--down", choices=NAMES, help="take this site down in the network that runs")
        either.add_argument("--up", choices=NAMES, help="bring it up again")

    def handle(self, *args: Any, **options: Any) -> None:
        home = (options["home"] or settings.LIBRARIAN_HOME / "network").absolute()
        self.sites = [TourSite(name, home / name, options["port"] + at) for at, name in enumerate(NAMES)]
        self.sample = not options["no_sample"]
        lock = home / "run" / "network.lock"
        try:
            if options["down"] or options["up"]:
                self._switch(lock, options["down"] or options["up"], down=bool(options["down"]))
            else:
                with only_one(lock, what="the network"):
                    self._run()
        except ArchiveError as error:
            raise CommandError(f"{error.reason} {error.suggested_remedy}") from error

    def tell(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    # --- All three ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        for site in self.sites:
            check_port("127.0.0.1", site.port)
            site.down_mark.unlink(missing_ok=True)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)  # all stop it as Ctrl-C does
        try:
            self.tell(f"Starting {', '.join(NAMES)} below {self.sites[0].home.parent}; the first time takes a minute …")
            for site in self.sites:
                site.start(sample=self.sample and site is self.sites[0])
            for site in self.sites:
                self._wait_until_live(site)
            for sender, receiver in zip(self.sites, self.sites[1:], strict=False):
                self._connect(sender, receiver)
            self._announce()
            while True:
                self._look_after()
                time.sleep(0.5)
        except KeyboardInterrupt:
            self.tell("\nStopping …")
        finally:
            for site in self.sites:
                if site.is_running and site.process is not None:
                    site.process.terminate()  # all at once; `stop` waits for each
            for site in self.sites:
                site.stop()
        self.tell("Stopped. What has arrived stays, and the next start goes on with the rest.")

    def _wait_until_live(self, site: TourSite) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not site.is_live():
            if not site.is_running:
                raise CommandError(f"{site.name} stopped while starting; its log: {site.log_path}")
            if time.monotonic() > deadline:
                raise CommandError(f"{site.name} did not answer within {READY_SECONDS:.0f} s; its log: {site.log_path}")
            time.sleep(0.2)

    def _connect(self, sender: TourSite, receiver: TourSite) -> None:
        """Pair two sites by invitation and let everything go from the one to the other, unless that was done."""
        order = f"everything-to-{receiver.name}"
        if any(line.startswith(f"{order}\t") for line in sender.manage("standing_order", "list").splitlines()):
            return
        self.tell(f"Pairing {sender.name} with {receiver.name} …")
        code = receiver.manage("pair", "invite", "--direction", "receive", "--site", sender.name)
        sender.manage("pair", "accept", code, "--replace")
        sender.manage("standing_order", "add", order, "--peer", receiver.name)

    def _announce(self) -> None:
        self.tell("\nThree Librarians run, and each pushes to the next: " + " -> ".join(NAMES))
        for site in self.sites:
            self.tell(f"  {site.name:<12} {site.url}/   user {ADMIN}   password {site.password()}")
        self.tell("See files arrive under Network and Search; docs/network.md leads through it.")
        self.tell("In another terminal: make network DOWN=central, and UP=central. Stop all three with Ctrl-C.\n")

    def _look_after(self) -> None:
        """Do what the marks say, and start again what ended by itself."""
        for site in self.sites:
            if site.down_mark.exists():
                if site.process is not None:
                    site.stop()
                    self.tell(f"{site.name} is down.")
            elif not site.is_running:
                self.tell(f"{site.name} starts again." if site.process is None else _ended(site))
                site.start(sample=False)

    # --- One of them --------------------------------------------------------------------------------------------------

    def _switch(self, lock: Path, name: str, *, down: bool) -> None:
        site = next(site for site in self.sites if site.name == name)
        try:
            with only_one(lock, what="the network"):
                raise CommandError("The network does not run. Start it with: make network")
        except Refused:
            pass  # it does
        if down:
            site.down_mark.touch()
            self._wait(lambda: not site.is_live(), f"{name} did not stop")
            self.tell(f"{name} is down. Files for it wait; bring it up again with: make network UP={name}")
        else:
            site.down_mark.unlink(missing_ok=True)
            self._wait(site.is_live, f"{name} did not start; its log: {site.log_path}")
            self.tell(f"{name} is up again.")

    def _wait(self, check: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not check():
            if time.monotonic() > deadline:
                raise CommandError(otherwise)
            time.sleep(0.2)


def _ended(site: TourSite) -> str:
    code = site.process.returncode if site.process is not None else None
    return f"{site.name} ended by itself (exit code {code}; its log: {site.log_path}); it is started again."
