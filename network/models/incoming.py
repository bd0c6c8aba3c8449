"""Files on their way from a peer."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from files.models import File, Upload
from network.models.states import ENDED, LIVE, MOVES, TransferState


class ReportState(models.TextChoices):
    """Whether the sender knows how a transfer ended.

    nothing -> due (it ended, and its sender is a peer) -> done | given_up (after many tries, or nobody to be told)
    """

    NOTHING = "nothing", "not ended yet"
    DUE = "due", "to be told"
    DONE = "done", "told"
    GIVEN_UP = "given_up", "could not be told"


class IncomingTransferQuerySet(models.QuerySet["IncomingTransfer"]):
    def live(self) -> "IncomingTransferQuerySet":
        """Transfers that have not ended."""
        return self.filter(state__in=LIVE)

    def receivable(self) -> "IncomingTransferQuerySet":
        """Transfers whose bytes are said to be in staging and that are due to be taken in."""
        due = Q(next_try_at__isnull=True) | Q(next_try_at__lte=timezone.now())
        return self.filter(due, state=TransferState.STAGED)

    def reportable(self) -> "IncomingTransferQuerySet":
        """Ended transfers whose sender is due to be told."""
        return self.filter(report=ReportState.DUE, next_report_at__lte=timezone.now())


class IncomingTransfer(models.Model):
    """One file that another site delivers into our staging, in an upload made for it.

    It belongs to the account that offered it: nobody else moves it. `peer_name` is whom we call back, which is that
    account's name, or for a person who carries a disk the peer that wrote its manifest; empty: nobody. `features` are
    the extensions that the sender understands; without any it is a foreign Librarian.
    """

    MOVES = MOVES

    id = models.AutoField(primary_key=True)  # `destination_transfer_id` on the wire, 32 bits
    account = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    account_name = models.CharField(max_length=64)
    peer_name = models.CharField(max_length=64, blank=True, help_text="whom we tell how it ended")
    source = models.CharField(max_length=256, help_text="as the sender called itself")
    uploader = models.CharField(max_length=256)
    source_transfer_id = models.IntegerField(help_text="id of the sender's outgoing transfer")
    state = models.CharField(max_length=16, choices=TransferState, default=TransferState.INITIATED)

    name = models.CharField(max_length=256, help_text="as it will be filed")
    destination = models.CharField(max_length=4096, help_text="as the sender asked for it")
    size_bytes = models.BigIntegerField(help_text="declared")
    checksum = models.CharField(max_length=140, help_text="declared, <algorithm>:::<hex>")
    features = models.JSONField(default=list, help_text="extensions that the sender understands")
    upload = models.ForeignKey(Upload, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    file = models.ForeignKey(File, null=True, blank=True, on_delete=models.PROTECT, related_name="incoming_transfers")
    store_id_told = models.IntegerField(
        null=True, blank=True, help_text="id of our store that holds it, for the sender"
    )

    attempts = models.PositiveIntegerField(default=0, help_text="to take it in")
    next_try_at = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField(null=True, blank=True, help_text="when the sender is asked what became of it")
    code = models.CharField(max_length=64, blank=True)
    reason = models.TextField(blank=True, help_text="why it failed, or why it waits")
    remedy = models.TextField(blank=True)
    kept_aside_at = models.CharField(max_length=4096, blank=True, help_text="place of bytes that were not as declared")

    report = models.CharField(max_length=16, choices=ReportState, default=ReportState.NOTHING)
    report_attempts = models.PositiveIntegerField(default=0)
    next_report_at = models.DateTimeField(null=True, blank=True)
    report_problem = models.TextField(blank=True)

    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now, help_text="when its state last changed")
    staged_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = IncomingTransferQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=TransferState.values), name="incoming_state_is_known"),
            models.CheckConstraint(condition=Q(report__in=ReportState.values), name="incoming_report_is_known"),
            models.CheckConstraint(
                condition=Q(state__in=LIVE, finished_at__isnull=True)
                | (~Q(state__in=LIVE) & Q(finished_at__isnull=False)),
                name="ended_incoming_has_end_time",
            ),
            models.CheckConstraint(
                condition=~Q(state=TransferState.FAILED) | ~Q(reason=""), name="failed_incoming_says_why"
            ),
            models.CheckConstraint(
                condition=~Q(state=TransferState.COMPLETED) | Q(file__isnull=False, store_id_told__isnull=False),
                name="completed_incoming_has_a_file",
            ),
            models.CheckConstraint(
                condition=~Q(report=ReportState.DUE) | (Q(next_report_at__isnull=False) & ~Q(peer_name="")),
                name="due_report_has_time_and_peer",
            ),
            models.CheckConstraint(
                condition=Q(report=ReportState.NOTHING) | Q(state__in=ENDED), name="reported_incoming_has_ended"
            ),
            models.UniqueConstraint(
                fields=["account_name", "name"],
                condition=Q(state__in=LIVE),
                name="one_live_incoming_per_account_and_name",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "id"], condition=Q(state__in=LIVE), name="incoming_live"),
            models.Index(fields=["next_report_at"], condition=Q(report="due"), name="incoming_to_report"),
            models.Index(fields=["account_name", "source_transfer_id"], name="incoming_by_source_id"),
            models.Index(fields=["finished_at"], name="incoming_by_end"),
        ]

    def __str__(self) -> str:
        return f"transfer {self.pk} from {self.account_name}"

    @property
    def is_live(self) -> bool:
        """True until it ends."""
        return self.state in LIVE

    @property
    def is_foreign(self) -> bool:
        """True if the sender understands none of our extensions."""
        return not self.features
