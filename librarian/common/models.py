"""Rows about the running of a site: what went wrong, who runs which job, what ran, what staff did.

None of them knows a file or a store: they name their subject in text, so that they outlive it.
"""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class Severity(models.TextChoices):
    """How much it matters. Values as on the wire."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Category(models.TextChoices):
    """What kind of trouble. Values as on the wire."""

    DATA_INTEGRITY = "data_integrity"
    DATA_AVAILABILITY = "data_availability"
    CONFIGURATION = "configuration"
    STORE_FULL = "store_full"
    PROGRAMMING = "programming"
    LIBRARIAN_NETWORK_AVAILABILITY = "librarian_network_availability"
    TRANSFER = "transfer"


class ErrorRecord(models.Model):
    """One trouble that a person should know of; repeats of an open one raise its count.

    Written by `librarian.common.inbox.report_error`, cleared by a person or by whatever mended it. The message of the
    first and of the latest occurrence may differ in numbers; the latest is kept.
    """

    id = models.AutoField(primary_key=True)  # travels on the wire, 32 bits
    severity = models.CharField(max_length=16, choices=Severity)
    category = models.CharField(max_length=32, choices=Category)
    code = models.CharField(max_length=64, help_text="stable name of the trouble, as in docs/errors.md")
    message = models.TextField()
    remedy = models.TextField(blank=True)
    caller = models.CharField(max_length=128, blank=True, help_text="job, command or endpoint that met it")
    fingerprint = models.CharField(max_length=64, editable=False, help_text="repeats with the same one fold")
    count = models.PositiveIntegerField(default=1)
    raised_at = models.DateTimeField(default=timezone.now)
    last_raised_at = models.DateTimeField(default=timezone.now)
    cleared_at = models.DateTimeField(null=True, blank=True)
    cleared_by = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name = "error"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"], condition=Q(cleared_at__isnull=True), name="one_open_error_per_fingerprint"
            ),
            models.CheckConstraint(condition=Q(count__gte=1), name="error_happened_at_least_once"),
            models.CheckConstraint(condition=Q(severity__in=Severity.values), name="error_severity_is_known"),
            models.CheckConstraint(condition=Q(category__in=Category.values), name="error_category_is_known"),
        ]
        indexes = [
            models.Index(fields=["-last_raised_at"], condition=Q(cleared_at__isnull=True), name="error_open"),
            models.Index(fields=["-raised_at"], name="error_raised_at"),
        ]

    def __str__(self) -> str:
        return f"{self.severity} {self.code}: {self.message[:80]}"


class JobLease(models.Model):
    """Who runs a job on a target. One row per job and target, kept for ever; a higher fencing number wins.

    A holder that was presumed dead may wake up: its last compare-and-set names its fencing number and finds it stale.
    """

    job = models.CharField(max_length=64)
    target = models.CharField(max_length=128, blank=True)
    holder = models.CharField(max_length=128, blank=True, help_text="host:process of who runs it, empty when nobody")
    fencing = models.BigIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "target"], name="one_lease_per_job_and_target")]

    def __str__(self) -> str:
        return f"{self.job} {self.target}".strip()


class RunOutcome(models.TextChoices):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out", "timed out"
    LOST = "lost", "worker lost"
    SKIPPED = "skipped", "skipped, already running"


class JobRun(models.Model):
    """One run of a periodic job: when, by whom, how it ended. The record of jobs (the queue keeps none)."""

    job = models.CharField(max_length=64)
    target = models.CharField(max_length=128, blank=True)
    cluster = models.CharField(max_length=32, blank=True)
    trigger = models.CharField(max_length=16, help_text="schedule, person or command")
    asked_by = models.CharField(max_length=64, blank=True)
    worker = models.CharField(max_length=128, blank=True)
    fencing = models.BigIntegerField(default=0)
    outcome = models.CharField(max_length=16, choices=RunOutcome, default=RunOutcome.RUNNING)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    summary = models.JSONField(default=dict, blank=True, help_text="what it did, in numbers")
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome=RunOutcome.RUNNING, finished_at__isnull=True)
                | (~Q(outcome=RunOutcome.RUNNING) & Q(finished_at__isnull=False)),
                name="finished_run_has_end_time",
            ),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True) | Q(finished_at__gte=F("started_at")),
                name="run_starts_before_it_ends",
            ),
        ]
        indexes = [
            models.Index(fields=["job", "-started_at"], name="run_by_job"),
            models.Index(fields=["-started_at"], name="run_by_time"),
            models.Index(fields=["started_at"], condition=Q(outcome="running"), name="run_open"),
        ]

    def __str__(self) -> str:
        return f"{self.job} {self.started_at:%Y-%m-%d %H:%M:%S} {self.outcome}"


class JobSetting(models.Model):
    """What staff changed of a row of `librarian.schedules`: off, another cadence. No row means the table's own."""

    job = models.CharField(max_length=64, unique=True)
    enabled = models.BooleanField(default=True)
    every_seconds = models.PositiveIntegerField(null=True, blank=True, help_text="seconds; empty: as in the table")
    changed_at = models.DateTimeField(auto_now=True)
    changed_by = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name = "job setting"

    def __str__(self) -> str:
        return self.job


class AuditEntry(models.Model):
    """One act of a person or program with rights over others: only ever appended, kept for ever."""

    at = models.DateTimeField(default=timezone.now)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    actor_name = models.CharField(max_length=64)
    address = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=300)
    facts = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering = ["-id"]
        indexes = [models.Index(fields=["-at"], name="audit_by_time")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor_name} {self.action} {self.subject}"


class SiteFact(models.Model):
    """A fact fixed once for the whole database, such as how files are named here."""

    key = models.CharField(max_length=64, primary_key=True)
    value = models.TextField()

    def __str__(self) -> str:
        return f"{self.key}={self.value}"
