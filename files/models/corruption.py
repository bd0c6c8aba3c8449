"""Copies whose bytes were found to differ."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from files.models.file import File
from files.models.instance import Instance


class CorruptInstance(models.Model):
    """A copy found bad: what was expected, what was found, where the bytes are kept, what was done in the end."""

    id = models.AutoField(primary_key=True)
    file = models.ForeignKey(File, on_delete=models.PROTECT, related_name="corruptions")
    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="corruptions")
    found_at = models.DateTimeField(default=timezone.now)
    expected_digest = models.CharField(max_length=64)
    found_digest = models.CharField(max_length=64, blank=True)
    expected_size_bytes = models.BigIntegerField()
    found_size_bytes = models.BigIntegerField(null=True, blank=True)
    kept_at = models.CharField(max_length=4096, blank=True, help_text="place of the bad bytes in the quarantine")
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(resolved_at__isnull=True) | ~Q(resolution=""), name="resolved_corruption_says_how"
            ),
            models.UniqueConstraint(
                fields=["instance"], condition=Q(resolved_at__isnull=True), name="one_open_corruption_per_instance"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.file_id}: {self.found_digest[:12]}"
