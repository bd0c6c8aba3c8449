"""Correlator runs."""

from django.db import models
from django.db.models import F, Q

from files.models.session import ObservingSession


class Observation(models.Model):
    """One correlator run. Its obsid is its start in whole GPS seconds; dates are Julian Dates (UTC), LST in hours."""

    obsid = models.BigIntegerField(primary_key=True)
    start_jd = models.FloatField()
    stop_jd = models.FloatField(null=True, blank=True)
    start_lst_hours = models.FloatField(null=True, blank=True)
    session = models.ForeignKey(
        ObservingSession, null=True, blank=True, on_delete=models.PROTECT, related_name="observations"
    )

    class Meta:
        ordering = ["-start_jd"]
        constraints = [
            models.CheckConstraint(condition=Q(obsid__gte=0), name="obsid_is_gps_time"),
            models.CheckConstraint(
                condition=Q(stop_jd__isnull=True) | Q(stop_jd__gt=F("start_jd")), name="observation_stops_after_start"
            ),
            models.CheckConstraint(
                condition=Q(start_lst_hours__isnull=True) | Q(start_lst_hours__gte=0, start_lst_hours__lt=24),
                name="observation_lst_is_in_hours",
            ),
        ]
        indexes = [models.Index(fields=["start_jd"], name="observation_by_start")]

    def __str__(self) -> str:
        return str(self.obsid)
