"""Who makes a batch of copies: one claim on their rows and on their uploads, renewed while bytes go.

The row of a copy says how far it is. What a process left that was killed is found here too.
"""

import time
from collections.abc import Callable

from django.db import models
from django.utils import timezone

from files.models import CopyState, StoreCopy, Upload
from files.services.claims import RENEW_SECONDS, SharedClaim, claimed_until, hold_longer
from files.services.commit import recover_upload
from files.services.copying.outcomes import held, released
from librarian.common import identity
from librarian.common.errors import ArchiveError

SHOWN_SECONDS = 2.0
BATCH = 500


class CopyClaim(SharedClaim):
    """A claim on the uploads of a batch that keeps the rows of their copies alive as well."""

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self._rows_renewed = self._shown = time.monotonic()

    def __call__(self, read_bytes: int) -> None:
        super().__call__(read_bytes)
        if time.monotonic() - self._rows_renewed >= RENEW_SECONDS:
            self._rows_renewed = time.monotonic()
            held(self.token).update(claim_until=claimed_until())

    def hold_longer(self, *, size_bytes: int, items: int) -> None:
        """Let it be believed while bytes move and nothing tells how far they are."""
        for rows in (self.held(), held(self.token)):
            hold_longer(rows, size_bytes=size_bytes, items=items)

    def counting(self, copy: StoreCopy) -> Callable[[int], None]:
        """The claim to be called with each block, which also shows in the row how many bytes of the copy went over."""
        moved = 0

        def progress(read_bytes: int) -> None:
            nonlocal moved
            self(read_bytes)
            moved += read_bytes
            if time.monotonic() - self._shown >= SHOWN_SECONDS:
                self._shown = time.monotonic()
                held(self.token).filter(pk=copy.pk).update(copied_bytes=min(moved, copy.size_bytes))

        return progress


def is_dead(copy: StoreCopy) -> bool:
    """True if whoever claimed a copy cannot be making it any more."""
    if copy.claim_until is None or copy.claim_until < timezone.now():
        return True
    return identity.is_dead(copy.claim.rpartition("|")[0])


def recover_dead() -> int:
    """Copies whose process died are finished, if their bytes have their place already, or wait again; how many."""
    copying = StoreCopy.objects.filter(state=CopyState.COPYING).select_related("upload__store")
    stale = models.Q(claim_until__isnull=True) | models.Q(claim_until__lt=timezone.now())
    mine = models.Q(claim__startswith=f"{identity.own_host()}:")
    last, recovered = 0, 0
    while batch := list(copying.filter(stale | mine, pk__gt=last).order_by("pk")[:BATCH]):
        recovered += sum(_recover(copy) for copy in batch if is_dead(copy))
        last = batch[-1].pk
    return recovered


def _recover(copy: StoreCopy) -> bool:
    if copy.upload is not None:
        _finish(copy.upload)  # makes the row DONE if the bytes are in place
    return bool(held(copy.claim).filter(pk=copy.pk).update(**released(CopyState.WANTED)))


def _finish(upload: Upload) -> None:
    try:
        recover_upload(upload)
    except ArchiveError:
        pass  # its store is away: the sweeper of deliveries goes on with it, and the copy is made elsewhere meanwhile
