"""Offers of other sites: deciding which files are taken, making room for them, and answering with their transfers.

A sender that understands it gets an answer for each file (`accept_parts`); any other gets all or nothing, as the
protocol always was (`accept_all`). Each file that is taken is an upload of kind clone and the transfer that it
belongs to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from files.models import Upload
from files.services.uploads import fail_upload, reserved_bytes_by_store, stage_clones, why_not_shared
from hera_librarian.deletion import DeletionPolicy
from hera_librarian.features import GLOBUS, LOCAL, RSYNC
from librarian.common import steps
from librarian.common.bulk import bulk_insert
from librarian.common.errors import ArchiveError, Conflict, LostRace, NoStore, StoreUnavailable
from librarian.common.inbox import report_error
from librarian.common.models import Category, Severity
from network.models import IncomingTransfer, Peer, TransferState
from network.services.peering.naming import fix_site_name
from network.services.receiving.offers import Known, Offer, Sender, is_same, is_silent, judge, look_up, read_offers
from network.services.receiving.ways_in import why_no_way_in
from network.services.transfers import fail_incoming
from stores.models import Store

TRIES = 3


@dataclass(slots=True)
class Accepted:
    """What was taken, all on one store (None: nothing was), and what was not."""

    store: Store | None
    taken: list[Offer]
    refused: list[Offer]


class OfferConflict(Conflict):
    """An offer that is refused as a whole, with the files because of which.

    `conflicts` are pairs of an offer and the transfer that it conflicts with (None: a file of the catalogue).
    """

    code = "offer_conflict"
    remedy = "Offer the others without these files."

    def __init__(self, status: int, reason: str, conflicts: list[tuple[Offer, IncomingTransfer | None]]) -> None:
        super().__init__(reason)
        self.status = HTTPStatus(status)
        self.conflicts = conflicts


class Superseded(ArchiveError):
    code = "superseded"
    remedy = "Nothing: the newer offer of the same file goes on."


# --- An answer for each file ------------------------------------------------------------------------------------------


def accept_parts(offers: Sequence[Offer], sender: Sender) -> Accepted:
    """Take what can be taken; each offer gets its transfer or its error. Repeating it answers the same again."""
    fix_site_name()  # from now on another site knows this one by its name
    _remember_features(sender)
    read_offers(offers, sender)
    for left in reversed(range(TRIES)):
        known = look_up(offers)
        for offer in offers:
            if offer.error is None:
                offer.again = offer.older = None
                judge(offer, known, sender)
        try:
            store = _take([offer for offer in offers if offer.is_new], sender, is_partial=True)
        except IntegrityError:  # the same offer, sent twice, was accepted by the other call this very moment
            if not left:
                raise
            continue
        return _answer(offers, store)
    raise AssertionError("unreachable")


def _remember_features(sender: Sender) -> None:
    """What a peer said it understands counts for our own calls too, until it answers one of them otherwise."""
    known = Peer.objects.filter(name=sender.peer_name, features=[])
    if sender.features and sender.peer_name:
        known.update(features=list(sender.features))


def _answer(offers: Sequence[Offer], store: Store | None) -> Accepted:
    """One answer speaks of one store: what the same offer was given on another one before is refused for now."""
    for offer in offers:
        if offer.again is None:
            continue
        store = store or offer.again.upload.store
        if offer.again.upload.store_id == store.pk:
            offer.transfer = offer.again
        else:
            offer.error = LostRace(f"{offer.name} was given room on another store by an earlier offer.")
    return Accepted(
        store, [each for each in offers if each.error is None], [each for each in offers if each.error is not None]
    )


# --- All or nothing ---------------------------------------------------------------------------------------------------


def accept_all(offers: Sequence[Offer], sender: Sender) -> Accepted:
    """Take all files or none.

    Raises what speaks against the first that cannot be taken at all, NoStore, or OfferConflict with the protocol's
    statuses: 425 before 409 before 406, naming the files of that kind only. Older transfers of the same account that
    wait or have arrived are failed with the 406, so that the next offer is taken.
    """
    fix_site_name()
    read_offers(offers, sender)
    for offer in offers:
        if offer.error is not None:
            _tell_people(offer, sender)
            raise offer.error
    for left in reversed(range(TRIES)):
        _refuse_conflicts(offers, look_up(offers), sender)
        try:
            store = _take(offers, sender, is_partial=False)
        except IntegrityError:  # another call of the same account was first: it is seen at the next look
            if not left:
                raise
            continue
        return Accepted(store, list(offers), [])
    raise AssertionError("unreachable")


def _tell_people(offer: Offer, sender: Sender) -> None:
    """A foreign sender offers the whole batch again for ever, and nobody there reads our reason."""
    report_error(
        severity=Severity.WARNING,
        category=Category.TRANSFER,
        code=offer.error.code,
        message=f"{sender.account.username} offers files that cannot be taken, and with them all others of its "
        f"batches: {offer.error.reason}",
        remedy=f"{offer.error.suggested_remedy} Until then nothing of these batches arrives.",
        caller="clone/batch_stage",
        target=sender.account.username,
    )


def _refuse_conflicts(offers: Sequence[Offer], known: Known, sender: Sender) -> None:
    ongoing: list[tuple[Offer, IncomingTransfer | None]] = []
    held: list[tuple[Offer, IncomingTransfer | None]] = []
    older: list[tuple[Offer, IncomingTransfer | None]] = []
    for offer in offers:
        if _is_held(offer, known):
            held.append((offer, None))
        for transfer in known.live.get(offer.name, []):
            is_own = transfer.account_name == sender.account.username
            if not is_own and is_silent(transfer):
                continue
            is_older = is_own and transfer.state != TransferState.ONGOING
            (older if is_older else ongoing).append((offer, transfer))
    for _, transfer in older:
        _supersede(transfer)
    if ongoing:
        _ask_soon([transfer for _, transfer in ongoing], sender)
        raise OfferConflict(425, "Transfer is ongoing.", ongoing)
    if held:
        raise OfferConflict(409, "File already exists on librarian.", held)
    if older:
        raise OfferConflict(406, "Transfer was already initiated or staged.", older)


def _is_held(offer: Offer, known: Known) -> bool:
    """True if a file has this name; one without any copy here may come back."""
    file = known.files.get(offer.name)
    return file is not None and (bool(known.held_on(file.name)) or is_same(offer, file) is False)


def _ask_soon(transfers: Sequence[IncomingTransfer | None], sender: Sender) -> None:
    """A sender that offers a file anew has given up the older transfer: it is asked about that one at the next run."""
    keys = [each.pk for each in transfers if each is not None and each.account_name == sender.account.username]
    IncomingTransfer.objects.live().filter(pk__in=keys).update(next_check_at=timezone.now())


# --- Making room ------------------------------------------------------------------------------------------------------


def _take(offers: Sequence[Offer], sender: Sender, *, is_partial: bool) -> Store | None:
    """Make room and transfers for the offers. Raises IntegrityError when a call of the same account was faster."""
    for offer in offers:
        if offer.older is not None:
            _supersede(offer.older)
    if is_partial:
        offers = _fitting(offers, sender)
        if not offers:
            return None
    try:
        store, uploads = stage_clones(
            owner=sender.account,
            offers=[offer.for_staging(sender) for offer in offers],
            deletion_policy=int(DeletionPolicy.from_str(settings.LIBRARIAN_DELETION_POLICY_OF_RECEIVED)),
            private=_writes_alone(sender),
            unsuited=lambda store: _unsuited(store, sender),
        )
    except (NoStore, StoreUnavailable) as error:
        if not is_partial:
            raise
        for offer in offers:
            offer.error = error
        return None
    transfers = [_transfer(offer, upload, sender) for offer, upload in zip(offers, uploads, strict=True)]
    try:
        with transaction.atomic():
            bulk_insert(transfers)
    except IntegrityError:
        for upload in uploads:
            fail_upload(upload, error=LostRace("The same file was offered twice at one moment."))
        raise
    steps.passed("offer_taken")
    for offer, made in zip(offers, transfers, strict=True):
        offer.transfer = made
    return store


def _unsuited(store: Store, sender: Sender) -> str:
    return why_not_shared(store) if sender.shares_a_disk else why_no_way_in(store, sender.features)


def _fitting(offers: Sequence[Offer], sender: Sender) -> list[Offer]:
    """Those that fit on the store with most room, in their order; the others wait."""
    promised = reserved_bytes_by_store()
    stores = [store for store in Store.objects.taking_uploads().here() if not _unsuited(store, sender)]
    if not stores:
        return list(offers)  # what each store lacks is said where room would be made
    room = max(store.usable_bytes - promised.get(store.pk, 0) for store in stores)
    fitting: list[Offer] = []
    for offer in offers:
        if offer.needed_bytes < room:
            room -= offer.needed_bytes
            fitting.append(offer)
        else:
            offer.error = NoStore(f"No store has room for the {offer.needed_bytes} bytes of {offer.name} at present.")
    return fitting


def _writes_alone(sender: Sender) -> bool:
    """True if the sender's bytes can come by HTTP alone, so that nobody else needs to reach the staging area."""
    return bool(sender.features) and not {LOCAL, RSYNC, GLOBUS} & set(sender.features)


def _transfer(offer: Offer, upload: Upload, sender: Sender) -> IncomingTransfer:
    return IncomingTransfer(
        account=sender.account,
        account_name=sender.account.username,
        peer_name=sender.peer_name,
        source=sender.called,
        uploader=offer.uploader,
        source_transfer_id=offer.source_transfer_id,
        name=offer.name,
        destination=offer.destination,
        size_bytes=offer.size_bytes,
        checksum=offer.checksum,
        features=list(sender.features),
        upload=upload,
    )


def _supersede(transfer: IncomingTransfer) -> None:
    """Fail an older transfer of the same account, which knows that it has offered the file anew."""
    error = Superseded(f"{transfer.account_name} has offered {transfer.name} anew.")
    fail_incoming(transfer, error=error, report=False)
