"""Taking in what peers have brought into staging: many products of one store at a time, with an answer for each.

Every byte is read back from the disk after it was made durable, whatever way it came (design section 5). What is not
as declared goes into the store's quarantine. Repeating it is harmless: an upload that has ended answers again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone

from files.models import File, Instance, Upload, UploadKind, UploadState
from files.names import choose_place, normalise_name
from files.services.claims import SharedClaim, claimed_until, is_dead, new_claim
from files.services.commit import algorithms_for, bring_clone, finish_deliveries, recover_claimant, verify_content
from files.services.registration import Delivery, Outcome
from files.services.uploads import closing_fields, fail_upload
from librarian.common import steps
from librarian.common.errors import (
    ArchiveError,
    Busy,
    ContentMismatch,
    LostRace,
    StoreUnavailable,
    rebuild_error,
)
from stores.models import Store


@dataclass(slots=True)
class Received:
    """How one upload fared: its file and the store that holds it, or why not and where refused bytes were put aside.

    A passing error leaves the upload as it is; any other has ended it.
    """

    file: File | None = None
    store_id: int | None = None
    error: ArchiveError | None = None
    kept_aside_at: str = ""


def receive_staged(upload_ids: Sequence[int]) -> dict[int, Received]:
    """Commit uploads that peers have brought; returns how each fared, by its id. One never fails its neighbours.

    Whoever is alive and commits one of them at this moment is left alone: that one answers Busy.
    """
    answers: dict[int, Received] = {}
    waiting: dict[int, list[Upload]] = {}
    for upload in Upload.objects.filter(pk__in=upload_ids, kind=UploadKind.CLONE).select_related("store", "file"):
        if upload.state == UploadState.STAGED:
            waiting.setdefault(upload.store_id, []).append(upload)
        else:
            answers[upload.pk] = _past(upload)
    for uploads in waiting.values():
        answers |= _receive_on(uploads[0].store, uploads)
    return answers


def _past(upload: Upload) -> Received:
    if upload.state != UploadState.COMMITTED:
        return Received(error=rebuild_error(upload.failure_code, upload.failure_reason))
    return Received(file=upload.file, store_id=_store_of(upload))


def _store_of(upload: Upload) -> int:
    """Where the bytes are: the upload's own store, unless they were here before it."""
    held = Instance.objects.present().filter(file=upload.file).values_list("store", flat=True)
    return upload.store_id if upload.store_id in set(held) else (held.first() or upload.store_id)


def _receive_on(store: Store, uploads: Sequence[Upload]) -> dict[int, Received]:
    batch = _Batch(store, uploads)
    try:
        if not store.enabled:
            raise StoreUnavailable(f"Store {store.name} is switched off.", remedy="Switch it on; it goes on by itself.")
        with store.backend.holding():
            batch.take_in()
    except LostRace:
        batch.interrupt(Busy("Another process took over some of these uploads."))
    except ArchiveError as error:  # touches them all: the store went away
        batch.interrupt(error)
    finally:
        batch.release()
    return batch.answers


class _Batch:
    """Uploads of one store under one claim."""

    def __init__(self, store: Store, uploads: Sequence[Upload]) -> None:
        self.store, self.backend = store, store.backend
        self.claim = SharedClaim(new_claim())
        self.answers: dict[int, Received] = {}
        self.uploads = list(uploads)
        self.deliveries: list[Delivery] = []

    def take_in(self) -> None:
        self.deliveries = [Delivery(upload=upload, filed=normalise_name(upload.destination)) for upload in self._own()]
        self._sync()
        for delivery in self._going():
            self._read(delivery)
        steps.passed("synced")
        self._claim_names()
        steps.passed("claimed")
        going = self._going()
        finish_deliveries(going, store=self.store, claim=self.claim.token)
        for delivery in going:
            self._settle(delivery)

    def interrupt(self, error: ArchiveError) -> None:
        """Answer with `error` for all that are not settled."""
        for upload in self.uploads:
            self.answers.setdefault(upload.pk, Received(error=error))

    def release(self) -> None:
        """Give back what is still claimed. A claimed name stays: its bytes may have their place already."""
        self.claim.held().update(claim="", claim_until=None)

    # --- Steps ---

    def _own(self) -> list[Upload]:
        """Claim what nobody alive works on; the others answer Busy."""
        free = [upload for upload in self.uploads if is_dead(upload)]
        changes = {"claim": self.claim.token, "claim_until": claimed_until(), "commit_asked_at": timezone.now()}
        with transaction.atomic():
            for seen in {upload.claim for upload in free}:
                keys = [upload.pk for upload in free if upload.claim == seen]
                Upload.objects.live().filter(pk__in=keys, claim=seen).update(**changes)
        held = set(self.claim.held().values_list("pk", flat=True))
        for upload in self.uploads:
            if upload.pk not in held:
                busy = Busy(f"Upload {upload.pk} is being committed by another process.")
                self.answers[upload.pk] = Received(error=busy)
        mine = [upload for upload in self.uploads if upload.pk in held]
        for upload in mine:
            upload.store = self.store  # one row object, so that its backend is shared
            for name, value in changes.items():
                setattr(upload, name, value)
        return mine

    def _sync(self) -> None:
        tokens = [delivery.upload.token for delivery in self._going()]
        self.backend.sync_items([token for token in tokens if self.backend.has_item(token)])

    def _read(self, delivery: Delivery) -> None:
        upload, algorithms = delivery.upload, algorithms_for(delivery.upload)
        try:
            if upload.place and self.backend.is_placed(upload.token, upload.place):
                delivery.content = self.backend.digest(upload.place, algorithms, self.claim)
            else:
                bring_clone(delivery, algorithms, self.claim)
            verify_content(delivery)
        except (LostRace, StoreUnavailable):
            raise
        except ArchiveError as error:
            self._refuse(delivery, error)

    def _claim_names(self) -> None:
        """Claim all names in one transaction; one that somebody else delivers at this moment waits for another run."""
        taken: list[Delivery] = []
        with transaction.atomic():
            for delivery in self._going():
                if not self._claim_name(delivery):
                    taken.append(delivery)
        for delivery in taken:
            recover_claimant(delivery.filed.name)  # if whoever had it died, the next run gets it
            busy = Busy(f"Another delivery of {delivery.filed.name} is being committed.")
            self._answer(delivery, Received(error=busy))

    def _claim_name(self, delivery: Delivery) -> bool:
        upload, name = delivery.upload, delivery.filed.name
        place = upload.place or choose_place(delivery.filed, today=upload.created_at.date())
        try:
            with transaction.atomic():
                held = Upload.objects.live().filter(pk=upload.pk, claim=self.claim.token)
                if not held.update(committing_name=name, place=place):
                    raise LostRace(f"Upload {upload.pk} was taken over by another process.")
        except IntegrityError:
            return False
        upload.committing_name, upload.place = name, place
        return True

    def _settle(self, delivery: Delivery) -> None:
        upload = delivery.upload
        if delivery.error is not None:
            self._refuse(delivery, delivery.error)
            return
        if delivery.outcome == Outcome.ALREADY_HERE:
            closing = closing_fields(UploadState.COMMITTED)
            held = Upload.objects.live().filter(pk=upload.pk, claim=self.claim.token)
            if not held.update(**closing, file=delivery.file, outcome=delivery.outcome):
                raise LostRace(f"Upload {upload.pk} was taken over by another process.")
            self.backend.drop_staging(upload.token)
            upload.file = delivery.file
            self._answer(delivery, Received(file=delivery.file, store_id=_store_of(upload)))
            return
        self._answer(delivery, Received(file=delivery.file, store_id=upload.store_id))

    def _refuse(self, delivery: Delivery, error: ArchiveError) -> None:
        """Answer with what speaks against it; what is not passing ends the upload."""
        aside = ""
        if not error.passing:
            if isinstance(error, ContentMismatch):
                aside = self.backend.set_aside_item(delivery.upload.token)
            fail_upload(delivery.upload, error=error)
        self._answer(delivery, Received(error=error, kept_aside_at=aside))

    def _answer(self, delivery: Delivery, received: Received) -> None:
        self.answers[delivery.upload.pk] = received

    def _going(self) -> list[Delivery]:
        return [each for each in self.deliveries if each.goes_on and each.upload.pk not in self.answers]
