"""Telling a peer where its transfers stand, until it has confirmed to know.

A call that was lost, or answered when nobody listened any more, leaves `told_state` behind `state`: that is all this
goes by, so it may be told again at any time. What a peer does not accept it is asked about, and what it says counts: it
may have failed a transfer, or lost it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hera_librarian.features import COUNTERPARTS
from hera_librarian.models.checkin import (
    CheckinStatusRequest,
    CheckinStatusResponse,
    CheckinUpdateRequest,
    CheckinUpdateResponse,
    TransferFailure,
)
from hera_librarian.models.clone import CloneFailRequest
from hera_librarian.transfer import TransferStatus
from librarian.common import steps
from network.errors import PeerAnswered, PeerProblem
from network.models import GIVEN_UP, OutgoingTransfer, Peer, TransferState
from network.services.hearing.comparing import retry_after
from network.services.peering.calls import call_peer
from network.services.sending.portions import portions
from network.services.sending.settling import Failure, fail
from network.services.turns import peers_to_serve, turn_with

BATCH = 1_000
MOST_FAILURES = 500  # told one by one, in one run to one peer
MOST_AT_ONCE = 20_000  # rows of one peer in one run
REASON_CHARACTERS = 1_000
STEPS = {TransferState.ONGOING: "told_ongoing", TransferState.STAGED: "told_staged"}


@dataclass
class Told:
    """What came of telling: confirmed, failed because the peer said so, left for later."""

    told: int = 0
    failed: int = 0
    left: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Told") -> None:
        self.told += other.told
        self.failed += other.failed
        self.left += other.left
        self.problems += other.problems


def tell_peers(*, peer: str = "") -> dict[str, int]:
    """Tell every peer, or one, what it has not confirmed to know. Peers that are switched off are told as well."""
    total = Told()
    for each in peers_to_serve(peer, _untold_peers(), switched_on=False):
        with turn_with(each.name, job="tell_peers") as is_mine:
            if is_mine:
                total.add(tell_all(each))
    return {"told": total.told, "failed": total.failed, "left": total.left}


def _untold_peers() -> set[str]:
    return set(OutgoingTransfer.objects.untold().order_by().values_list("peer_name", flat=True).distinct())


def tell_all(peer: Peer) -> Told:
    """Tell one peer everything that it has not confirmed to know."""
    untold = OutgoingTransfer.objects.untold().filter(peer_name=peer.name).select_related("file").order_by("pk")
    return tell(peer, list(untold[:MOST_AT_ONCE]))


def tell(peer: Peer, transfers: Sequence[OutgoingTransfer]) -> Told:
    """Tell a peer where these transfers of ours to it stand. A peer that does not answer is told later."""
    total = Told()
    try:
        for state in STEPS:
            news = [each for each in transfers if each.state == state and each.told_state != state]
            for batch in portions(news, BATCH):
                total.add(_tell_progress(peer, batch, state))
        given_up = [each for each in transfers if each.state in GIVEN_UP and each.told_state != each.state]
        for transfer in given_up[:MOST_FAILURES]:
            total.add(_tell_failure(peer, transfer))
        total.left += len(given_up[MOST_FAILURES:])
    except PeerProblem as problem:
        total.problems.append(problem.reason)
        total.left += sum(each.told_state != each.state for each in transfers)
    return total


def note_told(transfers: Sequence[OutgoingTransfer], state: str) -> int:
    """The peer knows this state of them; how many are still in it. One that has moved on meanwhile is told again."""
    if not transfers:
        return 0
    keys = [transfer.pk for transfer in transfers]
    for transfer in transfers:
        transfer.told_state = state
    return OutgoingTransfer.objects.filter(pk__in=keys, state=state).update(told_state=state)


# --- Progress ---------------------------------------------------------------------------------------------------------


def _tell_progress(peer: Peer, transfers: Sequence[OutgoingTransfer], state: TransferState) -> Told:
    by_id = _by_remote_id(transfers)
    message = CheckinUpdateRequest(
        source_transfer_ids=[],
        destination_transfer_ids=list(by_id),
        new_status=state.on_wire,
        counterparts=_counterparts(peer, by_id),
    )
    answer = call_peer(peer, "v2/checkin/update", message, CheckinUpdateResponse, timeout_seconds=60.0)
    steps.passed(STEPS[state])
    modified = set(answer.modified_destination_transfer_ids)
    told = note_told([each for key, each in by_id.items() if key in modified], state)
    rest = {key: each for key, each in by_id.items() if key not in modified}
    done = Told(told=told)
    if rest:
        done.add(_adopt(peer, rest, state))
    return done


def _adopt(peer: Peer, by_id: dict[int, OutgoingTransfer], state: TransferState) -> Told:
    """Take over what a peer says of transfers whose state it did not change as it was told."""
    statuses = ask_statuses(peer, list(by_id.values()))
    done = Told()
    knows = []
    for key, transfer in by_id.items():
        status, failure = statuses[key]
        if status is None:
            done.failed += fail_lost(transfer)
        elif status in (TransferStatus.FAILED, TransferStatus.CANCELLED):
            done.failed += fail_as_said(transfer, status, failure)
        elif status >= state.on_wire:
            knows.append(transfer)
        else:
            done.left += 1
    done.told += note_told(knows, state)
    return done


Said = tuple[TransferStatus | None, TransferFailure | None]


def ask_statuses(peer: Peer, transfers: Sequence[OutgoingTransfer]) -> dict[int, Said]:
    """Where a peer says that transfers stand (None: it knows none of that id), by its own ids. Raises PeerProblem."""
    by_id = _by_remote_id(transfers)
    said: dict[int, Said] = {}
    for batch in portions(by_id, BATCH):
        message = CheckinStatusRequest(
            source_transfer_ids=[],
            destination_transfer_ids=list(batch),
            counterparts=_counterparts(peer, {key: by_id[key] for key in batch}),
        )
        answer = call_peer(peer, "v2/checkin/status", message, CheckinStatusResponse, timeout_seconds=60.0)
        for key in batch:
            said[key] = (answer.destination_transfer_status.get(key), answer.failures.get(key))
    return said


def _by_remote_id(transfers: Sequence[OutgoingTransfer]) -> dict[int, OutgoingTransfer]:
    return {each.remote_transfer_id: each for each in transfers if each.remote_transfer_id is not None}


def _counterparts(peer: Peer, by_id: dict[int, OutgoingTransfer]) -> dict[int, int]:
    """Our own ids by the peer's, if it knows what to do with them: one given out anew is not taken for ours."""
    return {key: transfer.pk for key, transfer in by_id.items()} if COUNTERPARTS in peer.features else {}


# --- Failures ---------------------------------------------------------------------------------------------------------


def fail_lost(transfer: OutgoingTransfer) -> bool:
    """The peer does not know a transfer any more: another attempt is made. There is nobody left to be told."""
    failure = Failure(
        code="lost_at_peer",
        reason=f"{transfer.peer_name} does not know this transfer any more.",
        remedy="It is sent again by itself. If it repeats, ask whether that site restored an old database.",
    )
    failed = fail(transfer, failure)
    if failed:
        note_told([transfer], TransferState.FAILED)
    return failed


def fail_as_said(transfer: OutgoingTransfer, status: TransferStatus, said: TransferFailure | None) -> bool:
    """The peer has given a transfer up: so do we."""
    failed = fail(transfer, as_said(transfer, status, said))
    if failed:
        note_told([transfer], TransferState.FAILED)
    return failed


def as_said(transfer: OutgoingTransfer, status: TransferStatus, said: TransferFailure | None) -> Failure:
    """Why a transfer failed that the peer has given up: its reason, as far as it told one."""
    said = said or TransferFailure()
    word = "cancelled" if status == TransferStatus.CANCELLED else "failed"
    return Failure(
        code=said.code or ("cancelled_at_peer" if word == "cancelled" else "failed_at_peer"),
        reason=said.reason or f"{transfer.peer_name} says that it {word}, and not why.",
        remedy=said.suggested_remedy or "Ask the people of that site, whose log says why, if it repeats.",
        retry=retry_after(said, is_cancelled=status == TransferStatus.CANCELLED),
    )


def _tell_failure(peer: Peer, transfer: OutgoingTransfer) -> Told:
    """Tell that we have given a transfer up. A peer that knows it no more, or cannot end it, need not be told again."""
    message = CloneFailRequest(
        source_transfer_id=transfer.pk,
        destination_transfer_id=transfer.remote_transfer_id,
        reason=(transfer.reason or "The transfer was given up by its sender.")[:REASON_CHARACTERS],
    )
    try:
        call_peer(peer, "v2/clone/fail", message)
    except PeerAnswered as refusal:
        if refusal.passing:
            raise
    return Told(told=note_told([transfer], transfer.state))
