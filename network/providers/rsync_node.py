"""rsync on a storage node of ours: a program is sent there over ssh, and the node sends the bytes to the peer itself.

No byte of a file comes through here. The node reaches the peer's host as the account that we use there: by the ssh
configuration of that account, or the file that `node_ssh_config` of the store names.
"""

import errno
import json
import posixpath
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from librarian.common import ssh
from network.providers import trouble
from network.providers.base import CouldNotStart, Outcome, Parcel, Sending
from network.providers.rsync_run import Run
from network.providers.rsync_runner import RsyncFailed, Runner
from stores.backends.ssh.calling import far_command
from stores.backends.ssh.sharing import NotBegun, begin_sharing
from stores.models import Store

NO_SUCH_PROGRAM = (126, 127)  # of the shell over there
_PROGRAM = Path(__file__).with_name("rsync_far.py")
# One line without anything that a shell, of whatever kind the account over there has, would read as its own.
_LOADER = (
    "import json,sys;told=json.loads(sys.stdin.buffer.readline().decode());names={};"
    "exec(told['program'],names);sys.exit(names['main'](told['plan']))"
)
_REMEDIES = {
    ssh.SshHostKeyChanged.code: "On {node}, compare the key of {host} with the people who run it, then enter the right "
    "one in known_hosts of the account that we use there. Until then nothing is sent.",
    ssh.SshKeyRefused.code: "Enter the public key of the account that we use on {node} in authorized_keys over there, "
    "and try `ssh -o BatchMode=yes {host} true` on {node}.",
    ssh.SshUnknownHost.code: "Give {host} a name that DNS of {node}, or the ssh configuration of the account that we "
    "use there, knows; node_ssh_config of the store can name another file.",
    ssh.SshUnreachable.code: "Check that sshd runs at {host}, its port, and the tunnel or firewall between {node} and "
    "it; it is tried again.",
}


class StorageNodeUnreachable(CouldNotStart):
    code = "storage_node_unreachable"
    remedy = "The store's page tests the way there; files on other stores are sent meanwhile."


class StorageNodeUnfit(CouldNotStart):
    code = "storage_node_unfit"
    remedy = "Put right on the storage node what the reason names: it needs Python, rsync and ssh to send."
    passing = False


class NodeRunner(Runner):
    """Has the host of an `ssh` store run rsync."""

    def __init__(self, host: str, parcels: Sequence[Parcel], sending: Sending) -> None:
        super().__init__(host, parcels, sending)
        self._store: Store = parcels[0].source.backend.store
        self._node: str = self._store.configuration["host"]
        self._found: dict[str, Outcome] = {}

    def __exit__(self, *error: Any) -> None:
        """The program over there has ended with its connection, and taken the links with it."""

    def run(self, *more: str) -> Run:
        configuration = self._store.configuration
        try:
            begin_sharing(configuration)
        except NotBegun as error:
            raise self._unreachable(str(error)) from error
        command = far_command(configuration, [configuration.get("python") or "python3", "-c", _LOADER])
        run = _FarRun(command, self.parcels, self._plan(more))
        run.follow(self._sending)
        self._found = {path: self._outcome(path, found) for path, found in run.found.items()}
        self.refused |= {path: self._found[path] for path in run.refused}
        return run

    def _plan(self, more: Sequence[str]) -> dict[str, Any]:
        configuration = self._store.configuration
        shell = ssh.remote_shell(configuration.get("node_ssh_config") or "")
        root = configuration["root"]
        return {
            "root": root,
            "links": [
                [path, posixpath.join(root, parcel.source.place), parcel.is_directory, parcel.size_bytes]
                for path, parcel in self.parcels.items()
                if path not in self.refused
            ],
            "arguments": [*self._arguments(shell), *more],
            "to": self._to,
        }

    def look(self, path: str) -> Outcome | None:
        return self._found.get(path)

    def _outcome(self, path: str, found: Sequence[Any]) -> Outcome:
        """What the node said of a copy, as this machine would say it of its own."""
        parcel, (what, value, words) = self.parcels[path], found
        if what == "error":
            return trouble.source_error(parcel, OSError(getattr(errno, str(value), errno.EIO), str(words)))
        outcome = trouble.wrong_size(parcel, int(value)) if what == "size" else None
        kind = "directory" if parcel.is_directory else "regular file"
        return outcome or trouble.different(parcel, f"it is no {kind}")

    # --- What went wrong ----------------------------------------------------------------------------------------------

    def why_not_begun(self, run: Run) -> CouldNotStart:
        run = cast(_FarRun, run)
        if run.unfit:
            return self._unfit(run.unfit, passing=run.may_pass)
        if not run.has_begun and run.exit_code in NO_SUCH_PROGRAM:
            return self._unfit(f"its Python was not found ({run.last_words()})")
        if not run.has_ended:
            return self._unreachable("" if run.has_begun else run.complaints, self.account_of(run))
        problem = ssh.understand(self.host, run.complaints)
        if problem is None:
            return RsyncFailed(self.account_of(run))
        remedy = _REMEDIES.get(problem.code, problem.suggested_remedy).format(node=self._node, host=self.host)
        reason = f"Our storage node {self._node} cannot send. {problem.reason}"
        return CouldNotStart.because_of(type(problem)(reason, remedy=remedy))

    def _unfit(self, why: str, *, passing: bool = False) -> CouldNotStart:
        error = StorageNodeUnfit(f"The storage node {self._node} of store {self._store.name} cannot send: {why}.")
        error.passing = passing
        return error

    def _unreachable(self, complaints: str, account: str = "") -> CouldNotStart:
        problem = ssh.understand(self._node, complaints)
        why = problem.reason if problem else account or f"ssh says: {' '.join(complaints.split())[-500:]}"
        error = StorageNodeUnreachable(
            f"The storage node of store {self._store.name} cannot be used from this host. {why}",
            remedy=problem.suggested_remedy if problem else None,
        )
        error.passing = problem is None or problem.passing
        return error

    def account_of(self, run: Run) -> str:
        if not cast(_FarRun, run).has_ended:
            return f"The connection to our storage node {self._node} was cut: {run.last_words()}"
        return f"rsync from our storage node {self._node} to {self.host} ended with {run.exit_code}: {run.last_words()}"


class _FarRun(Run):
    """A run of the program over there, which reads its plan from its input and goes on while that is open.

    Attributes
    ----------
    refused, found : mapping
        By path what was wrong with copies: when they were laid out, and when they were last looked at.
    unfit : str
        Why the node cannot run rsync; `may_pass` tells whether that can pass by itself.
    has_begun, has_ended : bool
        rsync was started there; its end was heard of, so that its exit code is known.
    """

    def __init__(self, command: Sequence[str], parcels: Mapping[str, Parcel], plan: Mapping[str, Any]) -> None:
        word = secrets.token_hex(16)
        told = {"program": _PROGRAM.read_text(), "plan": {**plan, "word": word}}
        super().__init__(command, parcels, told=json.dumps(told).encode() + b"\n")
        self._mark = f"{word} ".encode()
        self._code: int | None = None
        self.refused: set[str] = set()
        self.found: dict[str, list[Any]] = {}
        self.unfit, self.may_pass = "", False
        self.has_begun = False

    @property
    def has_ended(self) -> bool:
        return self._code is not None

    def follow(self, sending: Sending) -> None:
        super().follow(sending)
        if self._code is not None:
            self.exit_code = self._code

    def _read(self, line: bytes, sending: Sending) -> None:
        if not line.startswith(self._mark):
            super()._read(line, sending)
            return
        said = json.loads(line[len(self._mark) :])
        if "found" in said:
            self.found[said["path"]] = said["found"]
            if not self.has_begun:
                self.refused.add(said["path"])
        self.has_begun |= "begins" in said
        self._code = said.get("ends")
        if "unfit" in said:
            self.unfit, self.may_pass = said["unfit"], bool(said.get("passing"))
