"""Files on their way to a peer."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from files.models import File, Instance
from network.models.order import StandingOrder
from network.models.queue import SendQueueItem
from network.models.shipment import Shipment
from network.models.states import ENDED, GIVEN_UP, LIVE, MOVES, TransferState

__all__ = ["OutgoingTransfer"]


class OutgoingTransferQuerySet(models.QuerySet["OutgoingTransfer"]):
    def live(self) -> "OutgoingTransferQuerySet":
        """Transfers that have not ended."""
        return self.filter(state__in=LIVE)

    def latest(self) -> "OutgoingTransferQuerySet":
        """The newest attempt for each file and peer."""
        return self.filter(is_latest=True)

    def blocking(self) -> "OutgoingTransferQuerySet":
        """Latest attempts that keep their file from being chosen again now: live, or given up and not due."""
        later = Q(next_try_at__isnull=True) | Q(next_try_at__gt=timezone.now())
        return self.latest().filter(Q(state__in=LIVE) | (Q(state__in=GIVEN_UP) & later))

    def untold(self) -> "OutgoingTransferQuerySet":
        """Transfers known to the peer whose latest state it has not confirmed to know."""
        return self.filter(
            remote_transfer_id__isnull=False,
            state__in=[TransferState.ONGOING, TransferState.STAGED, *GIVEN_UP],
        ).exclude(told_state=models.F("state"))


class OutgoingTransfer(models.Model):
    """One attempt to bring one file to one peer.

    A new attempt is a new row (its id travels on the wire, so that a late word about an old attempt is not taken for
    one about the new), and `is_latest` moves on to it. Of a failed one, `next_try_at` says when the file is tried
    again; null: not before a person wants it.

    `told_state` is the latest state that the peer has confirmed to know; what differs is told again.
    """

    MOVES = MOVES

    id = models.AutoField(primary_key=True)  # `source_transfer_id` on the wire, 32 bits
    file = models.ForeignKey(File, on_delete=models.PROTECT, related_name="outgoing_transfers")
    peer_name = models.CharField(max_length=64)
    order = models.ForeignKey(StandingOrder, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    asked_by = models.CharField(max_length=64, blank=True, help_text="who wanted it, when a person did")
    state = models.CharField(max_length=16, choices=TransferState, default=TransferState.INITIATED)
    is_latest = models.BooleanField(default=True)
    attempt = models.PositiveIntegerField(default=1, help_text="1 for the first")
    spoilt_attempts = models.PositiveIntegerField(
        default=0, help_text="how many of them brought other bytes, or none, over a way that worked"
    )
    priority = models.IntegerField(default=0)

    instance = models.ForeignKey(
        Instance, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="the copy that is sent"
    )
    queue_item = models.ForeignKey(
        SendQueueItem, null=True, blank=True, on_delete=models.SET_NULL, related_name="transfers"
    )
    shipment = models.ForeignKey(
        Shipment,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="transfers",
        help_text="the disk that carries it; such a one was never queued",
    )
    remote_transfer_id = models.IntegerField(null=True, blank=True, help_text="id of the peer's incoming transfer")
    remote_upload_id = models.IntegerField(null=True, blank=True, help_text="of its upload, for the http provider")
    destination_path = models.CharField(max_length=4096, blank=True, help_text="staging location at the peer")
    size_bytes = models.BigIntegerField(default=0)
    sent_bytes = models.BigIntegerField(default=0)
    told_state = models.CharField(max_length=16, blank=True)
    next_check_at = models.DateTimeField(null=True, blank=True, help_text="when the peer is asked what became of it")

    code = models.CharField(max_length=64, blank=True)
    reason = models.TextField(blank=True, help_text="why it failed, or why it waits")
    remedy = models.TextField(blank=True)
    next_try_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now, help_text="when its state last changed")
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = OutgoingTransferQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=TransferState.values), name="outgoing_state_is_known"),
            models.CheckConstraint(condition=~Q(peer_name=""), name="outgoing_names_its_peer"),
            models.CheckConstraint(
                condition=Q(state__in=LIVE, finished_at__isnull=True)
                | (~Q(state__in=LIVE) & Q(finished_at__isnull=False)),
                name="ended_outgoing_has_end_time",
            ),
            models.CheckConstraint(
                condition=~Q(state=TransferState.FAILED) | ~Q(reason=""), name="failed_outgoing_says_why"
            ),
            models.CheckConstraint(
                condition=Q(next_try_at__isnull=True) | Q(state__in=GIVEN_UP), name="outgoing_retry_is_of_given_up"
            ),
            models.CheckConstraint(condition=Q(is_latest=True) | Q(state__in=ENDED), name="live_outgoing_is_latest"),
            models.CheckConstraint(condition=Q(size_bytes__gte=0, sent_bytes__gte=0), name="outgoing_sizes_positive"),
            # With "live is latest" above: one live transfer per file and peer.
            models.UniqueConstraint(
                fields=["file", "peer_name"], condition=Q(is_latest=True), name="one_latest_transfer_per_file_and_peer"
            ),
        ]
        indexes = [
            # whole ones: SQLite uses a partial index only where the query repeats its condition with literals
            models.Index(fields=["state", "peer_name", "id"], name="outgoing_by_state"),
            models.Index(fields=["peer_name", "remote_transfer_id"], name="outgoing_by_remote_id"),
            models.Index(fields=["next_try_at"], name="outgoing_by_next_try"),
            models.Index(fields=["finished_at"], name="outgoing_by_end"),
        ]

    def __str__(self) -> str:
        return f"transfer {self.pk} to {self.peer_name}"

    @property
    def is_live(self) -> bool:
        """True until it ends."""
        return self.state in LIVE
