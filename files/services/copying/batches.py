"""The bytes of a few files on their way to one store: read, written, read back from the disk, and taken in.

The commit is that of every delivery (files/services/commit.py). Whatever this leaves behind when it is cut short is
finished or undone by the sweepers, and the copy is wanted again.
"""

from collections.abc import Sequence
from datetime import timedelta

from django.db import IntegrityError, transaction

from files.models import CopyState, File, Instance, StoreCopy, Upload, UploadKind, UploadState
from files.names import choose_place, normalise_name
from files.services.claims import take_claim
from files.services.commit import algorithms_for, finish_deliveries, recover_claimant, verify_content
from files.services.copying.claims import CopyClaim
from files.services.copying.outcomes import BytesChanged, held, note_there_already, put_back, settle, tell_well
from files.services.copying.sources import (
    BAD,
    SourceFailed,
    Sources,
    entries_of,
    is_proven_good,
    opened,
)
from files.services.registration import Delivery, Outcome, is_same_content
from files.services.uploads import closing_fields, fail_upload, is_in_place
from librarian.common import steps
from librarian.common.errors import (
    ArchiveError,
    Busy,
    ContentMismatch,
    LostRace,
    StoreFull,
    StoreUnavailable,
    Unavailable,
)
from stores.backends.base import Content, MissingBytes
from stores.models import Store


class CopyBatch:
    """Copies for one store under one claim."""

    def __init__(
        self, store: Store, reserved: Sequence[tuple[StoreCopy, Upload]], sources: dict[int, Sources], claim: CopyClaim
    ) -> None:
        self.store, self.backend = store, store.backend
        self.sources, self.claim = sources, claim
        self.copies = {upload.pk: copy for copy, upload in reserved}
        self.deliveries = [
            Delivery(upload=upload, filed=normalise_name(upload.destination), file=copy.file)
            for copy, upload in reserved
        ]
        self.over: set[int] = set()  # uploads whose copy was settled
        self.copied: list[StoreCopy] = []
        self.failed = 0
        self.trouble: ArchiveError | None = None  # of the store: it takes nothing more for now

    def make(self) -> None:
        """Make the copies; each row says afterwards what became of it. Raises nothing that concerns the bytes."""
        try:
            with self.backend.holding():
                self._bring()
                self._read_back()
                self._claim_names()
                going = self._brought()
                self._hold_longer()
                finish_deliveries(going, store=self.store, claim=self.claim.token)
                for delivery in going:
                    self._settle(delivery)
        except LostRace:
            pass  # whoever took it for dead goes on with it
        except StoreFull as error:
            self.trouble = error
        except ArchiveError as error:  # touches them all: the store went away
            self._interrupt(error)
        finally:
            self._release()

    # --- Steps ---

    def _bring(self) -> None:
        for delivery in self._going():
            try:
                self._copy(delivery)
            except StoreFull as error:
                self.trouble = error
                break
            except (LostRace, StoreUnavailable):
                raise
            except ArchiveError as error:
                self._fail(delivery, error)
        steps.passed("copies_written")

    def _copy(self, delivery: Delivery) -> None:
        """Bring one product into staging, from the first source that gives its bytes."""
        self.backend.stage(delivery.upload.token, private=True)
        for source in self.sources[delivery.file.pk].readable:
            content = self._write(delivery, source)
            if content is None:
                continue
            if is_same_content(delivery.file, content):
                delivery.content = content
                self._note_source(delivery, source)
                return
            if is_proven_good(source, self.claim):
                raise BytesChanged(
                    f"{delivery.file.name} was read from store {source.store.name} with the digest {content.digest}, "
                    f"though it lies there with the right one, {delivery.file.digest}."
                )
        raise self._no_source(delivery.file)

    def _write(self, delivery: Delivery, source: Instance) -> Content | None:
        """Write what one source gives; None if it could not be read."""
        upload, failures = delivery.upload, []
        algorithms, progress = algorithms_for(upload), self.claim.counting(self.copies[upload.pk])
        try:
            if delivery.file.is_directory:
                return self.backend.write_tree(upload.token, entries_of(source, failures), algorithms, progress)
            with opened(source, failures) as stream:
                return self.backend.write_item(upload.token, stream, algorithms, progress)
        except (SourceFailed, ArchiveError):
            if not failures:
                raise
            return None

    def _note_source(self, delivery: Delivery, source: Instance) -> None:
        copy = self.copies[delivery.upload.pk]
        if copy.source_id != source.pk:
            delivery.upload.source, copy.source = source.store.name, source
            held(self.claim.token).filter(pk=copy.pk).update(source=source)

    def _no_source(self, file: File) -> ArchiveError:
        """Why none of the sources gave the bytes: read errors that prove nothing pass, what is bad stays bad."""
        sources = self.sources[file.pk]
        unproven = [source.store.name for source in sources.readable if source.condition not in BAD]
        if unproven:
            names = ", ".join(unproven)
            return Unavailable(
                f"The copy of {file.name} on {names} could not be read.", remedy="Look after the store named."
            )
        return sources.refusal(file)

    def _read_back(self) -> None:
        """Believe what the disk gives back, not what was written."""
        self._hold_longer()
        self.backend.sync_items([delivery.upload.token for delivery in self._brought()])
        steps.passed("synced")
        for delivery in self._brought():
            upload = delivery.upload
            try:
                delivery.content = self.backend.adopt(upload.token, algorithms_for(upload), self.claim, fresh=True)
                verify_content(delivery)
            except (LostRace, StoreUnavailable):
                raise
            except (ContentMismatch, MissingBytes) as error:
                self._fail(
                    delivery,
                    BytesChanged(f"What store {self.store.name} gives back is not what was written: {error.reason}"),
                )
            except ArchiveError as error:
                self._fail(delivery, error)
        steps.passed("copies_read_back")

    def _claim_names(self) -> None:
        """Claim all names in one transaction; one that somebody else delivers at this moment waits for another run."""
        taken = []
        with transaction.atomic():
            for delivery in self._going():
                if delivery.content is not None and not self._claim_name(delivery):
                    taken.append(delivery)
        for delivery in taken:
            if not (self._free_name(delivery.filed.name) and self._claim_name(delivery)):
                self._fail(delivery, Busy(f"Another delivery of {delivery.filed.name} is under way."))
        steps.passed("claimed")

    def _free_name(self, name: str) -> bool:
        """Finish or undo the dead delivery that holds a name; if it lives, or was finished, the next run goes on.

        A copy on a store that is away can be neither for now, maybe never. It gives up the name, which it claims again
        when its store is back.
        """
        try:
            recover_claimant(name)
        except ArchiveError:
            other = Upload.objects.live().filter(committing_name=name, kind=UploadKind.COPY).exclude(store=self.store)
            claim = take_claim(upload) if (upload := other.first()) is not None else None
            return claim is not None and bool(claim.held().update(committing_name="", claim="", claim_until=None))
        return False

    def _claim_name(self, delivery: Delivery) -> bool:
        upload, name = delivery.upload, delivery.filed.name
        place = upload.place or choose_place(delivery.filed, today=upload.created_at.date())
        try:
            with transaction.atomic():
                claimed = self.claim.held().filter(pk=upload.pk)
                if not claimed.update(committing_name=name, place=place, source=upload.source):
                    raise LostRace(f"Upload {upload.pk} was taken over by another process.")
        except IntegrityError:
            return False
        upload.committing_name, upload.place = name, place
        return True

    def _hold_longer(self) -> None:
        brought = self._brought()
        self.claim.hold_longer(size_bytes=sum(each.content.size_bytes for each in brought), items=len(brought))

    # --- How each ends ---

    def _settle(self, delivery: Delivery) -> None:
        copy = self.copies[delivery.upload.pk]
        if delivery.error is not None:
            self._fail(delivery, delivery.error)
        elif delivery.outcome == Outcome.ALREADY_HERE:
            self._close_there_already(delivery, copy)
        else:
            self._done(delivery, copy)

    def _close_there_already(self, delivery: Delivery, copy: StoreCopy) -> None:
        """Somebody else brought the file to this store meanwhile."""
        upload = delivery.upload
        with transaction.atomic():
            closing = closing_fields(UploadState.COMMITTED)
            if (
                not self.claim.held()
                .filter(pk=upload.pk)
                .update(**closing, file=delivery.file, outcome=delivery.outcome)
            ):
                raise LostRace(f"Upload {upload.pk} was taken over by another process.")
            note_there_already([(copy, self.store.pk)], states=[CopyState.COPYING])
        self.backend.drop_staging(upload.token)
        self._done(delivery, copy)

    def _done(self, delivery: Delivery, copy: StoreCopy) -> None:
        self.over.add(delivery.upload.pk)
        self.copied.append(copy)
        tell_well(copy)

    def _fail(self, delivery: Delivery, error: ArchiveError) -> None:
        """Write down what speaks against a copy, and undo its delivery."""
        self.over.add(delivery.upload.pk)
        self.failed += 1
        settle(self.copies[delivery.upload.pk], error, claim=self.claim.token)
        self._undo(delivery, error)

    def _interrupt(self, error: ArchiveError) -> None:
        """The store is away: all that is not settled waits for it, or goes to the next, at once."""
        self.trouble = error
        for delivery in self._going():
            self.over.add(delivery.upload.pk)
            settle(self.copies[delivery.upload.pk], error, claim=self.claim.token, wait=timedelta())
            self._undo(delivery, error)

    def _undo(self, delivery: Delivery, error: ArchiveError) -> None:
        upload = delivery.upload
        try:
            if is_in_place(upload):
                raise Busy("Its bytes have their place: the sweeper finishes it.")
            fail_upload(upload, error=error)
        except ArchiveError:
            # Cannot be looked at, or has its place: the sweeper of deliveries goes on with what is still live.
            self.claim.held().filter(pk=upload.pk).update(claim="", claim_until=None)

    def _release(self) -> None:
        """Whatever was not settled, because the store is full or this was cut short, waits as before."""
        left = [delivery for delivery in self.deliveries if delivery.upload.pk not in self.over]
        if not left:
            return
        put_back([self.copies[delivery.upload.pk] for delivery in left], claim=self.claim.token)
        reason = self.trouble or Busy("The copying was cut short.")
        for delivery in left:
            self._undo(delivery, reason)

    def _going(self) -> list[Delivery]:
        return [each for each in self.deliveries if each.goes_on and each.upload.pk not in self.over]

    def _brought(self) -> list[Delivery]:
        return [delivery for delivery in self._going() if delivery.content is not None]
