"""Who commits an upload: a claim in its row, renewed while bytes are read, and recognised as dead without waiting.

A claim is `<identity of the process>|<random>`. It is believed until `claim_until`, or until the process that made it
has certainly ended (librarian/common/identity.py).
"""

import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from files.models import Upload, UploadState
from librarian.common import identity
from librarian.common.errors import LostRace

CLAIM_SECONDS = 120
RENEW_SECONDS = 20
SLOWEST_BYTES_PER_SECOND = 2**20  # of a disk or line that is still of use
ITEM_BYTES = 2**20  # a product costs at least as much time as so many bytes


def new_claim() -> str:
    """A claim of this process, different on every call."""
    return f"{identity.own_identity()}|{secrets.token_hex(8)}"


def is_dead(upload: Upload) -> bool:
    """True if whoever claimed the upload cannot be working on it any more (or nobody has)."""
    if not upload.claim:
        return True
    if upload.claim_until is None or upload.claim_until < timezone.now():
        return True
    return identity.is_dead(upload.claim.rpartition("|")[0])


class Claim:
    """The right to commit one upload, for as long as it is renewed."""

    def __init__(self, upload: Upload, token: str) -> None:
        self.upload = upload
        self.token = token
        self._renewed = time.monotonic()

    def renew_if_due(self, _read_bytes: int = 0) -> None:
        """Renew the claim every RENEW_SECONDS; to be called with each block that is read. Raises LostRace."""
        if time.monotonic() - self._renewed < RENEW_SECONDS:
            return
        until = timezone.now() + timedelta(seconds=CLAIM_SECONDS)
        if not self.held().update(claim_until=until):
            raise LostRace(f"Upload {self.upload.pk} was taken over by another process.")
        self._renewed = time.monotonic()

    def held(self) -> QuerySet[Upload]:
        """Queryset of the upload while this claim still holds."""
        return Upload.objects.filter(pk=self.upload.pk, state=UploadState.STAGED, claim=self.token)

    def release(self, **changes: Any) -> None:
        """Give the upload back, unfinished. A claimed name stays with it: its bytes may already be in place."""
        self.held().update(claim="", claim_until=None, **changes)


def take_claim(upload: Upload, **changes: Any) -> Claim | None:
    """Claim a live upload, together with `changes` of its row.

    None when somebody who is alive has it, it is no longer live, or the row is no longer as `upload` shows it.
    """
    if upload.state != UploadState.STAGED or not is_dead(upload):
        return None
    token = new_claim()
    changes |= {"claim": token, "claim_until": timezone.now() + timedelta(seconds=CLAIM_SECONDS)}
    as_seen = {"claim": upload.claim, "claim_until": upload.claim_until}
    if not Upload.objects.filter(pk=upload.pk, state=UploadState.STAGED, **as_seen).update(**changes):
        return None
    for name, value in changes.items():
        setattr(upload, name, value)
    return Claim(upload, token)


class SharedClaim:
    """A claim on many uploads at once, kept while their bytes are read; called with every block."""

    def __init__(self, token: str, progress: Callable[[int], None] | None = None) -> None:
        self.token = token
        self._progress = progress
        self._renewed = time.monotonic()

    def __call__(self, read_bytes: int) -> None:
        """Renew the claim every RENEW_SECONDS. Raises LostRace when none of the uploads is held any more."""
        if self._progress is not None:
            self._progress(read_bytes)
        if time.monotonic() - self._renewed < RENEW_SECONDS:
            return
        self._renewed = time.monotonic()
        if not self.held().update(claim_until=claimed_until()):
            raise LostRace("Another process took over the uploads of this batch.")

    def held(self) -> QuerySet[Upload]:
        """Queryset of the uploads while this claim still holds."""
        return Upload.objects.filter(claim=self.token, state=UploadState.STAGED)


def hold_longer(rows: QuerySet[Any], *, size_bytes: int, items: int = 1) -> None:
    """Let a claim be believed for as long as bytes may take where nothing tells how far they are: syncing, placing.

    `rows` are those that it holds. A process of this host that ends is recognised all the same, without waiting.
    """
    seconds = (size_bytes + items * ITEM_BYTES) / SLOWEST_BYTES_PER_SECOND
    if seconds > CLAIM_SECONDS / 2:
        rows.update(claim_until=claimed_until() + timedelta(seconds=seconds))


def claimed_until() -> datetime:
    """Until when a claim that is made now is believed."""
    return timezone.now() + timedelta(seconds=CLAIM_SECONDS)
