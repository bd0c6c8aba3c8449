"""What other sites offer: who offers, one file of an offer as it is read, and what speaks against taking it.

Nothing is changed here; `network.services.receiving.accepting` does that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from accounts.models import User
from files.models import File, FileKind, Instance, UploadState
from files.names import normalise_name
from files.services.uploads import (
    CloneOffer,
    check_checksum,
    check_label,
    check_size,
    is_declared_same,
    name_taken,
    normalise_upload_name,
)
from hera_librarian.features import FACTS, FEATURES, PARTIAL_BATCH
from hera_librarian.models.clone import CloneFacts
from librarian.common.errors import ArchiveError, Conflict, InvalidRequest, NameTaken
from librarian.common.wire import aware
from network.models import IncomingTransfer, Peer, TransferState

SILENT = timedelta(days=1)


class AlreadyHeld(NameTaken):
    code = "already_held"
    remedy = "Note the copy here; nothing needs to be sent."


class BeingReceived(Conflict):
    """The file is on its way to us already: from somebody else, or its bytes are here and being checked."""

    code = "being_received"
    remedy = "Offer it again later: by then it is here, or that delivery has failed."
    passing = True


class OfferedTwice(InvalidRequest):
    code = "offered_twice"
    remedy = "Offer each file once. Sites whose names have directories set LIBRARIAN_FILE_NAMES=path on both sides."


@dataclass(frozen=True, slots=True)
class Sender:
    """The account that offers, and whom we tell how it ended (empty: nobody).

    `called` is what the sender calls itself; it is kept for people and opens nothing. `shares_a_disk`: whatever its
    features, it writes to the staging location by its path.
    """

    account: User
    peer_name: str
    called: str
    features: tuple[str, ...] = ()
    shares_a_disk: bool = False

    @property
    def takes_parts(self) -> bool:
        """True if it understands an answer for each file."""
        return PARTIAL_BATCH in self.features

    @property
    def label(self) -> str:
        """Whom the files are said to come from."""
        return self.peer_name or self.account.username


def sender_of(
    account: User, *, is_admin: bool, called: str, uploader: str = "", features: Iterable[str] = ()
) -> Sender:
    """Who offers. A `source` of another name than the account's counts for people who carry disks: administrators, and
    accounts that are no peer's. A peer's account speaks for its own site, whatever it says.

    Such a message names the site that wrote the manifest under `source` or, from the protocol's own command, under
    `uploader`: the first that is a peer is told (rule 11 of the wire reference). What is brought by those who are no
    administrators is told in the words alone that a site compares with what it packed: see `reporting`.
    """
    known = tuple(feature for feature in FEATURES if feature in set(features))
    peer_name = account.username
    if called != account.username:
        names = (called, uploader, account.username)
        peers = set(Peer.objects.filter(name__in=names).values_list("name", flat=True))
        if is_admin or account.username not in peers:
            peer_name = next((name for name in names if name in peers), "" if is_admin else account.username)
    return Sender(account=account, peer_name=peer_name, called=called, features=known)


@dataclass(slots=True)
class Offer:
    """One file of an offer: as it was sent, how it would be filed, and what became of it.

    Of `error`, `again` (a transfer that the same offer made before) and `older` (one that this offer takes the place
    of) at most the first that is set counts.
    """

    source_transfer_id: int
    upload_name: str
    destination: str
    size_bytes: int
    checksum: str
    uploader: str
    facts: CloneFacts | None = None
    name: str = ""
    error: ArchiveError | None = None
    again: IncomingTransfer | None = None
    older: IncomingTransfer | None = None
    transfer: IncomingTransfer | None = None  # what it is answered with

    @property
    def is_new(self) -> bool:
        """True if a transfer is to be made for it."""
        return self.error is None and self.again is None

    @property
    def needed_bytes(self) -> int:
        """Room that it takes in staging."""
        return self.size_bytes + self.stream_bytes

    @property
    def stream_bytes(self) -> int:
        """Length of the stream in which a directory may come; 0 for what comes as it is."""
        is_directory = self.facts is not None and self.facts.kind == FileKind.DIRECTORY
        return (self.facts.stream_bytes or 0) if is_directory else 0

    def read(self) -> None:
        """Bring its fields into our form; what cannot be taken at all becomes its error."""
        try:
            self.name = normalise_name(self.destination).name
            normalise_upload_name(self.upload_name)
            self.checksum = check_checksum(self.checksum)
            check_label("uploader", self.uploader)
            check_size(self.size_bytes)
        except ArchiveError as error:
            self.error = error

    def for_staging(self, sender: Sender) -> CloneOffer:
        """What the uploads need to know of it. Where a file comes from is the account's word, never the message's."""
        facts = self.facts
        if facts is None:
            return CloneOffer(self.destination, self.size_bytes, self.checksum, sender.label, sender.label)
        return CloneOffer(
            destination=self.destination,
            size_bytes=self.size_bytes,
            checksum=self.checksum,
            uploader=self.uploader,
            source=sender.label,
            digest=facts.digest,
            kind=facts.kind,
            stream_bytes=self.stream_bytes,
            obsid=facts.obsid,
            first_registered_at=aware(facts.first_registered_at) if facts.first_registered_at else None,
        )


def read_offers(offers: Sequence[Offer], sender: Sender) -> None:
    """Read every offer; of a name that comes twice the second is refused."""
    seen: set[str] = set()
    for offer in offers:
        if FACTS not in sender.features:
            offer.facts = None
        offer.read()
        if offer.error is None and offer.name in seen:
            offer.error = OfferedTwice(f"{offer.name} is offered twice in this batch.")
        seen.add(offer.name)


@dataclass(slots=True)
class Known:
    """What the catalogue and the live transfers say about the names of a batch."""

    files: dict[str, File]
    stores: dict[int, list[int]]
    live: dict[str, list[IncomingTransfer]]

    def held_on(self, name: str) -> list[int]:
        """Ids of our stores with a present copy of the file of this name."""
        file = self.files.get(name)
        return self.stores.get(file.pk, []) if file else []


def look_up(offers: Iterable[Offer]) -> Known:
    """Everything known about the offers' names, in three queries."""
    names = [offer.name for offer in offers if offer.error is None]
    known = Known(files={file.name: file for file in File.objects.filter(name__in=names)}, stores={}, live={})
    copies = Instance.objects.present().filter(file__in=[file.pk for file in known.files.values()])
    for file_id, store_id in copies.order_by("pk").values_list("file", "store"):
        known.stores.setdefault(file_id, []).append(store_id)
    for transfer in IncomingTransfer.objects.live().filter(name__in=names).select_related("upload__store"):
        known.live.setdefault(transfer.name, []).append(transfer)
    return known


def judge(offer: Offer, known: Known, sender: Sender) -> None:
    """Decide on one offer of a sender that understands an answer for each file."""
    file = known.files.get(offer.name)
    if file is not None and (refusal := _held(offer, file, known)) is not None:
        offer.error = refusal
        return
    for transfer in known.live.get(offer.name, []):
        if transfer.account_name != sender.account.username:
            if is_silent(transfer):
                continue
            offer.error = BeingReceived(f"{offer.name} is being received from {transfer.account_name}.")
        elif transfer.state == TransferState.STAGED:
            said = f"{offer.name} has arrived and is being checked (transfer {transfer.pk})."
            offer.error = BeingReceived(said, staged=True)
        elif is_repeated(offer, transfer):
            offer.again = transfer
        else:
            offer.older = transfer


def is_silent(transfer: IncomingTransfer) -> bool:
    """True for another account's transfer that nothing was heard of for long: it may be dead, and keeps nobody waiting.

    Should both bring the file after all, the second to be taken in finds the same bytes here.
    """
    return transfer.state != TransferState.STAGED and transfer.changed_at < timezone.now() - SILENT


def _held(offer: Offer, file: File, known: Known) -> ArchiveError | None:
    """What a file of this name says against the offer; None if the offer may bring back its last copy."""
    same, here = is_same(offer, file), known.held_on(file.name)
    if same and here:
        return AlreadyHeld(f"{file.name} is here already, with these very bytes.", store_ids=here)
    if same is False or here:
        refusal = name_taken(file, same=same)
        refusal.extra["checksum"] = file.checksum
        return refusal
    return None


def is_same(offer: Offer, file: File) -> bool | None:
    """Whether the offered bytes are the file's; None when that cannot be told.

    The checksum of a directory binds no names: only its tree digest tells.
    """
    if offer.facts is not None:
        return (offer.size_bytes, offer.facts.kind, offer.facts.digest) == (file.size_bytes, file.kind, file.digest)
    same = is_declared_same(file, offer.checksum, offer.size_bytes)
    return None if same and file.is_directory else same


def is_repeated(offer: Offer, transfer: IncomingTransfer) -> bool:
    """True if `transfer` was made by this very offer and its room still exists."""
    said = (offer.source_transfer_id, offer.size_bytes, offer.checksum)
    is_live = transfer.upload is not None and transfer.upload.state == UploadState.STAGED
    return is_live and said == (transfer.source_transfer_id, transfer.size_bytes, transfer.checksum)
