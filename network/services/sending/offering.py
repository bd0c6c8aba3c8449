"""Offering chosen files to their peers, which make room for them and say how the bytes may come.

A site of our kind answers for each file. A foreign one takes a batch or refuses it as a whole: then the files because
of which it did are looked at one by one and the others are offered again, and where it names none the batch is halved
until the one that it refuses is found. No file keeps its neighbours from going.

Whatever is not written down when a call or this process fails is offered again: the peer then answers the same, or says
that the file is on its way.
"""

import logging
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from hera_librarian.models.clone import CloneRefusal
from librarian.common import steps
from network.errors import PeerAnswered, PeerProblem
from network.models import LIVE, OutgoingTransfer, Peer, SendQueueItem, TransferState
from network.services.nudging import nudge
from network.services.peering.calls import call_peer
from network.services.sending.held import agrees, ask_what_is_held
from network.services.sending.proposals import Answered, Room, make_offer, read_answer
from network.services.sending.settling import Failure, fail, judge, other_bytes, settle
from network.services.sending.sources import readable_copies
from network.services.sending.telling import tell
from network.services.transfers import Retry
from network.services.turns import peers_to_serve, turn_with

log = logging.getLogger(__name__)

MOST_EXTRA_CALLS = 48  # to find out, in one run, which files a peer refuses; 17 find one in a batch of 256
MOST_LOOKUPS = 1_000  # of files that a foreign peer says to have, in one run
TIMEOUT_SECONDS = 120.0
# Statuses that speak of the batch. Any other says that the peer does not work, and the files wait.
OF_THE_BATCH = (400, 406, 409, 413, 422, 425, 500)


def offer_files(*, peer: str = "") -> dict[str, int]:
    """Offer what waits to every peer, or to one; how many files were queued, found there, failed."""
    total: Counter[str] = Counter(queued=0, completed=0, failed=0)
    waiting = OutgoingTransfer.objects.live().filter(state=TransferState.INITIATED, remote_transfer_id=None)
    names = set(waiting.order_by().values_list("peer_name", flat=True).distinct())
    for each in peers_to_serve(peer, names):
        with turn_with(each.name, job="offer_files") as is_mine:
            if is_mine:
                total += _Round(each).offer()
    return {key: total[key] for key in ("queued", "completed", "failed")}


class _Round:
    """One run's offers to one peer, and what they may still cost."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.done: Counter[str] = Counter()
        self.calls_left = MOST_EXTRA_CALLS
        self.lookups_left = MOST_LOOKUPS
        self.asked_again = False

    def offer(self) -> "Counter[str]":
        """Offer batches, the most urgent first, until there is enough on its way or the peer does not answer."""
        left = self.peer.files_per_run
        last: OutgoingTransfer | None = None
        try:
            while left > 0 and self._has_room() and (batch := self._next(last, min(left, self.peer.batch_files))):
                last = batch[-1]
                left -= len(batch)
                self._offer_batch(self._with_copies(batch))
        except PeerProblem as problem:
            note_waiting(self.peer, problem)
        if self.done["queued"]:
            nudge("send_batches", self.peer.name)
        return self.done

    def _has_room(self) -> bool:
        """Whether more may be on its way: the peer is switched on, and its batches are not too many."""
        if not Peer.objects.sending().filter(pk=self.peer.pk).exists():
            return False
        live = SendQueueItem.objects.live().filter(peer_name=self.peer.name)
        return live.count() < self.peer.batches_in_flight

    def _next(self, last: OutgoingTransfer | None, size: int) -> list[OutgoingTransfer]:
        rows = OutgoingTransfer.objects.live().filter(
            peer_name=self.peer.name, state=TransferState.INITIATED, remote_transfer_id=None
        )
        if last is not None:
            rows = rows.filter(Q(priority__lt=last.priority) | Q(priority=last.priority, pk__gt=last.pk))
        return list(rows.select_related("file").order_by("-priority", "pk")[:size])

    def _with_copies(self, batch: Sequence[OutgoingTransfer]) -> list[OutgoingTransfer]:
        """Those of a batch of which there is a copy to send, with that; the others fail for now."""
        again = [each.file_id for each in batch if each.attempt > 1]
        tried = OutgoingTransfer.objects.filter(peer_name=self.peer.name, file__in=again, is_latest=False)
        copies = readable_copies(
            [each.file_id for each in batch],
            tried=set(tried.order_by().values_list("file", "instance")) if again else (),
        )
        sendable = []
        for each in batch:
            each.instance = copies.get(each.file_id)
            if each.instance is not None:
                sendable.append(each)
            else:
                self._fail(each, _no_copy_here(each))
        return sendable

    def _fail(self, each: OutgoingTransfer, failure: Failure) -> None:
        self.done["failed"] += fail(each, failure)

    # --- One batch and its parts ---

    def _offer_batch(self, batch: list[OutgoingTransfer]) -> None:
        """Offer a batch, and the parts into which refusals cut it. Raises PeerProblem when the peer does not work."""
        parts = deque([batch] if batch else [])
        is_first, self.asked_again = True, False
        while parts:
            if not is_first and not self._may_call(parts):
                return
            part = parts.popleft()
            try:
                content = call_peer(
                    self.peer,
                    "v2/clone/batch_stage",
                    make_offer(self.peer, part),
                    timeout_seconds=TIMEOUT_SECONDS,
                    is_urgent=not is_first,  # to be answered with 500 is no reason to stop looking for the cause
                )
            except PeerAnswered as refusal:
                parts.extendleft(reversed(self._after(refusal, part)))
            else:
                steps.passed("offered")
                self._take(read_answer(content, part), part)
            is_first = False

    def _may_call(self, parts: Sequence[Sequence[OutgoingTransfer]]) -> bool:
        """Count a further call for a batch; without any left its files wait for the next run, and say so."""
        self.calls_left -= 1
        if self.calls_left >= 0:
            return True
        keys = [each.pk for part in parts for each in part]
        OutgoingTransfer.objects.filter(pk__in=keys, state=TransferState.INITIATED).update(
            code="offer_unsettled",
            reason=f"{self.peer.name} refuses batches without saying because of which files; they are being found.",
            remedy="Wait: the next runs go on looking.",
        )
        return False

    def _after(self, refusal: PeerAnswered, part: list[OutgoingTransfer]) -> list[list[OutgoingTransfer]]:
        """What of a refused batch is offered again, in parts. Raises the refusal if it does not speak of the batch."""
        if refusal.http_status not in OF_THE_BATCH:
            raise refusal
        ids = refusal.content.get("source_transfer_ids")
        meant = set(ids) if isinstance(ids, list) and all(isinstance(each, int) for each in ids) else set()
        named = [each for each in part if each.pk in meant]
        rest = [each for each in part if each.pk not in meant]
        if named and refusal.http_status in (406, 409, 425):
            if refusal.http_status == 409:
                self._settle_known(named)
            elif refusal.http_status == 406 and not self.asked_again:
                self.asked_again = True  # it has failed its older transfers with that answer
                return [part]
            else:
                for each in named:
                    self._fail(each, _refused(self.peer, refusal))
            return [rest] if rest else []
        if len(part) > 1:
            middle = len(part) // 2
            return [part[:middle], part[middle:]]
        self._fail(part[0], _refused(self.peer, refusal))
        return []

    def _settle_known(self, transfers: Sequence[OutgoingTransfer]) -> None:
        """The peer knows these names already: its word on each tells whether they are the same files."""
        asked, self.lookups_left = transfers[: self.lookups_left], max(0, self.lookups_left - len(transfers))
        by_file = {each.file_id: each for each in asked}
        for word in ask_what_is_held(self.peer, [each.file for each in asked]):
            transfer = by_file[word.file.pk]
            missing = Failure(
                code="offer_refused",
                reason=f"{self.peer.name} says that it has {transfer.file.name}, and does not find it when asked.",
                remedy="It is offered again by itself; if that repeats, ask the people of that site.",
            )
            self.done[settle(transfer, judge(transfer, word, otherwise=missing))] += 1

    # --- A good answer ---

    def _take(self, answer: Answered, part: Sequence[OutgoingTransfer]) -> None:
        """Write an answer down and act on it."""
        if answer.strays:
            log.warning("%s answers for %d transfers that were not offered", self.peer.name, len(answer.strays))
        queued, restored = _queue(self.peer, answer, part)
        steps.passed("queued")
        self.done["queued"] += len(queued)
        for each in restored:
            self._fail(each, _restored(self.peer))
        going = {each.pk for each in queued}
        self._settle_rest(answer, [each for each in part if each.pk not in going])
        tell(self.peer, queued)

    def _settle_rest(self, answer: Answered, rest: Sequence[OutgoingTransfer]) -> None:
        unclear = []
        for each in rest:
            refusal, room = answer.refused.get(each.pk), answer.rooms.get(each.pk)
            if refusal is not None and refusal.held:
                verdict = _held(each, refusal)
                if verdict is None:
                    unclear.append(each)
                else:
                    self.done[settle(each, verdict)] += 1
            elif refusal is not None:
                self._fail(each, _refused_one(each, refusal))
            elif each.is_live:
                self._fail(each, _unanswered(self.peer, room))
        if unclear:
            self._settle_known(unclear)


def note_waiting(peer: Peer, problem: PeerProblem) -> None:
    """Say on what waits for a peer why it waits. Nothing fails: the peer or the line to it is away."""
    waiting = OutgoingTransfer.objects.live().filter(
        peer_name=peer.name, state=TransferState.INITIATED, remote_transfer_id=None
    )
    fields = {"code": problem.code, "reason": problem.reason, "remedy": problem.suggested_remedy}
    waiting.exclude(**fields).update(**fields)


# --- Rows -------------------------------------------------------------------------------------------------------------


def _queue(
    peer: Peer, answer: Answered, part: Sequence[OutgoingTransfer]
) -> tuple[list[OutgoingTransfer], list[OutgoingTransfer]]:
    """Write the peer's ids and the queue item in one transaction: what goes now, and older ones whose ids are reused.

    Transfers that were cancelled meanwhile get the peer's id too, so that it is told; ids that are of no use are noted
    for the same reason.
    """
    known = [each for each in part if each.pk in answer.rooms]
    for each in known:
        room = answer.rooms[each.pk]
        each.remote_transfer_id = room.remote_transfer_id
        each.remote_upload_id = room.remote_upload_id
        each.destination_path = room.destination_path
    with transaction.atomic():
        states = dict(
            OutgoingTransfer.objects.select_for_update()
            .filter(pk__in=[each.pk for each in known])
            .values_list("pk", "state")
        )
        _remember_features(peer, answer)
        restored = _release_ids(peer, known)
        for each in known:
            each.state = states[each.pk]
        usable = [each for each in known if each.is_live and not answer.rooms[each.pk].problem and answer.offers]
        OutgoingTransfer.objects.bulk_update(
            known, ["remote_transfer_id", "remote_upload_id", "destination_path", "instance"]
        )
        if usable:
            _make_item(peer, answer, usable)
    return usable, restored


def _make_item(peer: Peer, answer: Answered, transfers: Sequence[OutgoingTransfer]) -> None:
    item = SendQueueItem.objects.create(
        peer_name=peer.name,
        priority=max(each.priority for each in transfers),
        offers=answer.offers,
        is_foreign=answer.features is None,
        size_bytes=sum(each.size_bytes for each in transfers),
    )
    fields: dict[str, Any] = {
        "state": TransferState.ONGOING,
        "queue_item": item,
        "changed_at": timezone.now(),
        "code": "",
        "reason": "",
        "remedy": "",
    }
    OutgoingTransfer.objects.filter(pk__in=[each.pk for each in transfers], state=TransferState.INITIATED).update(
        **fields
    )
    for each in transfers:
        for name, value in fields.items():
            setattr(each, name, value)


def _remember_features(peer: Peer, answer: Answered) -> None:
    features = answer.features or []
    if peer.features != features:
        Peer.objects.filter(pk=peer.pk).update(features=features)
        peer.features = features


def _release_ids(peer: Peer, transfers: Sequence[OutgoingTransfer]) -> list[OutgoingTransfer]:
    """Take ids that a peer has given out anew from the older transfers that had them; those of them that live.

    A peer does that when its database was restored. The older ones must not be told about by that id any more.
    """
    older = OutgoingTransfer.objects.filter(
        peer_name=peer.name, remote_transfer_id__in=[each.remote_transfer_id for each in transfers]
    ).exclude(pk__in=[each.pk for each in transfers])
    live = list(older.filter(state__in=LIVE).select_related("file"))
    older.update(remote_transfer_id=None)
    for each in live:
        each.remote_transfer_id = None
    return live


# --- Reasons ----------------------------------------------------------------------------------------------------------


def _no_copy_here(transfer: OutgoingTransfer) -> Failure:
    return Failure(
        code="no_readable_copy",
        reason=f"No copy of {transfer.file.name} can be read here now.",
        remedy="The file's page says what is wrong with each copy; it is offered again by itself.",
    )


def _refused(peer: Peer, refusal: PeerAnswered) -> Failure:
    """A foreign peer refuses one file. What it says of a request that is wrong does not pass by waiting."""
    retry = Retry.AGAIN if refusal.http_status in (400, 422) else Retry.PASSING
    return Failure(code="offer_refused", reason=refusal.reason, remedy=refusal.suggested_remedy, retry=retry)


def _refused_one(transfer: OutgoingTransfer, refusal: CloneRefusal) -> Failure:
    """A peer of our kind refuses one file and says why."""
    if refusal.code == "name_taken" and refusal.checksum and agrees(transfer.file, refusal.checksum) is False:
        return other_bytes(transfer.file, transfer.peer_name, refusal.checksum)
    return Failure(
        code=refusal.code or "offer_refused",
        reason=refusal.reason or f"{transfer.peer_name} refuses {transfer.file.name} and does not say why.",
        remedy=refusal.suggested_remedy,
        retry=Retry.PASSING if refusal.passing else Retry.AGAIN,
    )


def _held(transfer: OutgoingTransfer, refusal: CloneRefusal) -> int | Failure | None:
    """What it means that a peer says to hold a file already; None if it must be asked more closely."""
    same = agrees(transfer.file, refusal.checksum)
    if same is False:
        return other_bytes(transfer.file, transfer.peer_name, refusal.checksum)
    return refusal.store_ids[0] if same and refusal.store_ids else None


def _unanswered(peer: Peer, room: Room | None) -> Failure:
    if room is None:
        return Failure(
            code="bad_answer",
            reason=f"{peer.name} gave no answer for this file.",
            remedy="It is offered again by itself.",
        )
    if room.problem:
        return Failure(
            code="bad_answer",
            reason=f"{peer.name} {room.problem}; nothing is written there.",
            remedy="Ask the people of that site: its staging area is not as the protocol wants it.",
        )
    return Failure(
        code="no_way_offered",
        reason=f"{peer.name} made room for this file and offers no way to bring the bytes that this site knows.",
        remedy="Set up a provider there (a shared directory, ssh_host, or a Librarian that takes uploads).",
    )


def _restored(peer: Peer) -> Failure:
    return Failure(
        code="lost_at_peer",
        reason=f"{peer.name} has given the number of this transfer to another one: its database was restored.",
        remedy="It is sent again by itself.",
    )
