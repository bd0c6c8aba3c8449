"""rsync over SSH towards the host that the peer named: one process for the copies of a batch that one machine holds.

They are laid out as a tree of symbolic links that mirrors the destinations, and that tree is sent, by this machine or
by the storage node that holds them (`rsync_here`, `rsync_node`). What is under way lies in a directory of its own
beside its destination, so that no file there looks whole before it is, and the next attempt goes on with it. What has
its name already is left as it is: the peer reads it and says if it is not the file. When only some files could be sent,
rsync itself is asked which ones differ still.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from django.conf import settings

from librarian.common import ssh
from network.models import Peer
from network.providers import trouble
from network.providers.base import CouldNotStart, Offer, Outcome, Parcel, Provider, Sending, failed, sent, stopped
from network.providers.rsync_here import HereRunner
from network.providers.rsync_node import NodeRunner
from network.providers.rsync_run import Run
from network.providers.rsync_runner import Runner
from stores.models import Store

# Exit codes of rsync(1) after which the far end can still be asked what it has.
SOME_FAILED = (11, 23, 24)
AT_SOURCE = re.compile(r"symlink has no referent.*|file has vanished.*|send_files failed.*|\[sender\].*")
NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|File too large", re.I)
FORBIDDEN = re.compile(r"Permission denied|Operation not permitted|Read-only file system", re.I)
GONE = re.compile(r"No such file or directory|Not a directory", re.I)


class RsyncProvider(Provider):
    """Has the machine that holds the copies send them, with the ssh configuration of our account there."""

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
        if shutil.which("ssh") is None:
            return "ssh is not installed on this host."
        return None  # rsync is needed on the machine that holds the copies, which may be another

    def send(self, peer: Peer, offer: Offer, parcels: Sequence[Parcel], sending: Sending) -> Iterator[Outcome]:
        accepted, refused = _sort_out(parcels)
        hindered: list[tuple[CouldNotStart, list[Parcel]]] = []
        has_begun = False
        for runner_class, group in _by_machine(accepted):
            if not sending.goes_on():
                yield from map(stopped, group)
                continue
            try:
                with runner_class(_host(offer), group, sending) as runner:
                    outcomes = _Batch(runner, sending).send()
            except CouldNotStart as problem:
                hindered.append((problem, group))
                continue
            has_begun = True
            yield from outcomes
        if hindered and not has_begun:
            raise hindered[0][0]
        yield from refused
        for problem, group in hindered:  # passing: these files wait, and those of other machines are sent meanwhile
            yield from (replace(failed(parcel, problem), passing=True) for parcel in group)


def _host(offer: Offer) -> str:
    return offer.get("ssh_host") or offer["hostname"]


def _sort_out(parcels: Sequence[Parcel]) -> tuple[list[Parcel], list[Outcome]]:
    """Those that a machine of ours can lay out, and the outcomes of the others."""
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
        if problem:
            refused.append(trouble.destination_refused(parcel, problem))
        elif parcel.source.location is None and not _is_on_a_node(parcel):
            refused.append(trouble.not_on_this_machine(parcel))
        else:
            accepted.append(parcel)
    return accepted, refused


def _parents(path: str) -> Iterator[str]:
    while (path := os.path.dirname(path)) != "/":
        yield path


def _is_on_a_node(parcel: Parcel) -> bool:
    """True if a storage node that this host reaches holds the copy."""
    store: Store = parcel.source.backend.store
    return store.kind == Store.Kind.SSH and store.is_reached_from(settings.LIBRARIAN_HOST_NAME)


def _by_machine(parcels: Sequence[Parcel]) -> list[tuple[type[Runner], list[Parcel]]]:
    """The parcels that this machine holds, then those of each store on another; and who sends them."""
    here = [parcel for parcel in parcels if parcel.source.location is not None]
    groups: list[tuple[type[Runner], list[Parcel]]] = [(HereRunner, here)] if here else []
    by_store: dict[int, list[Parcel]] = {}
    for parcel in parcels:
        if parcel.source.location is None:
            by_store.setdefault(parcel.source.backend.store.pk, []).append(parcel)
    return groups + [(NodeRunner, group) for group in by_store.values()]


class _Batch:
    """The parcels that one machine sends."""

    def __init__(self, runner: Runner, sending: Sending) -> None:
        self._runner = runner
        self._sending = sending
        self._parcels = dict(runner.parcels)

    def send(self) -> list[Outcome]:
        """The outcome of every parcel. Raises CouldNotStart when no byte went and the reason concerns all of them."""
        run = self._runner.run("--ignore-existing")  # nothing over there is overwritten, whatever path the peer named
        if run.was_stopped:
            return [stopped(parcel) for parcel in self._parcels.values()]
        refused = [*self._runner.refused.values()]
        for path in self._runner.refused:
            del self._parcels[path]
        return refused + self._outcomes(run)

    def _outcomes(self, run: Run) -> list[Outcome]:
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

    def _still_different(self) -> set[str] | None:
        """The parcels that are not over there whole, by comparing sizes and times; None when that cannot be told."""
        look = self._runner.run("--dry-run")
        if look.was_stopped or look.exit_code not in (0, *SOME_FAILED):
            return None
        return {path for path in self._parcels if not look.found_whole(path)}

    # --- What went wrong ----------------------------------------------------------------------------------------------

    def _all_failed(self, run: Run) -> list[Outcome]:
        """Nothing is known to be over there whole; what is, is found so at the next attempt."""
        if not run.has_sent:
            raise self._runner.why_not_begun(run)
        said = self._runner.account_of(run)
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
        outcome = self._runner.look(path)
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
