"""Copies that are wanted on our own stores, one file at a time."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from files.models.file import File
from files.models.instance import Instance
from files.models.upload import Upload
from stores.models import Store


class CopyState(models.TextChoices):
    """wanted -> copying -> wanted (tried again later) | done | failed (until a person wants it again)
    wanted | failed -> cancelled; failed -> wanted

    Every move is made by files.services.copying.
    """

    WANTED = "wanted"
    COPYING = "copying"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


COPY_LIVE = (CopyState.WANTED, CopyState.COPYING)


class StoreCopyQuerySet(models.QuerySet["StoreCopy"]):
    def live(self) -> "StoreCopyQuerySet":
        """Copies that are still to be made."""
        return self.filter(state__in=COPY_LIVE)

    def due(self) -> "StoreCopyQuerySet":
        """Copies that may be tried now, the most urgent first."""
        return self.filter(state=CopyState.WANTED, next_try_at__lte=timezone.now()).order_by("-priority", "id")

    def of_group(self, group: str) -> "StoreCopyQuerySet":
        """Copies that one order, offload or person wants."""
        return self.filter(group=group)


class StoreCopy(models.Model):
    """One file that is to have a copy on the first of `targets` that takes it.

    `group` says what wants it: `order:<id>` of a standing order, `offload:<id>`, or `person:<name>`. `targets` are ids
    of stores in the order in which they are filled (no store is ever deleted). `claim` names the process that copies
    it now and until when that is believed, as the claim of an upload.
    """

    MOVES = {
        CopyState.WANTED: {CopyState.COPYING, CopyState.CANCELLED, CopyState.DONE, CopyState.FAILED},
        CopyState.COPYING: {CopyState.WANTED, CopyState.DONE, CopyState.FAILED},
        CopyState.FAILED: {CopyState.WANTED, CopyState.CANCELLED},
        CopyState.DONE: set(),
        CopyState.CANCELLED: set(),
    }

    file = models.ForeignKey(File, on_delete=models.PROTECT, related_name="store_copies")
    group = models.CharField(max_length=80, help_text="what wants it")
    asked_by = models.CharField(max_length=64, blank=True, help_text="who wanted it, when a person did")
    targets = models.JSONField(default=list, help_text="ids of stores, in the order in which they are filled")
    priority = models.IntegerField(default=0, help_text="those of a higher number are copied first")
    state = models.CharField(max_length=16, choices=CopyState, default=CopyState.WANTED)

    store = models.ForeignKey(
        Store, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="that took it, or takes it"
    )
    source = models.ForeignKey(
        Instance, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="the copy that is read"
    )
    upload = models.ForeignKey(Upload, null=True, blank=True, on_delete=models.SET_NULL, related_name="store_copies")
    size_bytes = models.BigIntegerField(default=0)
    copied_bytes = models.BigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(default=timezone.now)
    claim = models.CharField(max_length=128, blank=True)
    claim_until = models.DateTimeField(null=True, blank=True)

    code = models.CharField(max_length=64, blank=True)
    reason = models.TextField(blank=True, help_text="why it failed, or why it waits")
    remedy = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now, help_text="when its state last changed")
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = StoreCopyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "store copies"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=CopyState.values), name="copy_state_is_known"),
            models.CheckConstraint(condition=~Q(group=""), name="copy_says_what_wants_it"),
            models.CheckConstraint(
                condition=Q(state__in=COPY_LIVE, finished_at__isnull=True)
                | (~Q(state__in=COPY_LIVE) & Q(finished_at__isnull=False, claim="")),
                name="ended_copy_has_end_time",
            ),
            models.CheckConstraint(
                condition=~Q(state=CopyState.COPYING) | ~Q(claim=""), name="running_copy_is_claimed"
            ),
            models.CheckConstraint(condition=~Q(state=CopyState.FAILED) | ~Q(reason=""), name="failed_copy_says_why"),
            models.CheckConstraint(
                condition=~Q(state=CopyState.DONE) | Q(store__isnull=False), name="copy_that_is_done_names_its_store"
            ),
            models.CheckConstraint(condition=Q(size_bytes__gte=0, copied_bytes__gte=0), name="copy_sizes_not_negative"),
            models.UniqueConstraint(
                fields=["file", "group"], condition=Q(state__in=COPY_LIVE), name="one_live_copy_per_file_and_group"
            ),
        ]
        indexes = [
            models.Index(fields=["state", "next_try_at"], name="copy_by_next_try"),
            models.Index(fields=["group", "state"], name="copy_by_group"),
            models.Index(fields=["finished_at"], name="copy_by_end"),
        ]

    def __str__(self) -> str:
        return f"copy {self.pk} for {self.group}"
