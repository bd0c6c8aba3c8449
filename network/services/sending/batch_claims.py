"""Who sends a batch: a claim in its row, renewed while bytes go, and recognised as dead without waiting.

As the claim of an upload (files/services/claims.py): `<identity of the process>|<random>`, believed until
`claim_until` or until the process has certainly ended. Every change of a batch that is being sent goes through its
claim, so that who was taken for dead changes nothing any more.
"""

import secrets
import time
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from librarian.common import identity
from librarian.common.errors import LostRace
from network.models import QueueState, SendQueueItem

CLAIM_SECONDS = 300
RENEW_SECONDS = 30
LOOKED_AT = 100


class BatchClaim:
    """The right to send one batch, for as long as it is renewed."""

    def __init__(self, item: SendQueueItem, token: str) -> None:
        self.item = item
        self.token = token
        self._renewed = time.monotonic()

    def held(self) -> QuerySet[SendQueueItem]:
        """Queryset of the batch while this claim still holds."""
        return SendQueueItem.objects.filter(pk=self.item.pk, state=QueueState.SENDING, claim=self.token)

    def write(self, **changes: Any) -> None:
        """Change the row and renew the claim. Raises LostRace when somebody else took the batch over, or ended it."""
        if not self.held().update(claim_until=_until(), **changes):
            raise LostRace(f"Batch {self.item.pk} was taken over by another process.")
        self._renewed = time.monotonic()
        for name, value in changes.items():
            setattr(self.item, name, value)

    def renew_if_due(self) -> bool:
        """Renew it every RENEW_SECONDS; False when it is lost."""
        if time.monotonic() - self._renewed < RENEW_SECONDS:
            return True
        self._renewed = time.monotonic()
        return bool(self.held().update(claim_until=_until()))

    def put_back(self, *, next_try_at: datetime, **changes: Any) -> None:
        """Let the batch wait for another attempt. Raises LostRace."""
        self.write(state=QueueState.WAITING, claim="", next_try_at=next_try_at, rate_bytes_per_second=None, **changes)

    def close(self, state: QueueState, **changes: Any) -> None:
        """The batch is sent, or given up. Raises LostRace."""
        self.write(state=state, claim="", finished_at=timezone.now(), rate_bytes_per_second=None, **changes)


def take_next(peer_name: str) -> BatchClaim | None:
    """Claim the batch of a peer that is due: of the highest priority, then the oldest. None if there is none.

    One whose sender has ended, or did not renew its claim, is due as well.
    """
    due = Q(state=QueueState.WAITING, next_try_at__lte=timezone.now()) | Q(state=QueueState.SENDING)
    items = SendQueueItem.objects.live().filter(due, peer_name=peer_name).order_by("-priority", "pk")
    for item in items[:LOOKED_AT]:
        if (item.state == QueueState.WAITING or is_dead(item)) and (claim := _take(item)) is not None:
            return claim
    return None


def is_dead(item: SendQueueItem) -> bool:
    """True if whoever claimed a batch cannot be sending it any more."""
    if not item.claim or item.claim_until is None or item.claim_until < timezone.now():
        return True
    return identity.is_dead(item.claim.rpartition("|")[0])


def _take(item: SendQueueItem) -> BatchClaim | None:
    token = f"{identity.own_identity()}|{secrets.token_hex(8)}"
    as_seen = SendQueueItem.objects.filter(pk=item.pk, state=item.state, claim=item.claim, claim_until=item.claim_until)
    changes = {
        "state": QueueState.SENDING,
        "claim": token,
        "claim_until": _until(),
        "started_at": item.started_at or timezone.now(),
    }
    if not as_seen.update(**changes):
        return None
    for name, value in changes.items():
        setattr(item, name, value)
    return BatchClaim(item, token)


def _until() -> datetime:
    return timezone.now() + timedelta(seconds=CLAIM_SECONDS)
