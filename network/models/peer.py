"""The sites that this one knows."""

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from hera_librarian.addresses import api_root
from librarian.common.sealing import SEALED, unseal
from network.calling import Account

PEER_NAME = r"^[A-Za-z0-9_.-]{1,64}\Z"


class PeerQuerySet(models.QuerySet["Peer"]):
    def sending(self) -> "PeerQuerySet":
        """Peers to which files may be sent."""
        return self.filter(transfers_enabled=True)

    def with_last_heard(self) -> "PeerQuerySet":
        """Annotate `last_heard_at`: when the account that bears the peer's name last signed in here, or null."""
        account = User.objects.filter(username=models.OuterRef("name"))
        return self.annotate(last_heard_at=models.Subquery(account.values("last_used_at")[:1]))


class Peer(models.Model):
    """Another site's Librarian ("librarian" on the wire), and our account there.

    A person adds it, switches its transfers and removes it; `last_seen_at`, the latency and the last error are what we
    met when we called it. When *it* last called us is told by the account of its name (`with_last_heard`). Its name is
    the one by which that site signs in here, and never changes: transfers and remote instances go by it.
    """

    id = models.AutoField(primary_key=True)  # travels on the wire, 32 bits
    name = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(PEER_NAME, "Letters, digits and _ . - only, 64 at most.")],
        help_text="its LIBRARIAN_NAME, which is also the name of its account here",
    )
    url = models.CharField(max_length=256, help_text="http:// or https://, its host, perhaps a path; without the port")
    port = models.IntegerField(validators=[MinValueValidator(1), MaxValueValidator(65535)])
    sealed_authenticator = models.TextField(editable=False, help_text="how we sign in there, encrypted")
    transfers_enabled = models.BooleanField(default=True, help_text="files may be sent to it; switched by a person")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    # How files go there; a person sets these.
    provider_order = models.JSONField(
        default=list, blank=True, help_text="providers to try, the best first; empty: local, rsync, globus, http"
    )
    ssh_hosts = models.JSONField(
        default=list, blank=True, help_text="hosts that it may name for rsync over SSH; empty: none"
    )
    globus_endpoints = models.JSONField(
        default=list, blank=True, help_text="Globus collections that it may name for its staging; empty: none"
    )
    shared_directories = models.JSONField(
        default=list, blank=True, help_text="directories of its staging that this site mounts too and may write to"
    )
    batch_files = models.PositiveIntegerField(
        default=256,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text="files offered to it in one call",
    )
    files_per_run = models.PositiveIntegerField(
        default=4096, validators=[MinValueValidator(1)], help_text="files offered to it in one run of the job"
    )
    batches_in_flight = models.PositiveIntegerField(
        default=16, validators=[MinValueValidator(1)], help_text="batches that may be on their way at once"
    )
    rate_limit_bytes_per_second = models.BigIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="empty: as fast as it goes"
    )
    features = models.JSONField(default=list, editable=False, help_text="extensions that it said it understands")
    provider_rests = models.JSONField(
        default=dict, editable=False, help_text="providers that could not start: until when each is left out, and why"
    )

    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="last good answer to us")
    latency_seconds = models.FloatField(null=True, blank=True, editable=False, help_text="of that answer, in seconds")
    last_error = models.TextField(blank=True, editable=False, help_text="why our latest failed call failed")
    last_error_at = models.DateTimeField(null=True, blank=True, editable=False)
    failures_in_a_row = models.PositiveIntegerField(default=0, editable=False)
    rests_until = models.DateTimeField(null=True, blank=True, editable=False, help_text="not called before, by jobs")

    objects = PeerQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(name__regex=PEER_NAME), name="peer_has_a_legal_name"),
            models.CheckConstraint(condition=Q(url__regex=r"^https?://[^/?#@]+(/[^?#]*)?\Z"), name="peer_url_is_plain"),
            models.CheckConstraint(condition=Q(port__gte=1, port__lte=65535), name="peer_port_is_a_port"),
            models.CheckConstraint(
                condition=Q(sealed_authenticator__regex=SEALED), name="peer_authenticator_is_encrypted"
            ),
            models.CheckConstraint(
                condition=Q(last_seen_at__isnull=True, latency_seconds__isnull=True)
                | Q(last_seen_at__isnull=False, latency_seconds__isnull=False, latency_seconds__gte=0),
                name="peer_seen_was_measured",
            ),
            models.CheckConstraint(
                condition=Q(last_error="", last_error_at__isnull=True)
                | (~Q(last_error="") & Q(last_error_at__isnull=False)),
                name="peer_error_says_when",
            ),
            models.CheckConstraint(
                condition=Q(
                    batch_files__gte=1, batch_files__lte=10_000, files_per_run__gte=1, batches_in_flight__gte=1
                ),
                name="peer_amounts_are_positive",
            ),
            models.CheckConstraint(
                condition=Q(rate_limit_bytes_per_second__isnull=True) | Q(rate_limit_bytes_per_second__gte=1),
                name="peer_rate_limit_is_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def root(self) -> str:
        """Where its machine API begins, for people."""
        return api_root(self.url, self.port)

    @property
    def answers(self) -> bool | None:
        """Whether our latest call went well; None when there was none."""
        if self.last_seen_at is None:
            return None if self.last_error_at is None else False
        return self.last_error_at is None or self.last_seen_at > self.last_error_at

    def account(self) -> Account:
        """Our account there, in clear: for a call, never to be kept. Raises UnreadableSecret."""
        return Account(self.name, self.url, self.port, unseal(self.sealed_authenticator))
