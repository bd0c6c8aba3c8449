"""Asking senders about transfers that went silent, so that none waits for ever.

Only what its sender certainly gave up is ended: a sender that cannot be reached, or does not know yet, leaves its
transfers as they are until their upload expires. Staged ones are not asked about: their bytes are here.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from files.models import Upload, UploadKind, UploadState
from files.services.uploads import fail_upload
from hera_librarian.features import COUNTERPARTS
from hera_librarian.models.checkin import CheckinStatusRequest, CheckinStatusResponse, CheckinUpdateRequest
from hera_librarian.transfer import TransferStatus
from librarian.common.errors import ArchiveError, rebuild_error
from network.errors import PeerProblem
from network.models import GIVEN_UP, IncomingTransfer, Peer, TransferState
from network.services.hearing.comparing import update_transfers
from network.services.hearing.words import Caller
from network.services.peering.calls import call_peer
from network.services.receiving.taking_in import UploadGone
from network.services.transfers import fail_incoming

BATCH = 1000
OFFER_TAKES_AT_MOST = timedelta(hours=1)
ASKABLE = (TransferState.INITIATED, TransferState.ONGOING)


class GivenUpBySender(ArchiveError):
    code = "given_up_by_sender"
    remedy = "Nothing: the sender decides whether it offers the file again."


def ask_senders(*, limit: int = 4096) -> dict[str, int]:
    """Ask about silent transfers and act on the answers; end those whose upload ended. At most `limit` per sender."""
    counts = {"ended": _end_orphans(limit), "moved": 0, "left": 0}
    _give_room_back(limit)
    names = list(_silent().order_by().values_list("peer_name", flat=True).distinct())
    peers = list(Peer.objects.filter(name__in=names).order_by("failures_in_a_row", "name"))
    for name in set(names) - {peer.name for peer in peers}:
        nobody = ArchiveError(f"There is no Librarian {name} that could be asked; its upload expires in the end.")
        counts["left"] += _ask_again_later(_silent().filter(peer_name=name), nobody)
    for peer in peers:
        silent = list(_silent().filter(peer_name=peer.name).order_by("pk")[:limit])
        for start in range(0, len(silent), BATCH):
            for outcome, number in _ask(peer, silent[start : start + BATCH]).items():
                counts[outcome] += number
    return counts


def _silent() -> QuerySet[IncomingTransfer]:
    """Transfers that wait for their sender's next word longer than LIBRARIAN_STALE_TRANSFER_SECONDS, and are due."""
    now = timezone.now()
    stale = Q(next_check_at__isnull=True, changed_at__lt=now - _patience())
    known_there = IncomingTransfer.objects.filter(source_transfer_id__gte=0)  # else a disk brings it without one
    return known_there.filter(stale | Q(next_check_at__lte=now), state__in=ASKABLE)


def _patience() -> timedelta:
    return timedelta(seconds=settings.LIBRARIAN_STALE_TRANSFER_SECONDS)


def _end_orphans(limit: int) -> int:
    """Fail transfers whose upload expired or failed: nothing can come for them any more. Their sender is told."""
    waiting = IncomingTransfer.objects.filter(state__in=ASKABLE)
    over = waiting.filter(Q(upload__isnull=True) | ~Q(upload__state=UploadState.STAGED))
    return sum(fail_incoming(each, error=_why(each)) for each in over.select_related("upload").order_by("pk")[:limit])


def _give_room_back(limit: int) -> None:
    """Fail deliveries that no transfer knows: whoever took the offer died before its transfers were written down."""
    known = IncomingTransfer.objects.filter(upload=OuterRef("pk"))
    strays = Upload.objects.live().filter(
        ~Exists(known), kind=UploadKind.CLONE, created_at__lt=timezone.now() - OFFER_TAKES_AT_MOST
    )
    for upload in strays.select_related("store").order_by("pk")[:limit]:
        try:
            fail_upload(upload, error=UploadGone(f"The offer of {upload.upload_name} was not answered to its end."))
        except ArchiveError:
            continue  # its store is away: the row is closed, the sweeper removes what lies in staging


def _why(transfer: IncomingTransfer) -> ArchiveError:
    upload = transfer.upload
    if upload is None or not upload.failure_reason:
        return UploadGone(f"The delivery of {transfer.name} has ended without its sender's word.")
    return rebuild_error(upload.failure_code, upload.failure_reason)


def _ask(peer: Peer, silent: Sequence[IncomingTransfer]) -> dict[str, int]:
    """Ask one sender about its transfers and act on the answer."""
    counts = {"ended": 0, "moved": 0, "left": 0}
    rows = {each.source_transfer_id: each for each in silent}  # the newest, if a restored sender used an id twice
    waiting = IncomingTransfer.objects.live().filter(pk__in=[each.pk for each in silent])
    _ask_again_later(waiting)  # before anybody is called
    try:
        told = _states_at(peer, rows)
    except PeerProblem as problem:
        _ask_again_later(waiting, problem)
        return {**counts, "left": len(silent)}
    on = defaultdict[TransferState, dict[int, int]](dict)
    for key, transfer in rows.items():
        if key not in told:
            counts["left"] += 1
            continue
        error, to = _verdict(transfer, told[key], peer)
        if error is not None:
            counts["ended"] += fail_incoming(transfer, error=error, report=False)
        elif to is not None:
            on[to][transfer.pk] = key
        else:
            counts["left"] += 1
    for to, keys in on.items():
        counts["moved"] += _move(keys, to, peer)
    return counts


def _ask_again_later(silent: QuerySet[IncomingTransfer], why: ArchiveError | None = None) -> int:
    """Write down when transfers are asked about next, and why nobody could say anything about them."""
    changes = {"next_check_at": timezone.now() + _patience()}
    if why is not None:
        changes |= {"code": why.code, "reason": why.reason, "remedy": why.suggested_remedy}
    return silent.update(**changes)


def _states_at(peer: Peer, rows: Mapping[int, IncomingTransfer]) -> dict[int, TransferStatus | None]:
    """What the sender says of its transfers, by its ids. Raises PeerProblem."""
    plain = {"source_transfer_ids", "destination_transfer_ids"}
    message = CheckinStatusRequest(source_transfer_ids=list(rows), destination_transfer_ids=[])
    ours = {key: each.pk for key, each in rows.items() if COUNTERPARTS in each.features}
    if len(ours) == len(rows):
        message.counterparts = ours
        plain.add("counterparts")
    asked = message.model_dump(mode="json", include=plain)
    answer: CheckinStatusResponse = call_peer(peer, "v2/checkin/status", asked, CheckinStatusResponse)
    return answer.source_transfer_status


def _verdict(
    transfer: IncomingTransfer, told: TransferStatus | None, peer: Peer
) -> tuple[ArchiveError | None, TransferState | None]:
    """What the sender's word means: the transfer has ended (why), has moved on (where to), or stays as it is."""
    if told is None:
        return GivenUpBySender(f"{peer.name} does not know transfer {transfer.source_transfer_id} any more."), None
    state = TransferState.from_wire(told)
    if state in GIVEN_UP:
        return GivenUpBySender(f"{peer.name} gave the transfer up ({state.label})."), None
    if state == TransferState.COMPLETED:
        return GivenUpBySender(f"{peer.name} counts the file as arrived here by another transfer."), None
    order = (TransferState.INITIATED, TransferState.ONGOING, TransferState.STAGED)
    return None, state if order.index(state) > order.index(TransferState(transfer.state)) else None


def _move(keys: Mapping[int, int], to: TransferState, peer: Peer) -> int:
    """Note what the sender has said now as if it had come to say it."""
    message = CheckinUpdateRequest(
        source_transfer_ids=[], destination_transfer_ids=list(keys), new_status=to.on_wire, counterparts=dict(keys)
    )
    answer = update_transfers(message, Caller(name=peer.name, is_admin=True))
    return len(answer.modified_destination_transfer_ids)
