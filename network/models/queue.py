"""Batches of files that are handed to one provider together."""

from django.db import models
from django.db.models import Q
from django.utils import timezone


class QueueState(models.TextChoices):
    """waiting -> sending -> waiting (again later) | sent (all that could be sent was) | failed (all of it was given up)

    Every move is made by network.services.sending.carrying.
    """

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


QUEUE_LIVE = (QueueState.WAITING, QueueState.SENDING)


class SendQueueItemQuerySet(models.QuerySet["SendQueueItem"]):
    def live(self) -> "SendQueueItemQuerySet":
        """Batches whose bytes are not all over there yet."""
        return self.filter(state__in=QUEUE_LIVE)


class SendQueueItem(models.Model):
    """A batch of transfers that a peer has made room for, with the ways that it offers for their bytes.

    `offers` are the peer's providers as it sent them, by label. `claim` names the process that sends it now and until
    when that is believed (as the claim of an upload). Its bytes and rate are what the provider reported last.
    """

    MOVES = {
        QueueState.WAITING: {QueueState.SENDING, QueueState.FAILED},
        QueueState.SENDING: {QueueState.WAITING, QueueState.SENT, QueueState.FAILED},
        QueueState.SENT: set(),
        QueueState.FAILED: set(),
    }

    id = models.AutoField(primary_key=True)
    peer_name = models.CharField(max_length=64)
    state = models.CharField(max_length=16, choices=QueueState, default=QueueState.WAITING)
    priority = models.IntegerField(default=0)
    offers = models.JSONField(default=dict, help_text="providers that the peer offers, by label, as it sent them")
    is_foreign = models.BooleanField(default=False, help_text="the peer knows none of our extensions")
    provider = models.CharField(max_length=16, blank=True, help_text="that sends it, or sent it last")
    task_id = models.CharField(max_length=64, blank=True, help_text="of a service that moves the bytes for us")
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(default=timezone.now)
    claim = models.CharField(max_length=128, blank=True)
    claim_until = models.DateTimeField(null=True, blank=True)

    size_bytes = models.BigIntegerField(default=0)
    sent_bytes = models.BigIntegerField(default=0)
    rate_bytes_per_second = models.FloatField(null=True, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True)

    code = models.CharField(max_length=64, blank=True)
    reason = models.TextField(blank=True, help_text="why its latest attempt did not send everything")
    remedy = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = SendQueueItemQuerySet.as_manager()

    class Meta:
        ordering = ["-priority", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=QueueState.values), name="queue_state_is_known"),
            models.CheckConstraint(condition=~Q(peer_name=""), name="queue_item_names_its_peer"),
            models.CheckConstraint(
                condition=Q(state__in=QUEUE_LIVE, finished_at__isnull=True)
                | (~Q(state__in=QUEUE_LIVE) & Q(finished_at__isnull=False, claim="")),
                name="finished_queue_item_has_end_time",
            ),
            models.CheckConstraint(
                condition=~Q(state=QueueState.SENDING) | ~Q(claim=""), name="sending_queue_item_is_claimed"
            ),
            models.CheckConstraint(condition=~Q(state=QueueState.FAILED) | ~Q(reason=""), name="failed_queue_says_why"),
            models.CheckConstraint(condition=Q(size_bytes__gte=0, sent_bytes__gte=0), name="queue_sizes_not_negative"),
        ]
        indexes = [
            models.Index(
                fields=["peer_name", "-priority", "id"], condition=Q(state__in=QUEUE_LIVE), name="queue_live_by_peer"
            ),
            models.Index(fields=["finished_at"], name="queue_by_end"),
        ]

    def __str__(self) -> str:
        return f"batch {self.pk} to {self.peer_name}"

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until all bytes are there; None while nobody can say."""
        if self.state != QueueState.SENDING or not self.rate_bytes_per_second:
            return None
        return max(0, self.size_bytes - self.sent_bytes) / self.rate_bytes_per_second
