"""Nights: contiguous runs of observations."""

from django.db import models
from django.db.models import F, Q


class ObservingSession(models.Model):
    """A contiguous run of observations; its id is the obsid of the first. Sessions never overlap (files/sql)."""

    id = models.BigIntegerField(primary_key=True)
    start_jd = models.FloatField()
    stop_jd = models.FloatField()

    class Meta:
        ordering = ["-start_jd"]
        constraints = [
            models.CheckConstraint(condition=Q(stop_jd__gt=F("start_jd")), name="session_stops_after_start"),
        ]
        indexes = [models.Index(fields=["start_jd"], name="session_by_start")]

    def __str__(self) -> str:
        return str(self.id)
