"""Copies that directly connected peers have confirmed."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from files.models.file import File


class RemoteInstanceQuerySet(models.QuerySet["RemoteInstance"]):
    def visible_to(self, user: User) -> "RemoteInstanceQuerySet":
        """What an account may hear of: that of another Librarian only of its own copies, never of third sites."""
        return self.filter(peer_name=user.username) if user.kind == User.Kind.LIBRARIAN else self


class RemoteInstance(models.Model):
    """A copy that a peer has verified and told us about. Copies two hops away are not tracked.

    Keyed by the peer's *name*, without a foreign key: removing and re-adding a peer loses nothing.
    """

    id = models.AutoField(primary_key=True)  # travels on the wire, 32 bits
    file = models.ForeignKey(File, on_delete=models.PROTECT, related_name="remote_instances")
    peer_name = models.CharField(max_length=64)
    peer_store_id = models.IntegerField(help_text="id of the store at the peer")
    sender = models.CharField(max_length=64, blank=True, help_text="name of the site that sent the copy")
    copied_at = models.DateTimeField(default=timezone.now)
    confirmed_at = models.DateTimeField(default=timezone.now, help_text="when the peer last said that it holds it")

    objects = RemoteInstanceQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["file", "peer_name", "peer_store_id"], name="one_remote_instance_per_store"
            ),
            models.CheckConstraint(condition=~Q(peer_name=""), name="remote_instance_names_its_peer"),
        ]
        indexes = [
            models.Index(fields=["peer_name", "file"], name="remote_by_peer"),
            models.Index(fields=["peer_name", "confirmed_at"], name="remote_by_confirmation"),
        ]

    def __str__(self) -> str:
        return f"{self.file_id} at {self.peer_name}"
