"""Sending batches: one after the other to each peer, with the first provider that works.

What arrived is noted as it arrives, so that the peer can begin to check it and a crash repeats little. A batch that did
not get there whole waits and is tried again, slower and slower; after LIBRARIAN_TRANSFER_ATTEMPTS attempts with one
provider the next one that the peer offered is used, and when none is left its transfers fail. An attempt at which the
peer itself was away does not count.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from files.models import FileKind, Instance
from hera_librarian.uploading.pace import Pace
from librarian.common import steps
from librarian.common.errors import LostRace
from librarian.common.inbox import report_error
from librarian.common.jobtable import get_job
from librarian.common.models import Category, Severity
from librarian.common.texts import storable
from network.errors import PeerAnswered, PeerProblem
from network.models import OutgoingTransfer, Peer, QueueState, SendQueueItem, TransferState
from network.providers import choice
from network.providers.base import CouldNotStart, Offer, Outcome, Parcel, Provider, Sending, SourceCopy
from network.providers.streams import members_of_product
from network.services.nudging import nudge
from network.services.peering.calls import call_peer, reachable
from network.services.sending.batch_claims import BatchClaim, take_next
from network.services.sending.send_progress import Progress
from network.services.sending.settling import Failure, fail
from network.services.sending.sources import readable_copies
from network.services.sending.telling import tell
from network.services.transfers import Retry
from network.services.transfers.retries import pause
from network.services.turns import peers_to_serve, turn_with
from stores.models import Store

log = logging.getLogger(__name__)

SLICE_SECONDS = 20 * 60.0  # for one peer, when others wait
SHARE_OF_BOX = 0.9
NOTE_SECONDS = 10.0  # at most so long a file that arrived waits for the peer to be told
REASON_CHARACTERS = 2_000
# What one provider cannot do with a file, and another may.
NOT_THIS_WAY = (
    "copy_not_on_this_machine",
    "copy_not_in_a_collection",
    "destination_forbidden",
    "destination_refused",
)
# A service that moves the bytes by itself is asked again after a tenth of the time that it has had, within these.
ASK_AGAIN_SECONDS, LONGEST_UNASKED_SECONDS = 60.0, 300.0


def send_batches(*, peer: str = "") -> dict[str, int]:
    """Send what is due to every peer, or to one; how many batches and files went, and what failed."""
    deadline = time.monotonic() + SHARE_OF_BOX * get_job("send_batches").time_box_seconds
    total: Counter[str] = Counter()
    names = set(SendQueueItem.objects.live().order_by().values_list("peer_name", flat=True).distinct())
    for each in peers_to_serve(peer, names):
        if not reachable(each) or time.monotonic() >= deadline:
            continue
        with turn_with(each.name, job="send_batches") as is_mine:
            if is_mine:
                total += _Courier(each, deadline).work()
    return {key: total[key] for key in ("batches", "files", "failed")}


@dataclass
class _Ledger:
    """Outcomes of one run of a provider: what arrived and is not noted yet, and what is left, with its reason."""

    arrived: list[int] = field(default_factory=list)
    left: dict[int, Outcome] = field(default_factory=dict)
    noted_at: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        if outcome.ok:
            self.arrived.append(outcome.transfer_id)
        else:
            self.left[outcome.transfer_id] = outcome

    @property
    def is_due(self) -> bool:
        return bool(self.arrived) and time.monotonic() - self.noted_at >= NOTE_SECONDS


class _Courier:
    """One run's sending to one peer."""

    def __init__(self, peer: Peer, deadline: float) -> None:
        self.peer = peer
        self.deadline = deadline
        self.slice_ends = time.monotonic() + SLICE_SECONDS
        limit = peer.rate_limit_bytes_per_second
        self.pace = Pace(limit) if limit else None
        self.done: Counter[str] = Counter()

    def work(self) -> "Counter[str]":
        """Send batches until none is due, the peer is switched off, or time is up."""
        while self._goes_on() and (claim := take_next(self.peer.name)) is not None:
            steps.passed("sending")
            try:
                self._send(claim)
            except LostRace as race:
                log.warning("%s", race.reason)
            except BaseException:
                # cut off by the time box: the next run goes on with it
                claim.held().update(state=QueueState.WAITING, claim="", claim_until=None)
                raise
            self._offer_more()
        return self.done

    def _offer_more(self) -> None:
        """Have more offered once half of what may be on its way is over: else sending would wait for the clock."""
        on_their_way = SendQueueItem.objects.live().filter(peer_name=self.peer.name).count()
        waiting = OutgoingTransfer.objects.filter(
            peer_name=self.peer.name, state=TransferState.INITIATED, remote_transfer_id=None
        )
        if 2 * on_their_way <= self.peer.batches_in_flight and waiting.exists():
            nudge("offer_files", self.peer.name)

    def _goes_on(self) -> bool:
        row = Peer.objects.sending().filter(pk=self.peer.pk).first()
        if row is None or time.monotonic() >= self.deadline or self._others_wait() or not reachable(row):
            return False
        self.peer = row
        return True

    def _others_wait(self) -> bool:
        """True once this peer has had its time and another one has something due."""
        if time.monotonic() < self.slice_ends:
            return False
        due = SendQueueItem.objects.filter(state=QueueState.WAITING, next_try_at__lte=timezone.now())
        return (
            due.exclude(peer_name=self.peer.name).filter(peer_name__in=Peer.objects.sending().values("name")).exists()
        )

    # --- One batch ---

    def _send(self, claim: BatchClaim) -> None:
        """Send one batch as far as it goes, and write down what is to become of it. Raises LostRace."""
        item = claim.item
        transfers = self._with_copies(list(self._ongoing(item).select_related("file", "instance__store")))
        while transfers:
            try:
                provider, offer = self._at_work(item) or choice.choose_provider(self.peer, item.offers)
            except choice.NoProvider as why:
                self._no_way(claim, why)
                return
            claim.write(provider=provider.name)
            try:
                ledger, was_stopped = self._run(claim, provider, offer, transfers)
            except CouldNotStart as problem:
                choice.rest_provider(self.peer, provider.name, problem.reason)
                continue
            choice.wake_provider(self.peer, provider.name)
            self._note(claim, ledger)
            self._settle(claim, provider, ledger, was_stopped=was_stopped)
            return
        self._close(claim)

    def _at_work(self, item: SendQueueItem) -> tuple[Provider, Offer] | None:
        """Who has the batch under way: nobody else may write there until that is over."""
        return choice.provider_at_work(item.provider, item.offers) if item.task_id else None

    def _ongoing(self, item: SendQueueItem) -> QuerySet[OutgoingTransfer]:
        return OutgoingTransfer.objects.filter(queue_item=item, state=TransferState.ONGOING).order_by("pk")

    def _with_copies(self, transfers: Sequence[OutgoingTransfer]) -> list[OutgoingTransfer]:
        """The transfers, each with a copy that can be read now; those without one fail for now."""
        readable = Instance.objects.readable().filter(pk__in=[each.instance_id for each in transfers])
        good = set(readable.values_list("pk", flat=True))
        bad = [each for each in transfers if each.instance_id not in good]
        others = readable_copies([each.file_id for each in bad])
        sendable = []
        for each in transfers:
            if each.instance_id not in good:
                each.instance = others.get(each.file_id)
                OutgoingTransfer.objects.filter(pk=each.pk).update(instance=each.instance)
            if each.instance is not None:
                sendable.append(each)
                continue
            reason = f"No copy of {each.file.name} can be read here any more."
            remedy = "The file's page says what is wrong with each copy; it is sent again by itself."
            self._fail(each, Failure(code="no_readable_copy", reason=reason, remedy=remedy))
        return sendable

    def _run(
        self, claim: BatchClaim, provider: Provider, offer: Offer, transfers: Sequence[OutgoingTransfer]
    ) -> tuple[_Ledger, bool]:
        """Let a provider send, noting what arrives; what is left, and whether it was told to stop."""
        progress = Progress(claim, transfers, others_wait=self._others_wait)
        sending = Sending(
            progress=progress.report,
            keep_going=progress.keep_going,
            deadline=self.deadline,
            pace=self.pace,
            task_id=claim.item.task_id,
            note_task=lambda task_id: claim.write(task_id=task_id),
        )
        ledger = _Ledger()
        parcels = [_parcel(each) for each in transfers]
        try:
            for outcome in provider.send(self.peer, offer, parcels, sending):
                ledger.add(outcome)
                if ledger.is_due:
                    self._note(claim, ledger)
        except (CouldNotStart, LostRace):
            raise
        except Exception as fault:  # a mistake in a provider must not stop the batches behind this one
            log.exception("the provider %s failed", provider.name)
            self._report(provider, fault)
            reason = f"The provider {provider.name} failed: {type(fault).__name__}: {fault}"
            settled = {*ledger.arrived, *ledger.left}
            for each in transfers:
                if each.pk not in settled:
                    ledger.add(Outcome(each.pk, "provider_failed", storable(reason, REASON_CHARACTERS), passing=True))
        if any(outcome.is_waiting for outcome in ledger.left.values()):
            progress.flush()
        return ledger, not sending.goes_on()

    def _note(self, claim: BatchClaim, ledger: _Ledger) -> None:
        """Write down what has arrived and tell the peer. Raises LostRace."""
        keys, ledger.arrived, ledger.noted_at = ledger.arrived, [], time.monotonic()
        if not keys:
            return
        steps.passed("sent")
        now = timezone.now()
        check_at = now + timedelta(seconds=settings.LIBRARIAN_STALE_TRANSFER_SECONDS)
        with transaction.atomic():
            claim.write()
            self.done["files"] += OutgoingTransfer.objects.filter(pk__in=keys, state=TransferState.ONGOING).update(
                state=TransferState.STAGED,
                changed_at=now,
                next_check_at=check_at,
                sent_bytes=F("size_bytes"),
                code="",
                reason="",
                remedy="",
            )
        steps.passed("send_noted")
        tell(self.peer, list(OutgoingTransfer.objects.filter(pk__in=keys).select_related("file")))

    # --- What is left of it ---

    def _settle(self, claim: BatchClaim, provider: Provider, ledger: _Ledger, *, was_stopped: bool) -> None:
        """Decide about the transfers that did not get there."""
        passing = []
        for each in self._ongoing(claim.item).select_related("file"):
            outcome = ledger.left.get(each.pk)
            if outcome is None or outcome.passing or outcome.code in NOT_THIS_WAY:
                passing.append(each)
            else:
                self._fail(
                    each, Failure(code=outcome.code, reason=outcome.reason, remedy=outcome.remedy, retry=Retry.AGAIN)
                )
        if not passing:
            self._close(claim)
            return
        worst = next((outcome for outcome in ledger.left.values() if outcome.passing), None)
        worst = worst or next(iter(ledger.left.values()), None)
        why = worst or Outcome(0, "sending_stopped", f"The provider {provider.name} left files out.", passing=True)
        _say_why(passing, ledger)
        under_way = next((outcome for outcome in ledger.left.values() if outcome.is_waiting), None)
        if under_way is not None:
            self._put_back(claim, under_way, timedelta(0) if was_stopped else _until_asked_again(claim.item))
        elif was_stopped:
            self._put_back(claim, why, timedelta(0))
        elif why.code in NOT_THIS_WAY:
            self._change_provider(claim, provider, why)
        elif (silence := self._silence()) is not None:
            self._put_back(claim, Outcome(0, silence.code, silence.reason, silence.suggested_remedy), pause(1))
        elif claim.item.attempts + 1 >= settings.LIBRARIAN_TRANSFER_ATTEMPTS:
            self._change_provider(claim, provider, why)
        else:
            attempts = claim.item.attempts + 1
            self._put_back(claim, why, pause(attempts), attempts=attempts)

    def _silence(self) -> PeerProblem | None:
        """Why the peer cannot be reached now, if that is so."""
        try:
            call_peer(self.peer, "v2/ping/", {}, timeout_seconds=10.0, is_urgent=True)
        except PeerAnswered as answer:
            return answer if answer.passing else None
        except PeerProblem as problem:
            return problem
        return None

    def _no_way(self, claim: BatchClaim, why: choice.NoProvider) -> None:
        """No provider can be used now: wait for the first that rests, though not for ever."""
        outcome = Outcome(0, why.code, why.reason, why.suggested_remedy)
        silence = self._silence()
        if silence is not None:
            self._put_back(claim, Outcome(0, silence.code, silence.reason, silence.suggested_remedy), pause(1))
            return
        attempts = claim.item.attempts + 1
        if attempts >= settings.LIBRARIAN_TRANSFER_ATTEMPTS:
            self._give_up(claim, outcome)
            return
        wait = pause(attempts) if why.next_try_at is None else max(timedelta(0), why.next_try_at - timezone.now())
        self._ongoing(claim.item).update(code=why.code, reason=why.reason, remedy=why.suggested_remedy)
        self._put_back(claim, outcome, wait, attempts=attempts)

    def _change_provider(self, claim: BatchClaim, provider: Provider, why: Outcome) -> None:
        """This provider has had its attempts with the batch: its offers are left out, and the next one is used."""
        offers = {label: offer for label, offer in claim.item.offers.items() if not provider.offered_as(offer)}
        if offers:
            self._put_back(claim, why, timedelta(0), attempts=0, offers=offers)
        else:
            self._give_up(claim, why)

    def _give_up(self, claim: BatchClaim, why: Outcome) -> None:
        for each in self._ongoing(claim.item).select_related("file"):
            self._fail(
                each,
                Failure(
                    code=each.code or why.code, reason=each.reason or why.reason, remedy=why.remedy, retry=Retry.AGAIN
                ),
            )
        claim.close(QueueState.FAILED, **_reasons(why))
        self.done["batches"] += 1

    def _put_back(self, claim: BatchClaim, why: Outcome, wait: timedelta, **changes: object) -> None:
        claim.put_back(next_try_at=timezone.now() + wait, **_reasons(why), **changes)

    def _close(self, claim: BatchClaim) -> None:
        claim.close(QueueState.SENT, sent_bytes=claim.item.size_bytes, code="", reason="", remedy="")
        if (at_work := self._at_work(claim.item)) is not None:  # all of it was cancelled, or ended by the peer's word
            at_work[0].abandon(claim.item.task_id)
        self.done["batches"] += 1

    def _fail(self, each: OutgoingTransfer, failure: Failure) -> None:
        self.done["failed"] += fail(each, failure)

    def _report(self, provider: Provider, fault: Exception) -> None:
        report_error(
            severity=Severity.ERROR,
            category=Category.PROGRAMMING,
            code="provider_failed",
            message=f"The provider {provider.name} failed with {self.peer.name}: {type(fault).__name__}: {fault}",
            remedy="It is tried again by itself. A report of the fault should quote the log of the job worker.",
            caller="job:send_batches",
            target=f"{self.peer.name} {provider.name}",
        )


def _parcel(transfer: OutgoingTransfer) -> Parcel:
    copy, file = transfer.instance, transfer.file
    backend = copy.store.backend
    is_here = copy.store.kind == Store.Kind.POSIX and copy.store.is_reached_from(settings.LIBRARIAN_HOST_NAME)
    return Parcel(
        transfer_id=transfer.pk,
        file_name=file.name,
        source=SourceCopy(backend, copy.path, backend.locate(copy.path) if is_here else None),
        destination_path=transfer.destination_path,
        upload_id=transfer.remote_upload_id,
        size_bytes=file.size_bytes,
        kind="directory" if file.kind == FileKind.DIRECTORY else "flat",
        members=members_of_product(file) if file.kind == FileKind.DIRECTORY else (),
    )


def _until_asked_again(item: SendQueueItem) -> timedelta:
    """How long a batch that a service moves is left alone."""
    had = (timezone.now() - (item.started_at or timezone.now())).total_seconds()
    return timedelta(seconds=min(max(ASK_AGAIN_SECONDS, had / 10), LONGEST_UNASKED_SECONDS))


def _say_why(transfers: Sequence[OutgoingTransfer], ledger: _Ledger) -> None:
    """Write on each transfer why it waits; many have the same reason."""
    by_reason: dict[tuple[str, str, str], list[int]] = {}
    for each in transfers:
        if (outcome := ledger.left.get(each.pk)) is not None:
            by_reason.setdefault((outcome.code, outcome.reason, outcome.remedy), []).append(each.pk)
    for (code, reason, remedy), keys in by_reason.items():
        rows = OutgoingTransfer.objects.filter(pk__in=keys, state=TransferState.ONGOING)
        rows.update(code=code[:64], reason=storable(reason, REASON_CHARACTERS), remedy=storable(remedy, 1_000))


def _reasons(why: Outcome) -> dict[str, str]:
    return {
        "code": why.code[:64] or "sending_failed",
        "reason": storable(why.reason, REASON_CHARACTERS) or "The batch did not get there.",
        "remedy": storable(why.remedy, REASON_CHARACTERS),
    }
