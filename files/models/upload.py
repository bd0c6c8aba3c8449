"""Deliveries into staging. The row is the queue: whatever is half done after a crash is found through it."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from files.models.file import File
from files.models.instance import DeletionPolicy
from stores.models import Store


class UploadKind(models.TextChoices):
    WIRE = "wire", "wire protocol"
    TUS = "tus", "resumable HTTP"
    INGEST = "ingest", "manage.py ingest or watch folder"
    CLONE = "clone", "from a peer"
    COPY = "copy", "between our stores"
    BATCH = "batch", "one of many in a tar stream"


# Nobody outside holds on to them: undone when their process dies.
SERVER_SIDE = (UploadKind.INGEST, UploadKind.BATCH, UploadKind.COPY)


class UploadContent(models.TextChoices):
    """What the bytes of a resumable upload are. Deliveries of other kinds lie in staging as what they are: `file`."""

    FILE = "file", "the product itself"
    DIRECTORY = "directory", "a tar stream of one directory product"
    BATCH = "batch", "a tar stream of many products"


class UploadState(models.TextChoices):
    """staged -> committed (the bytes are an instance) | failed (said why) | expired (nobody came back).

    Every move is made by files.services.uploads or files.services.commit.
    """

    STAGED = "staged"
    COMMITTED = "committed"
    FAILED = "failed"
    EXPIRED = "expired"


class UploadQuerySet(models.QuerySet["Upload"]):
    def live(self) -> "UploadQuerySet":
        """Deliveries that are neither committed nor given up."""
        return self.filter(state=UploadState.STAGED)


class Upload(models.Model):
    """One delivery of one product into staging.

    Several live ones may exist for a name; which one becomes the file is decided at commit, where `committing_name`
    (unique among live uploads) is claimed. `claim` names the process that commits it now and until when that is
    believed; `commit_asked_at` says that a client asked, so that a commit cut short is finished by a sweeper.

    A resumable upload (kind tus) declares the length of its stream; `offset_bytes` of it are known to be on disk, more
    may have arrived. `arrived_digests` are of the whole stream, written only if one process saw every byte come in.
    """

    MOVES = {
        UploadState.STAGED: {UploadState.COMMITTED, UploadState.FAILED, UploadState.EXPIRED},
        UploadState.COMMITTED: set(),
        UploadState.FAILED: set(),
        UploadState.EXPIRED: set(),
    }

    id = models.AutoField(primary_key=True)  # `transfer_id` on the wire, 32 bits
    kind = models.CharField(max_length=8, choices=UploadKind)
    state = models.CharField(max_length=16, choices=UploadState, default=UploadState.STAGED)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    owner_name = models.CharField(max_length=64)
    store = models.ForeignKey(Store, on_delete=models.PROTECT, related_name="+")
    token = models.CharField(max_length=12, blank=True, help_text="its directory in staging; empty: already in place")

    upload_name = models.CharField(max_length=256, blank=True, help_text="as the client called it")
    destination = models.CharField(max_length=4096, help_text="as the client asked for it")
    uploader = models.CharField(max_length=256)
    source = models.CharField(max_length=256)
    size_bytes = models.BigIntegerField(help_text="declared")
    content = models.CharField(max_length=16, choices=UploadContent, default=UploadContent.FILE)
    length_bytes = models.BigIntegerField(default=0, help_text="of the stream that brings it; 0: it comes otherwise")
    offset_bytes = models.BigIntegerField(default=0, help_text="of the stream, known to be on disk")
    arrived_digests = models.TextField(blank=True, help_text="of the whole stream: JSON, algorithm to hex digest")
    metadata = models.TextField(blank=True, help_text="Upload-Metadata as the client sent it")
    is_committed_when_complete = models.BooleanField(default=False, help_text="without a call that asks for it")
    reserved_bytes = models.BigIntegerField(default=0, help_text="held free on the store for it")
    checksum = models.CharField(max_length=140, blank=True, help_text="declared, <algorithm>:::<hex>")
    digest = models.CharField(max_length=64, blank=True, help_text="declared by a peer: SHA-256 or tree digest")
    obsid = models.BigIntegerField(null=True, blank=True)
    null_obsid = models.BooleanField(default=False)
    deletion_policy = models.IntegerField(choices=DeletionPolicy, default=DeletionPolicy.DISALLOWED)
    first_registered_at = models.DateTimeField(null=True, blank=True, help_text="when it comes from one of our sites")

    committing_name = models.CharField(max_length=256, blank=True)
    place = models.CharField(max_length=4096, blank=True, help_text="where it goes on the store, once decided")
    commit_asked_at = models.DateTimeField(null=True, blank=True)
    claim = models.CharField(max_length=128, blank=True)
    claim_until = models.DateTimeField(null=True, blank=True)

    created_at = models.DateTimeField(default=timezone.now)
    staging_changed_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    file = models.ForeignKey(File, null=True, blank=True, on_delete=models.PROTECT, related_name="uploads")
    outcome = models.CharField(max_length=16, blank=True, help_text="of a committed one: new, already here, restored")
    products = models.TextField(blank=True, help_text="of a batch: how each product fared, a JSON object a line")
    failure_code = models.CharField(max_length=64, blank=True)
    failure_reason = models.TextField(blank=True)

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=UploadKind.values), name="upload_kind_is_known"),
            models.CheckConstraint(condition=Q(state__in=UploadState.values), name="upload_state_is_known"),
            models.CheckConstraint(
                condition=Q(state="staged", finished_at__isnull=True)
                | (~Q(state="staged") & Q(finished_at__isnull=False, reserved_bytes=0, claim="")),
                name="finished_upload_holds_nothing",
            ),
            models.CheckConstraint(
                condition=~Q(state="committed") | Q(file__isnull=False) | Q(content="batch"),
                name="committed_upload_has_a_file",
            ),
            models.CheckConstraint(condition=Q(content__in=UploadContent.values), name="upload_content_is_known"),
            models.CheckConstraint(condition=~Q(state="failed") | ~Q(failure_reason=""), name="failed_upload_says_why"),
            models.CheckConstraint(
                condition=Q(size_bytes__gte=0, offset_bytes__gte=0, reserved_bytes__gte=0, length_bytes__gte=0),
                name="upload_sizes_are_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(offset_bytes__lte=models.F("length_bytes")), name="upload_holds_no_more_than_its_length"
            ),
            models.UniqueConstraint(
                fields=["committing_name"],
                condition=Q(state="staged") & ~Q(committing_name=""),
                name="one_live_commit_per_name",
            ),
            models.UniqueConstraint(fields=["token"], condition=~Q(token=""), name="one_upload_per_token"),
        ]
        indexes = [
            models.Index(fields=["store"], condition=Q(state="staged"), name="upload_live_by_store"),
            models.Index(fields=["expires_at"], condition=Q(state="staged"), name="upload_live_by_expiry"),
            models.Index(fields=["finished_at"], name="upload_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} {self.state}"
