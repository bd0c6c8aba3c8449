"""Keeps a site's processes running: the web server and the job clusters, each in a process group of its own.

A child that ends is started again, later and later while it keeps ending. A job cluster that shows no work for too long
is killed as a group and started again: one whose idle worker was killed while it held the queue's lock looks alive and
takes nothing any more. Stopping stops every group; when the supervisor itself is killed, the kernel tells the children.
"""

import fcntl
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import DatabaseError, connections
from django.utils import timezone
from django_q.models import OrmQ

from librarian.common.children import kill_group, start_child
from librarian.common.errors import Refused
from librarian.common.heartbeat import is_busy, last_sign_of_life
from librarian.common.housekeeping import sweep_lost_runs
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 60.0
SETTLED_SECONDS = 60.0  # a child that ran this long is well
LOOK_SECONDS = 5.0
KEPT_LOG_BYTES = 10_000_000
_CALLER = "supervisor"


@dataclass
class Child:
    """One process group: how to start it and how it has been doing. `cluster` is empty for the web server."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    log_path: Path | None = None
    grace_seconds: float = 10.0
    process: "subprocess.Popen[Any] | None" = None
    started_at: datetime = field(default_factory=timezone.now)
    started: float = 0.0
    deaths: int = 0
    start_after: float = 0.0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the group; its output goes to its log, or to ours when it has none."""
        options: dict[str, Any] = {"env": {**os.environ, **self.environment}, "stdin": subprocess.DEVNULL}
        # SIGTERM when we are killed: both servers finish what they are at and stop.
        if self.log_path is None:
            self.process = start_child(self.command, when_we_die=signal.SIGTERM, **options)
        else:
            _keep_small(self.log_path)
            with self.log_path.open("ab") as stream:
                options |= {"stdout": stream, "stderr": stream}
                self.process = start_child(self.command, when_we_die=signal.SIGTERM, **options)
        self.started, self.started_at = time.monotonic(), timezone.now()

    def kill(self) -> None:
        """Kill the group, whoever of it is left."""
        if self.process is not None:
            kill_group(self.process.pid)
            self.process.wait()


class Supervisor:
    """Runs children until told to stop.

    Parameters
    ----------
    children : list of Child
        What to keep running.
    late_after_seconds : float
        How long a cluster with a free worker may show no work before it is started again.
    tell : callable
        Takes a line for people.
    """

    def __init__(self, children: list[Child], *, late_after_seconds: float, tell: Callable[[str], None]) -> None:
        self.children = children
        self.late_after = timedelta(seconds=late_after_seconds)
        self.tell = tell
        self.stop_signals = 0
        self._looked = time.monotonic()

    def run(self, when_started: Callable[["Supervisor"], None]) -> None:
        """Start all, call `when_started`, keep all running until SIGTERM or Ctrl-C, stop all."""
        with self._signals() as wakeup:
            try:
                self._release_deliveries([child.cluster for child in self.children if child.cluster])
                for child in self.children:
                    child.start()
                when_started(self)
                while not self.stop_signals:
                    self.pause(wakeup, 1.0)
                    self.look_after()
            finally:
                self._stop_all(wakeup)

    @property
    def is_stopping(self) -> bool:
        return self.stop_signals > 0

    def look_after(self) -> None:
        """Start again who died; every few seconds, look whether the clusters work."""
        for child in self.children:
            if not child.is_running:
                self._revive(child)
            elif child.deaths and time.monotonic() - child.started > SETTLED_SECONDS:
                child.deaths = 0
                self._in_database(lambda name=child.name: _clear(name))
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            for child in self.children:
                if child.cluster and child.is_running:
                    self._in_database(lambda child=child: self._restart_if_late(child))

    def _revive(self, child: Child) -> None:
        if child.process is not None:
            status = child.process.returncode
            child.kill()  # members of its group may be left
            child.process = None
            child.start_after = time.monotonic() + min(2.0**child.deaths, LONGEST_PAUSE_SECONDS)
            child.deaths += 1
            self.tell(f"{child.name} ended ({_status(status)}); it is started again.")
            self._in_database(lambda: _report_death(child, status))
            if child.cluster:
                self._in_database(lambda: self._recover(child))
        elif time.monotonic() >= child.start_after:
            child.start()

    def _restart_if_late(self, child: Child) -> None:
        seen = last_sign_of_life(child.cluster)
        since = max(child.started_at, seen) if seen else child.started_at
        if timezone.now() - since < self.late_after or is_busy(child.cluster):
            if seen and seen > child.started_at:
                clear_matching(code="cluster_hung", caller=_CALLER, target=child.name, cleared_by=_CALLER)
            return
        self.tell(f"{child.name} has done nothing since {since:%H:%M:%S} UTC; it is killed and started again.")
        child.kill()
        self._recover(child)
        _report_hung(child, since)
        child.start()

    def _recover(self, child: Child) -> None:
        """After a cluster's death: its runs are lost and wanted again, its deliveries are nobody's."""
        sweep_lost_runs()
        self._release_deliveries([child.cluster])

    def _release_deliveries(self, clusters: list[str]) -> None:
        """Let tasks that dead workers had taken be taken again now, not after the queue's retry time (up to 18 h).

        A cluster of the same name on another host may get one twice; the job's lease makes that harmless.
        """
        self._in_database(
            lambda: OrmQ.objects.filter(key__in=clusters, lock__gt=timezone.now()).update(lock=timezone.now())
        )

    def _in_database(self, act: Callable[[], Any]) -> None:
        """Do it unless the database is away, which is no reason to let go of the children."""
        try:
            act()
        except DatabaseError as error:
            log.warning("The database did not answer the supervisor: %s", error)
        finally:
            connections.close_all()

    # --- Stopping -----------------------------------------------------------------------------------------------------

    def _stop_all(self, wakeup: int) -> None:
        """Ask every child to stop, wait as long as each may take, then kill what is left; a second signal kills now."""
        first = self.stop_signals
        for child in self.children:
            if child.is_running and child.process is not None:
                child.process.terminate()  # the leader: it knows in which order its own children stop
        began = time.monotonic()
        while self.stop_signals <= max(first, 1):
            left = [child for child in self.children if child.is_running]
            if not [child for child in left if time.monotonic() - began < child.grace_seconds]:
                break
            self.pause(wakeup, 0.2)
        for child in self.children:
            child.kill()
        if any(child.cluster for child in self.children):
            self._in_database(sweep_lost_runs)  # what was cut off waits in the queue for the next start

    # --- Waiting ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Count stop signals, and let every signal (a child's end too) end a `pause` early."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

        def stop(number: int, frame: Any) -> None:
            self.stop_signals += 1

        handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: stop, signal.SIGCHLD: lambda *_: None}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        wakeup_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._reader = reader
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def pause(self, wakeup: int | None = None, seconds: float = 0.2) -> None:
        """Wait, at most until the next signal."""
        reader = self._reader if wakeup is None else wakeup
        if select.select([reader], [], [], seconds)[0]:
            os.read(reader, 4096)


@contextmanager
def only_one(path: Path, *, what: str) -> Iterator[None]:
    """Hold a lock on a file for as long as the body runs. Raises Refused, naming the holder, if somebody has it.

    The kernel gives the lock up with the process, however it ends.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            raise Refused(
                f"This site runs already: {what}, {stream.read().strip() or 'process unknown'}.",
                remedy="Stop it first, or give the second site a LIBRARIAN_HOME of its own.",
            ) from None
        stream.truncate(0)
        stream.write(f"process {os.getpid()}")
        stream.flush()
        yield


def _report_death(child: Child, status: int) -> None:
    report_error(
        severity=Severity.ERROR,
        category=Category.CONFIGURATION,
        code="process_died",
        message=f"The process {child.name} ended by itself ({_status(status)}), {child.deaths} times in a row.",
        remedy=f"It is started again. Its log{f' {child.log_path}' if child.log_path else ''} says why it ended.",
        caller=_CALLER,
        target=child.name,
    )


def _report_hung(child: Child, since: datetime) -> None:
    report_error(
        severity=Severity.WARNING,
        category=Category.CONFIGURATION,
        code="cluster_hung",
        message=f"The job cluster {child.cluster} had done nothing since {since:%Y-%m-%d %H:%M:%S} UTC.",
        remedy="It was killed and started again. If this repeats, look whether somebody kills its workers (lack of "
        "memory) or whether the database is locked for minutes.",
        caller=_CALLER,
        target=child.name,
    )


def _clear(name: str) -> None:
    clear_matching(code="process_died", caller=_CALLER, target=name, cleared_by=_CALLER)


def _status(status: int) -> str:
    return f"exit code {status}" if status >= 0 else signal.Signals(-status).name


def _keep_small(path: Path) -> None:
    """Put a large log aside before a new process appends to it; one old one is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > KEPT_LOG_BYTES:
        path.replace(path.with_suffix(".old.log"))
