"""What people want of batches on their way: sent now instead of later, or given up. Audited."""

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from librarian.common.audit import record_act
from librarian.common.errors import Conflict
from network.models import OutgoingTransfer, QueueState, SendQueueItem
from network.services.nudging import nudge
from network.services.transfers import cancel_outgoing


def send_batch_now(item: SendQueueItem, *, actor: User, address: str = "") -> None:
    """Try a waiting batch at once. Raises Conflict for one that does not wait."""
    with transaction.atomic():
        waiting = SendQueueItem.objects.filter(pk=item.pk, state=QueueState.WAITING)
        if not waiting.update(next_try_at=timezone.now()):
            raise Conflict(f"The {item} does not wait.", remedy="Look at its present state.")
        record_act(actor=actor, action="retry_batch", subject=str(item), address=address)
        nudge("send_batches", item.peer_name)


def cancel_batch(item: SendQueueItem, *, actor: User, address: str = "") -> int:
    """Give up what of a batch has not ended; returns how many transfers. The batch closes when it is looked at next."""
    cancelled = 0
    for transfer in OutgoingTransfer.objects.live().filter(queue_item=item).select_related("file"):
        try:
            cancel_outgoing(transfer, by=actor.get_username())
            cancelled += 1
        except Conflict:  # it has just ended by itself
            continue
    facts = {"transfers": cancelled}
    record_act(actor=actor, action="cancel_batch", subject=str(item), facts=facts, address=address)
    return cancelled
