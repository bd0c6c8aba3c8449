"""What is archived: immutable named products, and the entries of those that are directories."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from hera_librarian.checksums import Checksum, parse_checksum

HEX64 = r"^[0-9a-f]{64}$"
UNSAFE_PATH = r"(^|/)(\.\.?)?(/|$)"  # absolute, climbing, or with an empty component


class FileKind(models.TextChoices):
    FLAT = "flat"
    DIRECTORY = "directory"


class FileQuerySet(models.QuerySet["File"]):
    def with_copies(self) -> "FileQuerySet":
        """Annotate `local_count` (present instances here) and `remote_count` (known remote instances)."""
        from files.models.instance import Instance, Presence
        from files.models.remote_instance import RemoteInstance

        def count(rows: models.QuerySet) -> models.Subquery:
            counted = rows.filter(file=models.OuterRef("pk")).order_by().values("file").annotate(n=models.Count("pk"))
            return models.functions.Coalesce(models.Subquery(counted.values("n")), 0)

        return self.annotate(
            local_count=count(Instance.objects.filter(presence=Presence.PRESENT)),
            remote_count=count(RemoteInstance.objects.all()),
        )


class File(models.Model):
    """An immutable named data product: a flat file or a directory tree.

    Its name is for ever and its bytes never change: apart from `obsid` no column is ever updated and no row deleted,
    which a trigger holds (files/sql). Written by `files.services.registration` alone.

    `digest` is the SHA-256 of a flat file and the tree digest of a directory (docs/glossary.md); `checksum` is what the
    client declared, in the form of the wire. `registered_at` is when this site learned of the file,
    `first_registered_at` when the first of our sites did.
    """

    name = models.CharField(max_length=256, unique=True)
    kind = models.CharField(max_length=16, choices=FileKind)
    size_bytes = models.BigIntegerField()
    checksum = models.CharField(max_length=140, help_text="as declared, <algorithm>:::<hex>")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the bytes, or the tree digest of a directory")
    uploader = models.CharField(max_length=256)
    source = models.CharField(max_length=256, help_text="who or what brought the file to this site")
    obsid = models.BigIntegerField(null=True, blank=True, help_text="start of its observation in whole GPS seconds")
    registered_at = models.DateTimeField(default=timezone.now)
    first_registered_at = models.DateTimeField(default=timezone.now)

    objects = FileQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(name="") & ~Q(name__regex=UNSAFE_PATH), name="file_name_is_legal"),
            models.CheckConstraint(condition=Q(kind__in=FileKind.values), name="file_kind_is_known"),
            models.CheckConstraint(condition=Q(size_bytes__gte=0), name="file_size_is_not_negative"),
            models.CheckConstraint(condition=Q(digest__regex=HEX64), name="file_digest_is_lower_hex"),
            models.CheckConstraint(
                condition=Q(checksum__regex=r"^(md5|xxh3|sha1|sha256|sha512):::[0-9a-f]{32,128}$"),
                name="file_checksum_names_its_algorithm",
            ),
            models.CheckConstraint(condition=Q(obsid__isnull=True) | Q(obsid__gte=0), name="file_obsid_is_gps_time"),
        ]
        indexes = [
            models.Index(fields=["-registered_at", "-id"], name="file_by_time"),
            # Each with the order of the lists, so that a rare value and a common one are read alike.
            models.Index(fields=["obsid", "-registered_at", "-id"], name="file_by_obsid"),
            models.Index(fields=["uploader", "-registered_at", "-id"], name="file_by_uploader"),
            models.Index(fields=["source", "-registered_at", "-id"], name="file_by_source"),
            models.Index(fields=["size_bytes"], name="file_by_size"),
            models.Index(fields=["digest"], name="file_by_digest"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def declared(self) -> Checksum:
        """The declared checksum, taken apart."""
        return parse_checksum(self.checksum)

    @property
    def is_directory(self) -> bool:
        return self.kind == FileKind.DIRECTORY

    @property
    def base_name(self) -> str:
        """Last component of the name."""
        return self.name.rpartition("/")[2]


class FileMember(models.Model):
    """One entry of a directory product: a file, or an empty directory. Together they give the tree digest."""

    class Kind(models.TextChoices):
        FILE = "file"
        EMPTY_DIRECTORY = "empty_directory", "empty directory"

    file = models.ForeignKey(File, on_delete=models.PROTECT, related_name="members")
    kind = models.CharField(max_length=16, choices=Kind)
    path = models.CharField(max_length=4096)
    size_bytes = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["id"]  # the order of the tree digest
        constraints = [
            models.UniqueConstraint(fields=["file", "path"], name="one_member_per_path"),
            models.CheckConstraint(condition=~Q(path="") & ~Q(path__regex=UNSAFE_PATH), name="member_path_is_legal"),
            models.CheckConstraint(
                condition=Q(kind="file", size_bytes__gte=0, sha256__regex=HEX64)
                | Q(kind="empty_directory", size_bytes=0, sha256=""),
                name="member_file_has_digest",
            ),
        ]

    def __str__(self) -> str:
        return self.path
