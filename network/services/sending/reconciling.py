"""Comparing all that we and one peer know of each other, now: what the jobs do bit by bit, at a person's wish."""

from collections import Counter
from dataclasses import dataclass, field

from files.models import RemoteInstance
from librarian.common.errors import ArchiveError
from network.errors import PeerProblem
from network.models import OutgoingTransfer, Peer, TransferState
from network.services.sending.following import Standing, Verdict, follow_transfer_words
from network.services.sending.holdings import Compared, Finding, act, compare
from network.services.sending.settling import Failure, settle
from network.services.sending.telling import tell

MOST_LINES = 200
UNTOLD = "states of transfers that it does not know"


@dataclass
class Report:
    """What was found, in lines for a person (the first of them) and in counts."""

    lines: list[str] = field(default_factory=list)
    more: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, line: str) -> None:
        if len(self.lines) < MOST_LINES:
            self.lines.append(line)
        else:
            self.more += 1


class NotReconciled(ArchiveError):
    """The peer stopped answering in the midst; `report` has what was done before."""

    code = "peer_not_reconciled"
    status = 502
    remedy = "Run it again when the peer answers; what was done is kept."
    passing = True

    def __init__(self, problem: PeerProblem, report: Report) -> None:
        super().__init__(problem.reason)
        self.report = report


def look_over(peer: Peer) -> Report:
    """Ask a peer about everything, and change nothing. Raises NotReconciled."""
    return _compare_all(peer, changes=False)


def reconcile(peer: Peer) -> Report:
    """Tell a peer everything, ask it about everything, and act on its word. Raises NotReconciled."""
    return _compare_all(peer, changes=True)


def _compare_all(peer: Peer, *, changes: bool) -> Report:
    report = Report()
    try:
        _tell(peer, report, changes=changes)
        for transfer, verdict in follow_transfer_words(peer):
            _note_transfer(report, transfer, verdict, changes=changes)
        for compared in compare(peer, limit=RemoteInstance.objects.filter(peer_name=peer.name).count()):
            _note_copy(report, compared, changes=changes)
    except PeerProblem as problem:
        raise NotReconciled(problem, report) from problem
    return report


def _tell(peer: Peer, report: Report, *, changes: bool) -> None:
    untold = OutgoingTransfer.objects.untold().filter(peer_name=peer.name)
    report.counts[UNTOLD] = untold.count()
    if not changes:
        return
    told = tell(peer, list(untold.select_related("file").order_by("pk")))
    report.counts["of these told"] = told.told
    report.counts["of these failed, since it has failed or lost them"] = told.failed
    for problem in told.problems:
        report.add(problem)


def _note_transfer(report: Report, transfer: OutgoingTransfer, verdict: Verdict, *, changes: bool) -> None:
    report.counts["transfers that it was asked about"] += 1
    if isinstance(verdict, Standing):
        report.counts[f"of these: {verdict.value}"] += 1
        if changes and verdict is Standing.BEHIND:
            OutgoingTransfer.objects.filter(pk=transfer.pk, state=TransferState.STAGED).update(told_state="")
        return
    if isinstance(verdict, Failure):
        report.counts["of these: failed"] += 1
        report.add(f"{transfer.file.name}: {verdict.reason}")
    else:
        report.counts["of these: arrived"] += 1
        report.add(f"{transfer.file.name}: it is there, on its store {verdict}.")
    if changes:
        settle(transfer, verdict)


def _note_copy(report: Report, compared: Compared, *, changes: bool) -> None:
    report.counts["files that it said to hold"] += 1
    report.counts[f"of these: {compared.finding.value}"] += 1
    if compared.finding is not Finding.CONFIRMED:
        found = f", with {compared.word.found}" if compared.word.is_known else ""
        report.add(f"{compared.word.file.name}: {compared.finding.value}{found}")
    if changes:
        act(compared)
