"""A copy of a file on one of our stores."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from files.models.file import File
from stores.models import Store


class Presence(models.TextChoices):
    """Where a copy stands.

    present -> set_aside (found bad, bytes kept) -> present (healed)
    present -> handed_over (left by manifest with a travelling store) -> present (verified again)
    present | set_aside -> leaving (written only by the erasing function) -> gone
    gone -> present (the same bytes arrived again)
    """

    PRESENT = "present"
    SET_ASIDE = "set_aside", "set aside"
    HANDED_OVER = "handed_over", "handed over"
    LEAVING = "leaving"
    GONE = "gone"


class Condition(models.TextChoices):
    """What the latest look at the bytes found. UNKNOWN: could not look; says nothing about the bytes."""

    NEVER_CHECKED = "never_checked", "never checked"
    GOOD = "good"
    MISSING = "missing"
    SHORT = "short"
    UNREADABLE = "unreadable"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


class DeletionPolicy(models.IntegerChoices):
    """Whether this copy may ever be erased. Numbers as on the wire."""

    DISALLOWED = 0
    ALLOWED = 1


class InstanceQuerySet(models.QuerySet["Instance"]):
    def present(self) -> "InstanceQuerySet":
        """Copies that are here (`available` on the wire)."""
        return self.filter(presence=Presence.PRESENT)

    def readable(self) -> "InstanceQuerySet":
        """Present copies on stores that can be read now and that no check found bad."""
        return self.present().filter(
            store__enabled=True,
            store__available=True,
            condition__in=[Condition.GOOD, Condition.NEVER_CHECKED, Condition.UNKNOWN],
        )


class Instance(models.Model):
    """A copy of a file on a store: where it lies, where it stands, what was seen of it, what is allowed.

    Written by ingest, verification and (alone for `leaving` and `gone`) the erasing function. `path` is the place on
    the store, relative to its root.
    """

    MOVES = {
        Presence.PRESENT: {Presence.SET_ASIDE, Presence.HANDED_OVER, Presence.LEAVING},
        Presence.SET_ASIDE: {Presence.PRESENT, Presence.LEAVING},
        Presence.HANDED_OVER: {Presence.PRESENT, Presence.LEAVING},
        Presence.LEAVING: {Presence.GONE, Presence.PRESENT},
        Presence.GONE: {Presence.PRESENT},
    }

    id = models.AutoField(primary_key=True)  # travels on the wire, 32 bits
    file = models.ForeignKey(File, on_delete=models.PROTECT, related_name="instances")
    store = models.ForeignKey(Store, on_delete=models.PROTECT, related_name="instances")
    path = models.CharField(max_length=4096)
    presence = models.CharField(max_length=16, choices=Presence, default=Presence.PRESENT)
    condition = models.CharField(max_length=16, choices=Condition, default=Condition.NEVER_CHECKED)
    condition_at = models.DateTimeField(null=True, blank=True)
    deletion_policy = models.IntegerField(choices=DeletionPolicy, default=DeletionPolicy.DISALLOWED)
    created_at = models.DateTimeField(default=timezone.now)

    objects = InstanceQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["file", "store"], name="one_instance_per_file_and_store"),
            models.CheckConstraint(
                condition=~Q(presence=Presence.PRESENT) | ~Q(path=""), name="present_instance_has_path"
            ),
            models.CheckConstraint(condition=Q(presence__in=Presence.values), name="instance_presence_is_known"),
            models.CheckConstraint(condition=Q(condition__in=Condition.values), name="instance_condition_is_known"),
            models.CheckConstraint(
                condition=Q(condition=Condition.NEVER_CHECKED) | Q(condition_at__isnull=False),
                name="checked_instance_says_when",
            ),
            models.CheckConstraint(condition=Q(deletion_policy__in=[0, 1]), name="instance_policy_is_known"),
            models.UniqueConstraint(
                fields=["store", "path"], condition=Q(presence=Presence.PRESENT), name="one_present_instance_per_place"
            ),
        ]
        indexes = [
            models.Index(fields=["store", "condition_at"], name="instance_by_age_of_check"),
            models.Index(fields=["-created_at"], name="instance_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.file_id} on {self.store_id}"

    @property
    def is_present(self) -> bool:
        return self.presence == Presence.PRESENT
