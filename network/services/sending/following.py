"""Following what was sent: transfers of which no word came back are asked about, so that none waits for ever.

A peer may never call back (rule 19 of the wire reference), its call may have been lost, or it may have forgotten. What
it says of the transfer tells whether it still works on it; if not, what it holds decides. A peer that does not answer
changes nothing: its transfers wait, and say so.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from enum import Enum

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from hera_librarian.transfer import TransferStatus
from librarian.common.inbox import report_error
from librarian.common.models import Category, Severity
from network.errors import PeerProblem
from network.models import LIVE, OutgoingTransfer, Peer, QueueState, TransferState
from network.services.sending.held import ask_what_is_held
from network.services.sending.portions import portions
from network.services.sending.settling import Failure, fail, judge, settle
from network.services.sending.telling import Said, as_said, ask_statuses
from network.services.transfers import Retry
from network.services.turns import peers_to_serve, turn_with

BATCH = 500
MOST_AT_ONCE = 5_000  # of one peer in one run; each of a foreign one costs a call
SLOW_AFTER = timedelta(days=2)  # a peer that has the bytes and says for so long that it looks at them
BEHIND = (TransferStatus.INITIATED, TransferStatus.ONGOING)


class Standing(Enum):
    """What a peer does with a transfer that has not ended there."""

    AT_WORK = "at work"
    BEHIND = "waits to be told that the bytes are there"


Verdict = int | Failure | Standing  # the peer's store id, why it fails, or that it goes on


def follow_transfers(*, peer: str = "") -> dict[str, int]:
    """Ask peers, or one, about transfers that they have had for long, and end those that lead nowhere."""
    total: Counter[str] = Counter()
    for each in peers_to_serve(peer, _peers_with(_due()), switched_on=False):
        with turn_with(each.name, job="follow_transfers") as is_mine:
            if is_mine:
                total += follow(each)
    total["failed"] += _end_astray(peer)
    _explain_orphans()
    return {key: total[key] for key in ("asked", "completed", "failed")}


def follow(peer: Peer) -> "Counter[str]":
    """Ask one peer about what is due there, and act on its word."""
    done: Counter[str] = Counter()
    rows = _due().filter(peer_name=peer.name).select_related("file").order_by("next_check_at", "pk")
    for batch in portions(list(rows[:MOST_AT_ONCE]), BATCH):
        done["asked"] += len(batch)
        try:
            for transfer, verdict in judge_transfers(peer, batch):
                _tell_if_slow(transfer)
                if verdict is Standing.BEHIND:
                    OutgoingTransfer.objects.filter(pk=transfer.pk).update(told_state="")
                elif verdict is not Standing.AT_WORK:
                    done[settle(transfer, verdict)] += 1
        except PeerProblem as problem:
            say_why_waiting(OutgoingTransfer.objects.filter(pk__in=[each.pk for each in batch]), problem)
            break
        _look_again(batch)
    return done


def judge_transfers(peer: Peer, transfers: Sequence[OutgoingTransfer]) -> Iterator[tuple[OutgoingTransfer, Verdict]]:
    """What the peer's word means for each of these transfers to it. Raises PeerProblem; changes nothing of theirs."""
    statuses = ask_statuses(peer, transfers)
    over = {}
    for transfer in transfers:
        status, failure = statuses.get(transfer.remote_transfer_id, (None, None))
        if status == TransferStatus.STAGED:
            yield transfer, Standing.AT_WORK
        elif status in BEHIND:
            yield transfer, Standing.BEHIND
        else:
            over[transfer.file_id] = (transfer, _why_over(transfer, (status, failure)))
    for word in ask_what_is_held(peer, [transfer.file for transfer, _ in over.values()]):
        transfer, otherwise = over[word.file.pk]
        yield transfer, judge(transfer, word, otherwise=otherwise)


def _why_over(transfer: OutgoingTransfer, said: Said) -> Failure:
    """Why a transfer fails that the peer does not work on, if it turns out not to hold the file."""
    status, failure = said
    if status in (TransferStatus.FAILED, TransferStatus.CANCELLED):
        return as_said(transfer, status, failure)
    if status == TransferStatus.COMPLETED:
        return Failure(
            code="no_copy_at_peer",
            reason=f"{transfer.peer_name} has taken {transfer.file.name} in and does not hold it any more.",
            remedy="It is sent again by itself; ask the people of that site if it repeats.",
            retry=Retry.AGAIN,
        )
    return Failure(
        code="lost_at_peer",
        reason=f"{transfer.peer_name} knows neither this transfer nor {transfer.file.name}.",
        remedy="It is sent again by itself. If it repeats, ask whether that site restored an old database.",
        retry=Retry.AGAIN,
    )


def _tell_if_slow(transfer: OutgoingTransfer) -> None:
    """A peer that answers "I am at it" for ever is no fault that anything ends: a person has to ask there."""
    if transfer.changed_at > timezone.now() - SLOW_AFTER:
        return
    report_error(
        severity=Severity.WARNING,
        category=Category.TRANSFER,
        code="transfer_slow",
        message=f"{transfer.peer_name} has had files of ours for more than {SLOW_AFTER.days} days without taking them "
        f"in or refusing them, {transfer.file.name} among them.",
        remedy="Ask the people of that site whether their jobs run and their stores are there; then cancel and retry.",
        caller="job:follow_transfers",
        target=transfer.peer_name,
    )


# --- Rows -------------------------------------------------------------------------------------------------------------


def _sent() -> QuerySet[OutgoingTransfer]:
    """Transfers whose bytes are at the peer."""
    return OutgoingTransfer.objects.filter(state=TransferState.STAGED, remote_transfer_id__isnull=False)


def _due() -> QuerySet[OutgoingTransfer]:
    """Those of which it is time to ask what became of them."""
    return _sent().filter(Q(next_check_at=None) | Q(next_check_at__lte=timezone.now()))


def _peers_with(rows: QuerySet[OutgoingTransfer]) -> set[str]:
    return set(rows.order_by().values_list("peer_name", flat=True).distinct())


def _look_again(transfers: Sequence[OutgoingTransfer]) -> None:
    """Those that are still being worked on are asked about later; that the peer was silent before is over."""
    at = timezone.now() + timedelta(seconds=settings.LIBRARIAN_STALE_TRANSFER_SECONDS)
    live = OutgoingTransfer.objects.filter(pk__in=[each.pk for each in transfers], state=TransferState.STAGED)
    live.update(next_check_at=at, code="", reason="", remedy="")


def say_why_waiting(rows: QuerySet[OutgoingTransfer], problem: PeerProblem) -> None:
    """Write on live transfers why nothing becomes of them at present."""
    fields = {"code": problem.code, "reason": problem.reason, "remedy": problem.suggested_remedy}
    rows.filter(state__in=LIVE).exclude(**fields).update(**fields)


def _end_astray(peer_name: str) -> int:
    """Fail transfers that nothing carries on: being sent in no batch, or known to the peer before they were queued.

    What a disk carries is in no batch, and `network.services.shipping` follows it. Between two steps of a healthy run
    there are none; what a crash or a hand in the database left is old.
    """
    before = timezone.now() - timedelta(seconds=settings.LIBRARIAN_STALE_TRANSFER_SECONDS)
    ended = [QueueState.SENT, QueueState.FAILED]
    no_batch = Q(state=TransferState.ONGOING, shipment=None) & (Q(queue_item=None) | Q(queue_item__state__in=ended))
    half_offered = Q(state=TransferState.INITIATED, remote_transfer_id__isnull=False)
    astray = OutgoingTransfer.objects.live().filter(no_batch | half_offered, changed_at__lt=before)
    if peer_name:
        astray = astray.filter(peer_name=peer_name)
    reason = "Its sending came to an end without it."
    failure = Failure(code="sending_lost", reason=reason, remedy="It is sent again by itself.", retry=Retry.PASSING)
    return sum(fail(each, failure) for each in astray.select_related("file").order_by("pk")[:MOST_AT_ONCE])


def _explain_orphans() -> None:
    """Transfers to a peer that was removed wait for it to be added again, and say so."""
    known = Peer.objects.values("name")
    for name in (
        OutgoingTransfer.objects.live()
        .exclude(peer_name__in=known)
        .order_by()
        .values_list("peer_name", flat=True)
        .distinct()
    ):
        fields = {
            "code": "peer_removed",
            "reason": f"There is no Librarian {name} here any more; what is on its way to it waits.",
            "remedy": "Add it again under the same name, or cancel its transfers.",
        }
        OutgoingTransfer.objects.live().filter(peer_name=name).exclude(**fields).update(**fields)


def follow_transfer_words(peer: Peer) -> Iterator[tuple[OutgoingTransfer, Verdict]]:
    """A peer's word on everything of ours that is there to be checked. Raises PeerProblem; changes nothing."""
    keys = list(_sent().filter(peer_name=peer.name).order_by("pk").values_list("pk", flat=True))
    for some in portions(keys, BATCH):  # no query is open while the peer is called
        yield from judge_transfers(peer, list(_sent().filter(pk__in=some).select_related("file").order_by("pk")))
