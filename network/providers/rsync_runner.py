"""Where the rsync of a batch runs: the contract of `rsync_here` (this machine) and `rsync_node` (a storage node)."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from network.providers.base import CouldNotStart, Outcome, Parcel, Sending
from network.providers.rsync_run import Run

IO_SECONDS = 300  # without a byte in either direction
PARTIAL = ".~librarian-partial~"
MINIMUM = (3, 1)


class RsyncFailed(CouldNotStart):
    code = "rsync_failed"
    remedy = "Its own words are in the reason; try the same by hand as the server's user."


class Runner(AbstractContextManager["Runner"], ABC):
    """Lays parcels of one machine out as a tree of links that mirrors their destinations, and runs rsync over it.

    `refused` holds the outcomes of parcels whose copies cannot be sent, by path, complete after the first run.

    Parameters
    ----------
    host : str
        The peer's host, as the machine that runs rsync knows it.
    parcels : sequence of Parcel
        With destinations that can be laid out side by side.
    """

    def __init__(self, host: str, parcels: Sequence[Parcel], sending: Sending) -> None:
        self.host = host
        self._sending = sending
        self._root = os.path.commonpath([_base(parcel) for parcel in parcels])
        self.parcels: Mapping[str, Parcel] = {
            os.path.relpath(parcel.destination_path, self._root): parcel for parcel in parcels
        }
        self.refused: dict[str, Outcome] = {}

    @abstractmethod
    def run(self, *more: str) -> Run:
        """Run rsync over what was laid out, with further arguments. Raises CouldNotStart."""

    @abstractmethod
    def look(self, path: str) -> Outcome | None:
        """Why the copy of a parcel could not be sent when it was last looked at; None when it could."""

    @abstractmethod
    def why_not_begun(self, run: Run) -> CouldNotStart:
        """Why a run sent nothing at all."""

    @abstractmethod
    def account_of(self, run: Run) -> str:
        """How a run ended that began, in a sentence."""

    @property
    def _to(self) -> str:
        return f"{self.host}:{self._root}/"

    def _arguments(self, shell: str) -> list[str]:
        """What rsync is told, but for its list of files, the tree and the destination."""
        arguments = ["-e", shell, "--protect-args", "--8-bit-output"]
        arguments += ["--recursive", "--copy-links", "--times", "--omit-dir-times"]
        arguments += ["--perms", "--chmod=D775,F664", "--no-implied-dirs"]
        arguments += ["--from0", f"--partial-dir={PARTIAL}"]
        arguments += [f"--timeout={IO_SECONDS}", "--outbuf=N", "--no-human-readable"]
        arguments += ["--info=progress2", "-ii", "--out-format=%i %l %n"]
        if self._sending.pace is not None:
            arguments.append(f"--bwlimit={max(1, round(self._sending.pace.bytes_per_second / 1024))}")
        return arguments


def _base(parcel: Parcel) -> str:
    """A directory that the peer has made: that of the delivery, which the item may lie some levels below of."""
    if parcel.destination_path.endswith(f"/{parcel.file_name}"):
        return parcel.destination_path[: -len(parcel.file_name) - 1] or "/"
    return os.path.dirname(parcel.destination_path)
