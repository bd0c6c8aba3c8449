"""Telling senders how their transfers ended, until they know.

Each peer is told by itself: one that does not answer costs the others nothing but its own time-out. A report that was
not heard is repeated after 30 s, doubling to an hour, for a week; a peer that was removed may come back for a month.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.levels import Level
from hera_librarian.features import BATCH_COMPLETE
from hera_librarian.models.checkin import CheckinUpdateRequest, CheckinUpdateResponse
from hera_librarian.models.clone import (
    CloneBatchCompleteRequest,
    CloneBatchCompleteResponse,
    CloneCompleteRequest,
    CloneCompletion,
)
from hera_librarian.transfer import TransferStatus
from librarian.common import steps
from librarian.common.inbox import report_error
from librarian.common.models import Category, Severity
from librarian.common.texts import storable
from network.errors import PeerAnswered, PeerProblem, PeerResting
from network.models import IncomingTransfer, Peer, ReportState, TransferState
from network.services.hearing.comparing import failure_of
from network.services.peering.calls import call_peer, reachable
from network.services.transfers.retries import pause

BATCH = 500
MOST_SINGLE_CALLS = 500  # in one run, to a peer that must be told of each file alone
TIMEOUT_SECONDS = 30.0
GIVEN_UP_AFTER = timedelta(days=7)
REMOVED_PEER_GIVEN_UP_AFTER = timedelta(days=30)
CALLER = "transfers"
ANSWERED_FOR_GOOD = (400, 404, 406, 409, 410)
NOT_COMPARED = "It cannot compare what a person brought; it finds out by asking, or an administrator closes it by hand."
# A foreign Librarian that does not know us by name (any more): it may again.
NOT_KNOWN_THERE = "Could not find librarian"


def report_transfers(*, limit: int = 4096) -> dict[str, int]:
    """Tell every sender what it does not know yet; at most `limit` transfers of each."""
    counts = {"told": 0, "waiting": 0, "given_up": 0}
    names = IncomingTransfer.objects.reportable().order_by().values_list("peer_name", flat=True).distinct()
    peers = {peer.name: peer for peer in Peer.objects.filter(name__in=list(names))}
    in_turn = sorted(set(names), key=lambda name: (peers[name].failures_in_a_row if name in peers else 0, name))
    for name in in_turn:  # those that answered last time come first
        due = list(
            IncomingTransfer.objects.reportable()
            .filter(peer_name=name)
            .select_related("account")
            .order_by("pk")[:limit]
        )
        for outcome, number in _report(peers.get(name), due).items():
            counts[outcome] += number
    return counts


def _report(peer: Peer | None, due: Sequence[IncomingTransfer]) -> dict[str, int]:
    """Tell one peer how transfers ended; how many were told, wait and were given up."""
    if peer is None:
        problem = f"This site knows no Librarian {due[0].peer_name} (any more)." if due else ""
        return _Notes(REMOVED_PEER_GIVEN_UP_AFTER).postpone(due, problem).counts
    notes = _Notes(GIVEN_UP_AFTER)
    if not reachable(peer):
        return notes.wait(due, f"Librarian {peer.name} rests after failures in a row.").counts
    told = _Teller(peer, notes)
    completed = [each for each in due if each.state == TransferState.COMPLETED]
    together = [each for each in completed if _compares(each, peer)]
    alone = [each for each in completed if not _compares(each, peer)]
    given_up = [each for each in due if each.state != TransferState.COMPLETED]
    told.each(_batches(together), told.complete_many)
    told.each(_batches(given_up), told.fail_many)
    told.each([[each] for each in alone[:MOST_SINGLE_CALLS]], told.complete_one)
    return notes.counts


def _compares(transfer: IncomingTransfer, peer: Peer) -> bool:
    """True if the sender can compare what we read with what it sent.

    Of a disk that a person took in, the person's program need not know what the site that packed it understands.
    """
    is_carried = transfer.account_name != peer.name
    if BATCH_COMPLETE in transfer.features or (is_carried and BATCH_COMPLETE in peer.features):
        return True
    return _must_be_compared(transfer)


def _must_be_compared(transfer: IncomingTransfer) -> bool:
    """True of what a person brought who is no administrator: a site that believes us would believe whatever it was."""
    is_carried = transfer.account_name != transfer.peer_name
    return is_carried and (transfer.account is None or transfer.account.level < Level.ADMIN)


class _Notes:
    """Writes down what came of telling, by compare-and-set on the report."""

    def __init__(self, patience: timedelta) -> None:
        self.patience = patience
        self.counts: dict[str, int] = {"told": 0, "waiting": 0, "given_up": 0}

    def done(self, transfers: Iterable[IncomingTransfer], problem: str = "") -> "_Notes":
        """The sender knows, or has said why it does not want to."""
        keys = [each.pk for each in transfers]
        self.counts["told"] += self._due(keys).update(report=ReportState.DONE, report_problem=storable(problem, 4000))
        return self

    def wait(self, transfers: Sequence[IncomingTransfer], problem: str) -> "_Notes":
        """Nobody was called: the reports stay due as they are."""
        late = self._give_up_late(transfers, problem)
        keys = [each.pk for each in transfers if each.pk not in late]
        self._due(keys).exclude(report_problem=problem).update(report_problem=problem)
        self.counts["waiting"] += len(keys)
        return self

    def postpone(self, transfers: Sequence[IncomingTransfer], problem: str) -> "_Notes":
        """It was not heard: again later, or given up for good."""
        late = self._give_up_late(transfers, problem)
        by_attempts = defaultdict(list)
        for transfer in transfers:
            if transfer.pk not in late:
                by_attempts[transfer.report_attempts].append(transfer.pk)
        for attempts, keys in by_attempts.items():
            self.counts["waiting"] += self._due(keys).update(
                report_attempts=attempts + 1,
                next_report_at=timezone.now() + pause(attempts + 1),
                report_problem=storable(problem, 4000),
            )
        return self

    def _give_up_late(self, transfers: Sequence[IncomingTransfer], problem: str) -> set[int]:
        before = timezone.now() - self.patience
        late = [each for each in transfers if each.finished_at < before]
        given_up = self._due([each.pk for each in late]).update(
            report=ReportState.GIVEN_UP, report_problem=storable(problem, 4000)
        )
        if given_up:
            _tell_people(late, given_up, problem)
        self.counts["given_up"] += given_up
        return {each.pk for each in late}

    def _due(self, keys: Sequence[int]) -> Any:
        return IncomingTransfer.objects.filter(pk__in=keys, report=ReportState.DUE)


class _Teller:
    """Tells one peer, until it does not answer any more."""

    def __init__(self, peer: Peer, notes: _Notes) -> None:
        self.peer, self.notes = peer, notes
        self.problem: PeerProblem | None = None

    def each(
        self, batches: Iterable[Sequence[IncomingTransfer]], tell: Callable[[Sequence[IncomingTransfer]], None]
    ) -> None:
        """Tell batch after batch; once the peer fails, the rest waits for it."""
        for batch in batches:
            if self.problem is not None:
                self._postpone(batch)
                continue
            try:
                tell(batch)
            except PeerAnswered as answer:
                self._answered(batch, answer)
            except PeerProblem as problem:
                self.problem = problem
                self._postpone(batch)

    def complete_many(self, batch: Sequence[IncomingTransfer]) -> None:
        """`clone/batch_complete`, with an answer for each."""
        message = CloneBatchCompleteRequest(completions=[_completion(each) for each in batch])
        try:
            answer = self._call("v2/clone/batch_complete", message, CloneBatchCompleteResponse)
        except PeerAnswered as no:
            if no.http_status not in (404, 405):
                raise
            believed = [each for each in batch if not _must_be_compared(each)]
            self.each([[each] for each in believed], self.complete_one)  # it runs another version by now
            self.notes.done((each for each in batch if _must_be_compared(each)), NOT_COMPARED)
            return
        said = {(each.source_transfer_id, each.destination_transfer_id): each for each in answer.results}
        answered = [(each, said.get((each.source_transfer_id, each.pk))) for each in batch]
        self.notes.done(each for each, result in answered if result is not None and result.accepted)
        for transfer, result in answered:
            if result is None:
                self.notes.postpone([transfer], f"Librarian {self.peer.name} did not answer about this file.")
            elif not result.accepted:
                self.notes.done([transfer], f"{result.reason} {result.suggested_remedy}".strip())

    def complete_one(self, batch: Sequence[IncomingTransfer]) -> None:
        """`clone/complete`."""
        transfer = batch[0]
        message = CloneCompleteRequest(
            source_transfer_id=transfer.source_transfer_id,
            destination_transfer_id=transfer.pk,
            store_id=transfer.store_id_told,
        )
        self._call("v2/clone/complete", message)
        self.notes.done([transfer])

    def fail_many(self, batch: Sequence[IncomingTransfer]) -> None:
        """`checkin/update` with FAILED; one of our kind also learns why."""
        rows = {each.source_transfer_id: each for each in batch}  # the newest, if a restored sender used one twice
        message = CheckinUpdateRequest(
            source_transfer_ids=list(rows), destination_transfer_ids=[], new_status=TransferStatus.FAILED
        )
        plain = {"source_transfer_ids", "destination_transfer_ids", "new_status"}
        if not batch[0].is_foreign:
            message.counterparts = {key: each.pk for key, each in rows.items()}
            message.failures = {key: failure_of(each) for key, each in rows.items()}
            plain |= {"counterparts", "failures"}
        answer = self._call("v2/checkin/update", message.model_dump(mode="json", include=plain), CheckinUpdateResponse)
        modified = set(answer.modified_source_transfer_ids)
        self.notes.done(each for key, each in rows.items() if key in modified)
        others = [each for key, each in rows.items() if key not in modified]
        others += [each for each in batch if rows[each.source_transfer_id] is not each]
        self.notes.done(others, " ".join(answer.reasons[:3]) or "It had ended there already.")

    def _call(self, path: str, message: Any, answer: Any = None) -> Any:
        answered = call_peer(self.peer, path, message, answer, timeout_seconds=TIMEOUT_SECONDS)
        steps.passed("reported")
        return answered

    def _answered(self, batch: Sequence[IncomingTransfer], answer: PeerAnswered) -> None:
        """It said no: for good, if it said so of these transfers; else it is asked again."""
        about_us = str(answer.content.get("reason", "")).startswith(NOT_KNOWN_THERE)
        if answer.http_status in ANSWERED_FOR_GOOD and len(batch) == 1 and not about_us:
            self.notes.done(batch, answer.reason)
            return
        if answer.passing:
            self.problem = answer
        self.notes.postpone(batch, answer.reason)

    def _postpone(self, batch: Sequence[IncomingTransfer]) -> None:
        if isinstance(self.problem, PeerResting):
            self.notes.wait(batch, self.problem.reason)
        else:
            self.notes.postpone(batch, self.problem.reason)


def _batches(transfers: Sequence[IncomingTransfer]) -> list[Sequence[IncomingTransfer]]:
    """Bounded batches, each for senders of one kind."""
    ours = [each for each in transfers if not each.is_foreign]
    foreign = [each for each in transfers if each.is_foreign]
    return [kind[start : start + BATCH] for kind in (ours, foreign) for start in range(0, len(kind), BATCH)]


def _completion(transfer: IncomingTransfer) -> CloneCompletion:
    file = transfer.file
    return CloneCompletion(
        source_transfer_id=transfer.source_transfer_id,
        destination_transfer_id=transfer.pk,
        store_id=transfer.store_id_told,
        size=file.size_bytes,
        checksum=file.checksum,
        digest=file.digest,
    )


def _tell_people(transfers: Sequence[IncomingTransfer], number: int, problem: str) -> None:
    peer_name = transfers[0].peer_name
    report_error(
        severity=Severity.WARNING,
        category=Category.TRANSFER,
        code="report_given_up",
        message=f"{peer_name} could not be told how {number} of its transfers ended. {problem}",
        remedy=f"What was received is safe here. Once {peer_name} answers, it finds out by asking for the files.",
        caller=CALLER,
        target=peer_name,
    )
