"""Folders on the server whose files are taken in once they stop growing."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from stores.models import Store


class WatchFolder(models.Model):
    """A folder that a job looks into. Provisioned by staff or `manage.py watch_folder`."""

    path = models.CharField(max_length=4096, unique=True, help_text="absolute path on the server")
    host = models.CharField(max_length=255, blank=True, help_text="host that sees it; empty: any")
    store = models.ForeignKey(
        Store, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="empty: the first that fits"
    )
    pattern = models.CharField(max_length=256, default="*", help_text="shell pattern of product names")
    quiet_seconds = models.PositiveIntegerField(
        default=60, validators=[MinValueValidator(1)], help_text="unchanged for so long before it is taken, seconds"
    )
    uploader = models.CharField(max_length=64, default="watch")
    null_obsid = models.BooleanField(default=False)
    remove_after = models.BooleanField(
        default=False, help_text="move delivered products to .delivered inside the folder"
    )
    enabled = models.BooleanField(default=True)
    scanned_at = models.DateTimeField(null=True, blank=True, editable=False)
    note = models.TextField(blank=True, editable=False, help_text="what the latest scan could not do")

    class Meta:
        ordering = ["path"]
        constraints = [models.CheckConstraint(condition=Q(path__startswith="/"), name="watch_folder_is_absolute")]

    def __str__(self) -> str:
        return self.path


class WatchedPath(models.Model):
    """What was last seen of one product in a watched folder, so that a restart goes on where it was."""

    class State(models.TextChoices):
        GROWING = "growing", "waiting until it is quiet"
        DELIVERED = "delivered"
        QUARANTINED = "quarantined"

    folder = models.ForeignKey(WatchFolder, on_delete=models.CASCADE, related_name="watched")
    name = models.CharField(max_length=1024, help_text="relative to the folder")
    fingerprint = models.CharField(max_length=64, help_text="digest of sizes and times of change")
    unchanged_since = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=16, choices=State, default=State.GROWING)
    note = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["folder", "name"], name="one_row_per_watched_path")]

    def __str__(self) -> str:
        return self.name
