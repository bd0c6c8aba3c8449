"""What is to be sent where, for as long as it stands."""

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from files.search import EVERY_FILE
from network.models.peer import PEER_NAME
from stores.models import Store


class StandingOrderQuerySet(models.QuerySet["StandingOrder"]):
    def active(self) -> "StandingOrderQuerySet":
        """Orders that are switched on."""
        return self.filter(enabled=True)

    def to_peer(self, name: str) -> "StandingOrderQuerySet":
        """Orders that send to one peer, the most urgent first."""
        return self.filter(peer_name=name).order_by("-priority", "pk")


class StandingOrder(models.Model):
    """ "Send what matches this search to that peer" (or, with the issue that builds it, to that store).

    Written by people. A peer is meant by its name: an order outlives the removal of its peer and waits for it.
    """

    name = models.CharField(max_length=64, unique=True, help_text="for people")
    search = models.TextField(default=EVERY_FILE, help_text="files to send, in the JSON search language")
    peer_name = models.CharField(
        max_length=64,
        blank=True,
        validators=[RegexValidator(PEER_NAME)],
        help_text="the Librarian that matching files are sent to",
    )
    store = models.ForeignKey(Store, null=True, blank=True, on_delete=models.PROTECT, related_name="standing_orders")
    enabled = models.BooleanField(default=True, help_text="switched by a person")
    priority = models.IntegerField(default=0, help_text="files of a higher number are sent first")
    created_by = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_run_at = models.DateTimeField(null=True, blank=True, editable=False)
    problem = models.TextField(blank=True, editable=False, help_text="why its latest run chose nothing")
    looked_up_to = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="files registered before were looked at when it last ran"
    )
    next_look_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="when all files are looked at again; empty: at the next run"
    )

    objects = StandingOrderQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="order_has_a_name"),
            models.CheckConstraint(condition=~Q(search=""), name="order_has_a_search"),
            models.CheckConstraint(
                condition=(~Q(peer_name="") & Q(store__isnull=True)) | Q(peer_name="", store__isnull=False),
                name="order_has_one_destination",
            ),
        ]
        indexes = [models.Index(fields=["peer_name"], condition=Q(enabled=True), name="order_by_peer")]

    def __str__(self) -> str:
        return self.name
