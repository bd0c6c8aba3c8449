"""What is to be sent where, for as long as it stands."""

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from files.search import EVERY_FILE
from network.models.peer import PEER_NAME


class OrderWay(models.TextChoices):
    """How an order brings files to where they are wanted."""

    PUSH = "push", "to a peer, over the network"
    COPY = "copy", "to stores of ours"
    CARRY = "carry", "to a peer, on disks that travel"


class StandingOrderQuerySet(models.QuerySet["StandingOrder"]):
    def active(self) -> "StandingOrderQuerySet":
        """Orders that are switched on."""
        return self.filter(enabled=True)

    def pushing(self) -> "StandingOrderQuerySet":
        """Orders that send over the network."""
        return self.filter(way=OrderWay.PUSH)

    def copying(self) -> "StandingOrderQuerySet":
        """Orders that copy to stores of ours: to stay there, or to travel."""
        return self.filter(way__in=[OrderWay.COPY, OrderWay.CARRY])

    def to_peer(self, name: str) -> "StandingOrderQuerySet":
        """Orders that push to one peer, the most urgent first."""
        return self.pushing().filter(peer_name=name).order_by("-priority", "pk")


class StandingOrder(models.Model):
    """ "Send what matches this search to that peer", or to the first of these stores that has room.

    Written by people. A peer is meant by its name: an order outlives the removal of its peer and waits for it. Of one
    that copies, a file that is on any of its `targets` has what it wants; of one that carries, a file that the peer
    holds, or that is on its way there.
    """

    name = models.CharField(max_length=64, unique=True, help_text="for people")
    search = models.TextField(default=EVERY_FILE, help_text="files to send, in the JSON search language")
    peer_name = models.CharField(
        max_length=64,
        blank=True,
        validators=[RegexValidator(PEER_NAME)],
        help_text="the Librarian that matching files are sent to",
    )
    way = models.CharField(max_length=8, choices=OrderWay, default=OrderWay.PUSH)
    targets = models.JSONField(
        default=list, blank=True, help_text="ids of the stores that it copies to, in the order in which they are filled"
    )
    switch_off_full_stores = models.BooleanField(
        default=False, help_text="a store that has no room for the next file is switched off"
    )
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
                condition=Q(way="copy", peer_name="") | (Q(way__in=["push", "carry"]) & ~Q(peer_name="")),
                name="order_has_one_destination",
            ),
            models.CheckConstraint(
                condition=Q(way="push", targets=[]) | (Q(way__in=["copy", "carry"]) & ~Q(targets=[])),
                name="order_that_copies_has_targets",
            ),
        ]
        indexes = [models.Index(fields=["peer_name"], condition=Q(enabled=True), name="order_by_peer")]

    def __str__(self) -> str:
        return self.name

    @property
    def group(self) -> str:
        """By which the copies that it wants say so (`files.models.StoreCopy.group`)."""
        return f"order:{self.pk}"
