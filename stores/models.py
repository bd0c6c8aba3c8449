"""Stores and the readings of their space."""

import uuid
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone


class StoreQuerySet(models.QuerySet["Store"]):
    def taking_uploads(self) -> "StoreQuerySet":
        """Stores that take new files: ingestable, switched on and measured as available."""
        return self.filter(ingestable=True, enabled=True, available=True)

    def reachable(self) -> "StoreQuerySet":
        """Stores whose bytes can be read at present."""
        return self.filter(enabled=True, available=True)

    def here(self) -> "list[Store]":
        """Stores that this host can reach (a short list; evaluated)."""
        return [store for store in self if store.is_reached_from(settings.LIBRARIAN_HOST_NAME)]


class Store(models.Model):
    """A place for bytes.

    A person sets kind, configuration, hosts, `ingestable`, `enabled` and the options; `available`, its reason and the
    space are measured by hosts that can reach the store. A store that is away is a fact about the store, not about the
    instances on it.
    """

    class Kind(models.TextChoices):
        POSIX = "posix", "directory on this machine or a shared file system"
        SSH = "ssh", "directory on another machine, by SSH"
        S3 = "s3", "bucket of an S3 service"

    id = models.AutoField(primary_key=True)  # travels on the wire, 32 bits
    name = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[A-Za-z0-9_.-]{1,64}\Z", "Letters, digits and _ . - only, 64 at most.")],
    )
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.POSIX)
    configuration = models.JSONField(default=dict, help_text="what its kind needs; for posix {root, staging}")
    hosts = models.JSONField(
        default=list, blank=True, help_text="host names that reach it (`hostnames` on the wire); empty: this host"
    )
    ingestable = models.BooleanField(default=True, help_text="takes new files")
    enabled = models.BooleanField(default=True, help_text="switched on by a person")
    travelling = models.BooleanField(default=False, help_text="a disk that is carried to other sites")
    fullness_limit = models.FloatField(
        default=0.95,
        validators=[MinValueValidator(0.01), MaxValueValidator(1.0)],
        help_text="share of the capacity that may be used, 0.01 to 1",
    )
    group_writable_staging = models.BooleanField(default=True, help_text="staging directories get mode 0775")
    own_after_commit = models.BooleanField(default=False, help_text="committed files belong to the server's user")
    read_only_after_commit = models.BooleanField(default=True, help_text="committed files get 0444, directories 0555")
    ssh_host = models.CharField(max_length=255, blank=True, help_text="name peers use for rsync over SSH")
    globus_endpoint = models.CharField(
        max_length=36,
        blank=True,
        validators=[
            RegexValidator(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", "The id of a collection is a UUID.")
        ],
        help_text="id of the Globus collection through which this store's paths are reached",
    )
    providers = models.JSONField(default=list, blank=True, help_text="transfer providers offered to peers")
    marker = models.UUIDField(default=uuid.uuid4, editable=False, help_text="written at the root; proves it is ours")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    available = models.BooleanField(default=False, editable=False, help_text="measured")
    availability_reason = models.TextField(blank=True, editable=False)
    measured_at = models.DateTimeField(null=True, blank=True, editable=False)
    measured_by = models.CharField(max_length=255, blank=True, editable=False)
    capacity_bytes = models.BigIntegerField(null=True, blank=True, editable=False)
    free_bytes = models.BigIntegerField(null=True, blank=True, editable=False)

    objects = StoreQuerySet.as_manager()

    promised_bytes = 0  # to live deliveries, as choose_store found; no column: it follows from the uploads

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="store_has_a_name"),
            models.CheckConstraint(condition=Q(kind__in=["posix", "ssh", "s3"]), name="store_kind_is_known"),
            models.CheckConstraint(
                condition=Q(fullness_limit__gt=0, fullness_limit__lte=1), name="store_fullness_is_a_share"
            ),
            models.CheckConstraint(
                condition=Q(available=False) | Q(measured_at__isnull=False), name="available_store_was_measured"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        from stores.backends import backend_class

        problems = backend_class(self.kind).check_configuration(self.configuration)
        if problems:
            raise ValidationError({"configuration": problems})

    def is_reached_from(self, host: str) -> bool:
        """True if `host` can reach the bytes itself."""
        return not self.hosts or host in self.hosts

    @property
    def usable_bytes(self) -> int:
        """Bytes that may still be written before the fullness limit is reached; 0 when unknown."""
        if self.free_bytes is None or self.capacity_bytes is None:
            return 0
        return max(0, self.free_bytes - int(self.capacity_bytes * (1 - self.fullness_limit)))

    @property
    def backend(self) -> Any:
        """The backend that holds this store's bytes (stores.backends.base.StoreBackend), one per row object."""
        from stores.backends import open_backend

        built_from = (self.kind, repr(self.configuration), self.name, self.marker, *self._options())
        if self.__dict__.get("_backend_key") != built_from:
            self._backend_key, self._backend = built_from, open_backend(self)
        return self._backend

    def _options(self) -> tuple[bool, ...]:
        return (self.group_writable_staging, self.own_after_commit, self.read_only_after_commit)


# Kinds by what a read from them costs; of equally good copies the first is taken.
NEAREST_FIRST = (Store.Kind.POSIX, Store.Kind.SSH, Store.Kind.S3)


class SpaceReading(models.Model):
    """Capacity and free space of a store at one time. Written by the job that measures; thinned by age."""

    store = models.ForeignKey(Store, on_delete=models.CASCADE, related_name="readings")
    at = models.DateTimeField(default=timezone.now)
    capacity_bytes = models.BigIntegerField()
    free_bytes = models.BigIntegerField()

    class Meta:
        ordering = ["-at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(free_bytes__gte=0, capacity_bytes__gte=models.F("free_bytes")), name="reading_is_possible"
            )
        ]
        indexes = [models.Index(fields=["store", "-at"], name="reading_by_store")]

    def __str__(self) -> str:
        return f"{self.store_id} {self.at:%Y-%m-%d %H:%M}"
