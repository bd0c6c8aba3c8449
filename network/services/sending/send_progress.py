"""What happens while a provider runs: bytes and rate on the rows, once a second, and whether it shall go on."""

import time
from collections.abc import Callable, Sequence

from django.utils import timezone

from librarian.common.errors import LostRace
from network.models import OutgoingTransfer, Peer, TransferState
from network.services.sending.batch_claims import BatchClaim

WRITE_SECONDS = 1.0
LOOK_SECONDS = 3.0  # between looks whether the peer was switched off or everything cancelled
MOST_ROWS = 32  # of transfers on which progress is written at once; more than that are small
SHARE_OF_NEW = 0.3  # of the latest second in the rate that people see


class Progress:
    """Progress of one batch, as its provider reports it."""

    def __init__(
        self, claim: BatchClaim, transfers: Sequence[OutgoingTransfer], *, others_wait: Callable[[], bool]
    ) -> None:
        self._claim = claim
        self._sizes = {transfer.pk: transfer.size_bytes for transfer in transfers}
        self._sent = {transfer.pk: 0 for transfer in transfers}
        self._moved: set[int] = set()
        self._others_wait = others_wait
        # what arrived before, with transfers that are over
        self._before = max(0, claim.item.size_bytes - sum(self._sizes.values()))
        self._written = self._looked = time.monotonic()
        self._last_bytes: int | None = None
        self._rate: float | None = None
        self._goes_on = True

    @property
    def sent_bytes(self) -> int:
        """Bytes of the batch that are over there."""
        return min(self._claim.item.size_bytes, self._before + sum(self._sent.values()))

    def report(self, transfer_id: int, count: int) -> None:
        """So many bytes of a transfer are over there by now."""
        if transfer_id in self._sizes:
            self._sent[transfer_id] = max(0, min(count, self._sizes[transfer_id]))
            self._moved.add(transfer_id)
        if time.monotonic() - self._written >= WRITE_SECONDS:
            self._write()

    def flush(self) -> None:
        """Write what was reported since; the next run may be minutes away."""
        if self._moved:
            self._write()

    def keep_going(self) -> bool:
        """False once the batch is not ours any more, nobody wants it, or others have waited long enough."""
        now = time.monotonic()
        if self._goes_on and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._goes_on = self._claim.renew_if_due() and self._is_wanted() and not self._others_wait()
        return self._goes_on

    def _is_wanted(self) -> bool:
        item = self._claim.item
        is_on = Peer.objects.sending().filter(name=item.peer_name).exists()
        return is_on and item.transfers.filter(state=TransferState.ONGOING).exists()

    def _write(self) -> None:
        now = time.monotonic()
        elapsed, self._written = now - self._written, now
        self._note_rate(elapsed)
        try:
            self._claim.write(sent_bytes=self.sent_bytes, rate_bytes_per_second=self._rate, progress_at=timezone.now())
        except LostRace:
            self._goes_on = False
            return
        moved, self._moved = sorted(self._moved)[:MOST_ROWS], set()
        for key in moved:
            rows = OutgoingTransfer.objects.filter(pk=key, state=TransferState.ONGOING)
            rows.update(sent_bytes=self._sent[key])

    def _note_rate(self, elapsed: float) -> None:
        """Smooth the rate. The first report may tell of what an earlier attempt left, which was not sent now."""
        if self._last_bytes is not None:
            rate = max(0, self.sent_bytes - self._last_bytes) / max(elapsed, 0.001)
            self._rate = rate if self._rate is None else self._rate + SHARE_OF_NEW * (rate - self._rate)
        self._last_bytes = self.sent_bytes
