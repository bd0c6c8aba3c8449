"""Emptying a store, before its disk is taken away or because its room is needed."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from stores.models import Store


class OffloadState(models.TextChoices):
    """running <-> paused; running | paused -> done (nothing is left that has no other copy) | stopped (by a person)"""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    STOPPED = "stopped"


OFFLOAD_LIVE = (OffloadState.RUNNING, OffloadState.PAUSED)


class OffloadQuerySet(models.QuerySet["Offload"]):
    def live(self) -> "OffloadQuerySet":
        """Those that are not over."""
        return self.filter(state__in=OFFLOAD_LIVE)


class Offload(models.Model):
    """Every file of a store gets a verified copy on one of `targets`; then its copy here is marked as one that may go.

    Written by files.services.offloading. One that `drains` also keeps the store from taking new files, and says at its
    end that the disk may be taken away. Nothing is erased. What is still to be done follows from the instances;
    `looked_up_to` is the id of the last instance that was looked at in this round.
    """

    MOVES = {
        OffloadState.RUNNING: {OffloadState.PAUSED, OffloadState.DONE, OffloadState.STOPPED},
        OffloadState.PAUSED: {OffloadState.RUNNING, OffloadState.STOPPED},
        OffloadState.DONE: set(),
        OffloadState.STOPPED: set(),
    }

    id = models.AutoField(primary_key=True)
    store = models.ForeignKey(Store, on_delete=models.PROTECT, related_name="offloads")
    targets = models.JSONField(default=list, help_text="ids of stores, in the order in which they are filled")
    drains = models.BooleanField(default=False, help_text="the store is to be taken out of service")
    search = models.TextField(blank=True, help_text="only files that match, in the JSON search language; empty: all")
    state = models.CharField(max_length=16, choices=OffloadState, default=OffloadState.RUNNING)
    problem = models.TextField(blank=True, help_text="what keeps it from going on")
    looked_up_to = models.IntegerField(default=0)
    looked_at = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = OffloadQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=OffloadState.values), name="offload_state_is_known"),
            models.CheckConstraint(
                condition=Q(state__in=OFFLOAD_LIVE, finished_at__isnull=True)
                | (~Q(state__in=OFFLOAD_LIVE) & Q(finished_at__isnull=False)),
                name="ended_offload_has_end_time",
            ),
            models.UniqueConstraint(
                fields=["store"], condition=Q(state__in=OFFLOAD_LIVE), name="one_live_offload_per_store"
            ),
        ]

    def __str__(self) -> str:
        return f"offload {self.pk} of {self.store_id}"

    @property
    def group(self) -> str:
        """By which its copies say what wants them (`StoreCopy.group`)."""
        return f"offload:{self.pk}"
