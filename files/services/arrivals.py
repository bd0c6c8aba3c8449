"""Resumable deliveries over HTTP before their commit: opened, taken over, received piece by piece, given up.

The protocol's own words (headers, statuses) live in files/api; the commit in `finishing`.
"""

import json
import secrets
from typing import IO, Any

from django.utils import timezone

from accounts.models import User
from files.models import File, Upload, UploadContent, UploadKind, UploadState
from files.names import normalise_name
from files.services.arriving_digests import ArrivingDigests, keep_digests, take_digests
from files.services.registration import Outcome
from files.services.uploads import (
    check_checksum,
    check_size,
    closing_fields,
    expiry,
    fail_upload,
    is_declared_same,
    is_in_place,
    name_taken,
    stage_upload,
)
from hera_librarian.checksums import DEFAULT_ALGORITHM, new_hasher, parse_checksum
from librarian.common import steps
from librarian.common.errors import ArchiveError, Conflict, InvalidRequest, LostRace
from stores.backends.base import MissingBytes, Part


class OffsetMismatch(Conflict):
    code = "offset_mismatch"
    remedy = "Ask with HEAD how many bytes have arrived and go on from there."


class UploadOver(ArchiveError):
    """The upload has ended without a file, or somebody gave it up."""

    code = "upload_over"
    status = 410
    remedy = "Begin with a new upload; GET on this one says why it ended."


class UploadCancelled(ArchiveError):
    code = "upload_cancelled"
    remedy = "Begin with a new upload."


class TooManyBytes(InvalidRequest):
    code = "too_many_bytes"
    remedy = "Send the bytes that Upload-Length announced and no more."


class CutShort(ArchiveError):
    """The connection ended in the middle of a piece. What arrived is kept."""

    code = "cut_short"
    remedy = "Ask with HEAD how many bytes have arrived and go on from there."
    passing = True


class PieceMismatch(ArchiveError):
    """A piece is not what its Upload-Checksum says; it was dropped."""

    code = "piece_mismatch"
    status = 460  # of tus 1.0, extension checksum
    remedy = "Send the piece again; nothing of it was kept."
    passing = True


def open_arrival(
    *,
    owner: User,
    destination: str,
    length_bytes: int,
    content: str = UploadContent.FILE,
    checksum: str = "",
    uploader: str = "",
    **fields: Any,
) -> Upload:
    """Make room for a stream of `length_bytes` and return its upload; one that is over if its bytes are here already.

    A tar stream needs its own length and that of what it holds, which is less. `fields` are further columns of the
    upload. Raises what `stage_upload` does, and NameTaken when other bytes are known to be held under the name.
    """
    check_size(length_bytes)
    checksum = check_checksum(checksum) if checksum else ""
    if content != UploadContent.BATCH:
        held = _held_already(destination, content, length_bytes, checksum)
        if held is not None:
            return _already_here(held, owner=owner, destination=destination, length_bytes=length_bytes, **fields)
    return stage_upload(
        owner=owner,
        upload_name=destination[-256:].lstrip("/") or destination,
        destination=destination,
        size_bytes=length_bytes,
        length_bytes=length_bytes,
        reserved_bytes=length_bytes if content == UploadContent.FILE else 2 * length_bytes,
        checksum=checksum,
        uploader=uploader or owner.username,
        source=owner.username,
        kind=UploadKind.TUS,
        content=content,
        **fields,
    )


def _held_already(destination: str, content: str, length_bytes: int, checksum: str) -> File | None:
    """The file of this name if its bytes are declared to be those; None when only the bytes can tell."""
    file = File.objects.filter(name=normalise_name(destination).name).first()
    if file is None or not file.instances.present().exists():
        return None
    size_bytes = length_bytes if content == UploadContent.FILE else None
    same = is_declared_same(file, checksum, size_bytes) if checksum else None
    if same is False or (content == UploadContent.FILE and (file.is_directory or file.size_bytes != length_bytes)):
        raise name_taken(file, same=False)
    return file if same and not file.is_directory else None  # a directory's checksum does not bind its names


def _already_here(file: File, *, owner: User, destination: str, length_bytes: int, **fields: Any) -> Upload:
    """An upload of which nothing needs to be sent."""
    closing = closing_fields(UploadState.COMMITTED)
    return Upload.objects.create(
        kind=UploadKind.TUS,
        owner=owner,
        owner_name=owner.username,
        store=file.instances.present().first().store,
        upload_name=file.name,
        destination=destination,
        uploader=owner.username,
        source=owner.username,
        size_bytes=file.size_bytes,
        length_bytes=length_bytes,
        offset_bytes=length_bytes,
        checksum=file.checksum,
        file=file,
        outcome=Outcome.ALREADY_HERE,
        **{**fields, **closing},
    )


def part_of(upload: Upload) -> Part:
    """Where in staging its stream goes: a file is the item itself."""
    return "item" if upload.content == UploadContent.FILE else "received"


def arrived_bytes(upload: Upload) -> int:
    """How much of the stream is here, for people who watch; it may grow at any moment."""
    if upload.state == UploadState.COMMITTED or not upload.token:
        return upload.offset_bytes
    if upload.state != UploadState.STAGED or upload.offset_bytes == upload.length_bytes:
        return upload.offset_bytes
    try:
        return max(upload.offset_bytes, upload.store.backend.part_size(upload.token, part_of(upload)))
    except ArchiveError:
        return upload.offset_bytes  # the store is away


def take_over(upload: Upload) -> int:
    """Stop whoever still writes to the upload and return how many bytes have arrived, which stays so."""
    _refuse_over(upload)
    if _is_complete(upload):
        return upload.length_bytes
    arrived = _begin_writing(upload, secrets.token_hex(8))
    if (
        arrived == upload.length_bytes and upload.state == UploadState.STAGED
    ):  # whoever received the last byte died before it could say so
        _write_complete(upload, commit_asked_at=timezone.now() if upload.is_committed_when_complete else None)
    return arrived


def _is_complete(upload: Upload) -> bool:
    """True once every byte is known to be here; of an empty file that is not known before it is made."""
    return upload.state == UploadState.COMMITTED or 0 < upload.length_bytes == upload.offset_bytes


def _refuse_over(upload: Upload) -> None:
    if upload.state in (UploadState.FAILED, UploadState.EXPIRED):
        raise UploadOver(
            f"Upload {upload.pk} has {upload.state}: {upload.failure_reason}", failure_code=upload.failure_code
        )


def _begin_writing(upload: Upload, writer: str) -> int:
    """Take the upload over; one that was committed meanwhile has all its bytes. Raises UploadOver for one given up."""
    backend, part = upload.store.backend, part_of(upload)
    try:
        return backend.take_over(upload.token, part, writer=writer, durable_bytes=upload.offset_bytes)
    except MissingBytes:
        upload.refresh_from_db()
        _refuse_over(upload)
        if upload.state == UploadState.COMMITTED:
            return upload.length_bytes
        raise


def receive_piece(
    upload: Upload,
    *,
    source: IO[bytes],
    offset_bytes: int,
    piece_bytes: int,
    piece_checksum: tuple[str, bytes] | None = None,
) -> int:
    """Write a piece of the stream behind what has arrived; returns how much there is then.

    Parameters
    ----------
    source : file
        Gives exactly the piece and then ends; ending early is a cut, and what came before it is kept.
    piece_checksum : (algorithm, digest), optional
        Of the piece; one that does not match is dropped again, as is one that was cut.

    Raises UploadOver, OffsetMismatch, TooManyBytes, CutShort, PieceMismatch, LostRace (another request goes on with
    the upload), StoreUnavailable, StoreFull (what fitted is kept).
    """
    _refuse_over(upload)
    if _is_complete(upload):
        return upload.length_bytes  # a repeated last piece: it is here already
    writer = secrets.token_hex(8)
    arrived = _begin_writing(upload, writer)
    _check_position(upload, arrived, offset_bytes, piece_bytes)
    digests = take_digests(upload.pk, at_bytes=arrived, algorithms=_algorithms(upload))
    check = _PieceCheck(*piece_checksum, piece_bytes) if piece_checksum is not None else None
    hashers = {**(digests.hashers if digests else {}), **({"piece": check.hasher} if check else {})}
    came = upload.store.backend.append(
        upload.token,
        part_of(upload),
        source,
        writer=writer,
        at_bytes=arrived,
        hashers=hashers,
        on_durable=_ignore if check else lambda durable: note_arrived(upload, durable),
        accept=check,
    )
    steps.passed("arrived")
    if check is not None and not check.is_right:
        raise check.problem(offset_bytes=arrived)
    if digests is not None:
        digests.seen_bytes = arrived + came
        _keep(upload, digests)
    if came < piece_bytes:
        raise CutShort(f"The connection ended after {came} of {piece_bytes} bytes.", offset_bytes=arrived + came)
    if arrived + came == upload.length_bytes:
        _note_complete(upload, digests)
    return arrived + came


def _check_position(upload: Upload, arrived: int, offset_bytes: int, piece_bytes: int) -> None:
    if offset_bytes != arrived:
        raise OffsetMismatch(
            f"Upload {upload.pk} has {arrived} bytes; the piece begins at {offset_bytes}.", offset_bytes=arrived
        )
    if arrived + piece_bytes > upload.length_bytes:
        raise TooManyBytes(
            f"Upload {upload.pk} was announced with {upload.length_bytes} bytes; {arrived + piece_bytes} would come."
        )


def _algorithms(upload: Upload) -> list[str]:
    """Digests to take of the stream while it arrives."""
    if upload.content != UploadContent.FILE:
        return [DEFAULT_ALGORITHM]
    declared = parse_checksum(upload.checksum).algorithm if upload.checksum else DEFAULT_ALGORITHM
    return list(dict.fromkeys([declared, "sha256"]))


class _PieceCheck:
    """Whether a piece is what its Upload-Checksum says; asked once all of it has come."""

    def __init__(self, algorithm: str, digest: bytes, piece_bytes: int) -> None:
        self.hasher = new_hasher(algorithm)
        self.is_right = False
        self._algorithm, self._digest, self._piece_bytes = algorithm, digest, piece_bytes
        self._came = 0

    def __call__(self, came: int) -> bool:
        self._came = came
        self.is_right = came == self._piece_bytes and bytes.fromhex(self.hasher.hexdigest()) == self._digest
        return self.is_right

    def problem(self, *, offset_bytes: int) -> ArchiveError:
        if self._came < self._piece_bytes:
            return CutShort(
                f"The connection ended after {self._came} of {self._piece_bytes} bytes, which are not kept: they could "
                "not be compared with their Upload-Checksum.",
                offset_bytes=offset_bytes,
            )
        return PieceMismatch(
            f"The piece has the {self._algorithm} digest {self.hasher.hexdigest()}; {self._digest.hex()} was declared.",
            offset_bytes=offset_bytes,
        )


def _ignore(_durable: int) -> None:
    pass


def _keep(upload: Upload, digests: ArrivingDigests) -> None:
    if digests.seen_bytes < upload.length_bytes:
        keep_digests(upload.pk, digests)


def note_arrived(upload: Upload, durable_bytes: int) -> None:
    """Write down how much is known to be on disk, and that somebody still delivers."""
    now = timezone.now()
    live = Upload.objects.live().filter(pk=upload.pk)
    live.update(offset_bytes=durable_bytes, staging_changed_at=now, expires_at=now + expiry())


def _note_complete(upload: Upload, digests: ArrivingDigests | None) -> None:
    """Note that everything has come. Of an upload that is committed at once, the commit writes it down."""
    upload.offset_bytes = upload.length_bytes
    upload.arrived_digests = json.dumps(digests.hexdigests(), sort_keys=True) if digests else ""
    _begin_writing(upload, "nobody")  # durable before the row says so, be it here or with the claim of the commit
    if not upload.is_committed_when_complete:
        _write_complete(upload, arrived_digests=upload.arrived_digests)
    steps.passed("complete")


def _write_complete(upload: Upload, **fields: Any) -> None:
    now = timezone.now()
    fields |= {"offset_bytes": upload.length_bytes, "staging_changed_at": now, "expires_at": now + expiry()}
    if not Upload.objects.live().filter(pk=upload.pk).update(**fields):
        raise LostRace(f"Upload {upload.pk} was ended by another request.")
    for name, value in fields.items():
        setattr(upload, name, value)


def cancel_upload(upload: Upload, *, by: str) -> None:
    """Give an upload up at its owner's wish. Raises UploadOver when it has ended, Conflict while it is committed."""
    _refuse_over(upload)
    if upload.state == UploadState.COMMITTED:
        raise Conflict(f"Upload {upload.pk} is committed.", remedy="A file of the archive is not erased.")
    if upload.commit_asked_at is not None and (upload.claim or is_in_place(upload)):
        raise Conflict(f"Upload {upload.pk} is being committed.", remedy="Wait for its end.")
    _stop_writer(upload)
    if not fail_upload(upload, error=UploadCancelled(f"{by} gave the upload up.")):
        raise LostRace(f"Upload {upload.pk} was moved by another request.")


def _stop_writer(upload: Upload) -> None:
    """End a request that still writes: what it wrote would take room that nobody has reserved any more."""
    try:
        _begin_writing(upload, "nobody")
    except ArchiveError:
        pass  # the store is away: nothing is written there
