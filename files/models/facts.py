"""What the header of a file says."""

from django.db import models
from django.db.models import Q

from files.models.file import File


class FileFacts(models.Model):
    """Facts that a header reader found in a file, one to one. Written by the reading job, never by hand.

    Times are Julian Dates (UTC), LST in hours, frequencies in hertz. A reader that failed leaves its reason in `note`.
    """

    file = models.OneToOneField(File, on_delete=models.PROTECT, primary_key=True, related_name="facts")
    reader = models.CharField(max_length=32)
    read_at = models.DateTimeField()
    note = models.TextField(blank=True)
    start_jd = models.FloatField(null=True, blank=True)
    stop_jd = models.FloatField(null=True, blank=True)
    start_lst_hours = models.FloatField(null=True, blank=True)
    integration_time_seconds = models.FloatField(null=True, blank=True)
    time_count = models.IntegerField(null=True, blank=True)
    frequency_min_hz = models.FloatField(null=True, blank=True)
    frequency_max_hz = models.FloatField(null=True, blank=True)
    channel_width_hz = models.FloatField(null=True, blank=True)
    channel_count = models.IntegerField(null=True, blank=True)
    antenna_count = models.IntegerField(null=True, blank=True)
    polarisations = models.CharField(max_length=64, blank=True)
    target = models.CharField(max_length=128, blank=True)
    instrument = models.CharField(max_length=128, blank=True)
    other = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name_plural = "file facts"
        constraints = [
            models.CheckConstraint(
                condition=Q(start_lst_hours__isnull=True) | Q(start_lst_hours__gte=0, start_lst_hours__lt=24),
                name="facts_lst_is_in_hours",
            )
        ]

    def __str__(self) -> str:
        return f"{self.file_id} by {self.reader}"
