"""rsync on this machine, over copies that it finds as files."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from django.conf import settings

from librarian.common import ssh
from network.providers import trouble
from network.providers.base import CouldNotStart, Outcome
from network.providers.rsync_run import Run
from network.providers.rsync_runner import MINIMUM, RsyncFailed, Runner

FOLDER = "rsync-"
LEFT_SECONDS = 2 * 86400  # longer than any job's time box


class HereRunner(Runner):
    """Runs rsync(1) and ssh(1) with the configuration that they have for our user."""

    def __enter__(self) -> Self:
        if why := _missing():
            raise RsyncFailed(why, remedy=f"Install rsync {_minimum()} or newer on this host.")
        area = Path(settings.LIBRARIAN_HOME) / "tmp"
        area.mkdir(parents=True, exist_ok=True)
        _sweep(area)
        self._folder = tempfile.TemporaryDirectory(prefix=FOLDER, dir=area)
        self._tree = os.path.join(self._folder.name, "tree")
        self._list = os.path.join(self._folder.name, "list")
        try:
            self._lay_out()
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self._folder.cleanup()

    def _lay_out(self) -> None:
        os.mkdir(self._tree)
        for path, parcel in self.parcels.items():
            outcome = trouble.look_at_source(parcel)
            if outcome is not None:
                self.refused[path] = outcome
                continue
            link = os.path.join(self._tree, path)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(parcel.source.location or "", link)
        with open(self._list, "wb") as names:
            names.writelines(os.fsencode(path) + b"\0" for path in self.parcels if path not in self.refused)

    def run(self, *more: str) -> Run:
        shell = ssh.remote_shell(settings.LIBRARIAN_SSH_CONFIG)
        command = ["rsync", *self._arguments(shell), *more, f"--files-from={self._list}", f"{self._tree}/", self._to]
        run = Run(command, self.parcels)
        if len(self.refused) == len(self.parcels):
            run.exit_code = 0  # nothing is left to be sent
        else:
            run.follow(self._sending)
        return run

    def look(self, path: str) -> Outcome | None:
        return trouble.look_at_source(self.parcels[path])

    def why_not_begun(self, run: Run) -> CouldNotStart:
        problem = ssh.understand(self.host, run.complaints)
        return CouldNotStart.because_of(problem) if problem else RsyncFailed(self.account_of(run))

    def account_of(self, run: Run) -> str:
        return f"rsync to {self.host} ended with {run.exit_code}: {run.last_words()}"


def _missing() -> str:
    """What this host lacks; empty when it can send."""
    if shutil.which("rsync") is None:
        return "rsync is not installed on this host, which holds the copies."
    if _version() < MINIMUM:
        return f"rsync on this host is older than {_minimum()}, or another program of this name."
    return ""


def _minimum() -> str:
    return ".".join(map(str, MINIMUM))


@functools.cache
def _version() -> tuple[int, ...]:
    said = subprocess.run(["rsync", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"rsync\s+version v?(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else (0, 0)


def _sweep(area: Path) -> None:
    """Remove what batches of killed jobs left: links, and no bytes."""
    for left in area.glob(f"{FOLDER}*"):
        try:
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left)
        except OSError:
            pass  # another job was first
