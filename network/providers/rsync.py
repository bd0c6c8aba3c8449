"""rsync over SSH towards the host that the peer named: one process for a batch.

The batch is laid out as a tree of symbolic links that mirrors the destinations, and that tree is sent. What is under
way lies in a directory of its own beside its destination, so that no file there looks whole before it is, and the next
attempt goes on with it. What has its name already is left as it is: the peer reads it and says if it is not the file.
When only some files could be sent, rsync itself is asked which ones differ still.
"""

import functools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.conf import settings

from librarian.common import ssh
from network.models import Peer
from network.providers import trouble
from network.providers.base import CouldNotStart, Offer, Outcome, Parcel, Provider, Sending, failed, sent, stopped
from network.providers.rsync_run import Run

IO_SECONDS = 300  # without a byte in either direction
PARTIAL = ".~librarian-partial~"
MINIMUM = (3, 1)
FOLDER = "rsync-"
LEFT_SECONDS = 2 * 86400  # longer than any job's time box
# Exit codes of rsync(1) after which the far end can still be asked what it has.
SOME_FAILED = (11, 23, 24)
AT_SOURCE = re.compile(r"symlink has no referent.*|file has vanished.*|send_files failed.*|\[sender\].*")
NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|File too large", re.I)
FORBIDDEN = re.compile(r"Permission denied|Operation not permitted|Read-only file system", re.I)
GONE = re.compile(r"No such file or directory|Not a directory", re.I)


class RsyncFailed(CouldNotStart):
    code = "rsync_failed"
    remedy = "Its own words are in the reason; try the same by hand as the server's user."


class RsyncProvider(Provider):
    """Sends by rsync(1) and ssh(1) of this machine, with the configuration that they have for our user."""

    name = "rsync"

    def offered_as(self, offer: Offer) -> bool:
        return isinstance(offer.get("hostname"), str)

    def why_not(self, peer: Peer, offer: Offer) -> str | None:
        host = _host(offer)
        if problem := ssh.host_problem(host):
            return problem
        if host not in peer.ssh_hosts:
            return (
                f"{host} is none of the hosts that {peer.name} may name; an administrator enters on its page those to "
                "which files may be sent."
            )
        for program in ("rsync", "ssh"):
            if shutil.which(program) is None:
                return f"{program} is not installed on this host."
        if _version() < MINIMUM:
            return f"rsync on this host is older than {'.'.join(map(str, MINIMUM))}, or another program of this name."
        return None

    def send(self, peer: Peer, offer: Offer, parcels: Sequence[Parcel], sending: Sending) -> Iterator[Outcome]:
        accepted, refused = _sort_out(parcels)
        if not accepted:
            yield from refused
            return
        with _Batch(_host(offer), accepted, sending) as batch:
            outcomes = batch.send()
        yield from refused
        yield from outcomes


def _host(offer: Offer) -> str:
    return offer.get("ssh_host") or offer["hostname"]


@functools.cache
def _version() -> tuple[int, ...]:
    said = subprocess.run(["rsync", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"rsync\s+version v?(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else (0, 0)


def _sort_out(parcels: Sequence[Parcel]) -> tuple[list[Parcel], list[Outcome]]:
    """Those that can be laid out, and the outcomes of the others."""
    accepted: list[Parcel] = []
    refused: list[Outcome] = []
    known = Counter(parcel.destination_path for parcel in parcels)
    for parcel in parcels:
        path = parcel.destination_path
        problem = trouble.path_problem(path)
        if not problem and known[path] > 1:
            problem = "two files of the batch would lie there"
        # A link to a directory of ours stands there while the batch is laid out: nothing may be made below it.
        if not problem and any(parent in known for parent in _parents(path)):
            problem = "another file of the batch would lie above it"
        outcome = trouble.destination_refused(parcel, problem) if problem else trouble.look_at_source(parcel)
        if outcome is None:
            accepted.append(parcel)
        else:
            refused.append(outcome)
    return accepted, refused


def _parents(path: str) -> Iterator[str]:
    while (path := os.path.dirname(path)) != "/":
        yield path


def _base(parcel: Parcel) -> str:
    """A directory that the peer has made: that of the delivery, which the item may lie some levels below of."""
    if parcel.destination_path.endswith(f"/{parcel.file_name}"):
        return parcel.destination_path[: -len(parcel.file_name) - 1] or "/"
    return os.path.dirname(parcel.destination_path)


def _sweep(area: Path) -> None:
    """Remove what batches of killed jobs left: links, and no bytes."""
    for left in area.glob(f"{FOLDER}*"):
        try:
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left)
        except OSError:
            pass  # another job was first


class _Batch:
    """The parcels of one run, laid out as a tree of links."""

    def __init__(self, host: str, parcels: Sequence[Parcel], sending: Sending) -> None:
        self._host = host
        self._sending = sending
        self._root = os.path.commonpath([_base(parcel) for parcel in parcels])
        self._parcels = {os.path.relpath(parcel.destination_path, self._root): parcel for parcel in parcels}

    def __enter__(self) -> "_Batch":
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

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def _lay_out(self) -> None:
        os.mkdir(self._tree)
        for path, parcel in self._parcels.items():
            link = os.path.join(self._tree, path)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(parcel.source.location or "", link)
        with open(self._list, "wb") as names:
            names.writelines(os.fsencode(path) + b"\0" for path in self._parcels)

    def send(self) -> list[Outcome]:
        """The outcome of every parcel. Raises CouldNotStart when no byte went and the reason concerns all of them."""
        run = self._run("--ignore-existing")  # nothing over there is overwritten, whatever path the peer named
        if run.was_stopped:
            return [stopped(parcel) for parcel in self._parcels.values()]
        if run.exit_code == 0:
            return [self._done(parcel) for parcel in self._parcels.values()]
        if run.exit_code not in SOME_FAILED:
            return self._all_failed(run)
        left = self._still_different()
        if left is None:
            return self._all_failed(run)
        return [
            self._why(parcel, path, run) if path in left else self._done(parcel)
            for path, parcel in self._parcels.items()
        ]

    def _done(self, parcel: Parcel) -> Outcome:
        self._sending.progress(parcel.transfer_id, parcel.size_bytes)
        return sent(parcel)

    # --- The program --------------------------------------------------------------------------------------------------

    def _run(self, *more: str) -> Run:
        run = Run([*self._arguments(), *more, f"{self._tree}/", f"{self._host}:{self._root}/"], self._parcels)
        run.follow(self._sending)
        return run

    def _arguments(self) -> list[str]:
        arguments = ["rsync", "-e", ssh.remote_shell(settings.LIBRARIAN_SSH_CONFIG), "--protect-args", "--8-bit-output"]
        arguments += ["--recursive", "--copy-links", "--times", "--omit-dir-times"]
        arguments += ["--perms", "--chmod=D775,F664", "--no-implied-dirs"]
        arguments += ["--from0", f"--files-from={self._list}", f"--partial-dir={PARTIAL}"]
        arguments += [f"--timeout={IO_SECONDS}", "--outbuf=N", "--no-human-readable"]
        arguments += ["--info=progress2", "-ii", "--out-format=%i %l %n"]
        if self._sending.pace is not None:
            arguments.append(f"--bwlimit={max(1, round(self._sending.pace.bytes_per_second / 1024))}")
        return arguments

    def _still_different(self) -> set[str] | None:
        """The parcels that are not over there whole, by comparing sizes and times; None when that cannot be told."""
        look = self._run("--dry-run")
        if look.was_stopped or look.exit_code not in (0, *SOME_FAILED):
            return None
        return {path for path in self._parcels if not look.found_whole(path)}

    # --- What went wrong ----------------------------------------------------------------------------------------------

    def _all_failed(self, run: Run) -> list[Outcome]:
        """Nothing is known to be over there whole; what is, is found so at the next attempt."""
        problem = ssh.understand(self._host, run.complaints) if not run.has_sent else None
        said = f"rsync to {self._host} ended with {run.exit_code}: {run.last_words()}"
        if not run.has_sent:
            raise CouldNotStart.because_of(problem) if problem else RsyncFailed(said)
        return [
            failed(
                parcel,
                code="connection_cut",
                reason=said,
                remedy="Sending goes on where it ended; look at the line between the sites if it stays so.",
                passing=True,
            )
            for parcel in self._parcels.values()
        ]

    def _why(self, parcel: Parcel, path: str, run: Run) -> Outcome:
        """Why one file was not sent, from what rsync complained of it, or of all."""
        outcome = trouble.look_at_source(parcel)
        if outcome is not None:
            return outcome
        own = self._own_complaints(path, run)
        if found := AT_SOURCE.search(own):
            return trouble.short(parcel, f"rsync says: {found[0]}")
        if NO_SPACE.search(run.complaints):
            return trouble.destination_full(parcel)
        if FORBIDDEN.search(own):
            return trouble.destination_forbidden(parcel, "permission denied")
        if GONE.search(own):
            return trouble.destination_gone(parcel)
        said = own.strip()[-500:] or run.last_words()
        return failed(
            parcel,
            code="rsync_incomplete",
            reason=f"rsync did not send {parcel.file_name}: {said}",
            remedy="It is tried again; look at both disks if it stays so.",
            passing=True,
        )

    def _own_complaints(self, path: str, run: Run) -> str:
        """What was said of one staging directory; all that was said where it did not come to any."""
        folder = os.path.dirname(path)
        if not folder or not run.has_sent:
            return run.complaints
        return "\n".join(line for line in run.complaints.splitlines() if f"/{folder}/" in line)
