"""The history of each file, one line an event, chained by digests so that a change of the past shows."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from files.models.file import HEX64, File


class FileEvent(models.Model):
    """One line of a file's history; only ever appended (a trigger refuses anything else).

    `text` is canonical JSON and is what `digest` covers, together with the digest of the line before it
    (files/services/events.py states the formula). The other columns repeat parts of it for queries.
    """

    file = models.ForeignKey(File, on_delete=models.PROTECT, related_name="events")
    number = models.PositiveIntegerField(help_text="1 for the first line of the file")
    type = models.CharField(max_length=64)
    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=256, blank=True, help_text="who or what did it")
    text = models.TextField(help_text="canonical JSON")
    digest = models.CharField(max_length=64)

    class Meta:
        ordering = ["file", "number"]
        constraints = [
            models.UniqueConstraint(fields=["file", "number"], name="one_event_per_number"),
            models.CheckConstraint(condition=Q(number__gte=1), name="event_numbers_start_at_one"),
            models.CheckConstraint(condition=Q(digest__regex=HEX64), name="event_digest_is_lower_hex"),
        ]
        indexes = [
            models.Index(fields=["-at"], name="event_by_time"),
            models.Index(fields=["type"], name="event_by_type"),
        ]

    def __str__(self) -> str:
        return f"{self.file_id}#{self.number} {self.type}"


class EventHead(models.Model):
    """Length and last digest of a file's history; `rooted_count` lines of it are covered by a signed root."""

    file = models.OneToOneField(File, on_delete=models.PROTECT, primary_key=True, related_name="head")
    count = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    rooted_count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(rooted_count__lte=F("count")), name="root_covers_no_more_than_exists"),
            models.CheckConstraint(condition=Q(digest__regex=HEX64), name="head_digest_is_lower_hex"),
        ]
        indexes = [models.Index(fields=["file"], condition=~Q(count=F("rooted_count")), name="head_not_rooted")]

    def __str__(self) -> str:
        return f"{self.file_id}: {self.count}"
