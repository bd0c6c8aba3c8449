"""Staff admin of what runs the site: jobs (switch, time, run now), their runs, the error inbox, the audit trail."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django_q import admin as queue_admin  # noqa: F401  registers its pages now, so that they can be taken away below
from django_q.models import Failure, OrmQ, Schedule, Success

from accounts.addresses import client_address
from librarian.common.admin import ReadOnlyAdmin
from librarian.common.errors import ArchiveError
from librarian.common.jobtable import all_jobs, check_cadence, get_job
from librarian.common.models import AuditEntry, ErrorRecord, JobLease, JobRun, JobSetting, RunOutcome
from librarian.common.timetable import change_job, every_seconds, overdue_since, sync_schedules
from librarian.operations.services import clear_trouble, run_job_now

# The queue's own pages would unpickle arguments and results in the web server, and tell less than JobRun does.
for model in (Failure, OrmQ, Schedule, Success):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


class JobSettingForm(forms.ModelForm):
    """Switch and cadence of one job."""

    class Meta:
        model = JobSetting
        fields = ("enabled", "every_seconds")

    def clean_every_seconds(self) -> int | None:
        seconds = self.cleaned_data["every_seconds"]
        if seconds is None:
            return None
        try:
            check_cadence(seconds)
        except ArchiveError as error:
            raise forms.ValidationError(f"{error.reason} {error.suggested_remedy}") from error
        return seconds


@admin.register(JobSetting)
class JobSettingAdmin(admin.ModelAdmin):
    """One line per job of the table; rows come and go with it."""

    form = JobSettingForm
    list_display = ("job", "enabled", "cadence", "cluster", "last_run", "next_run", "why")
    readonly_fields = ("job", "why", "cadence", "cluster", "last_run", "next_run", "changed_at", "changed_by")
    fields = ("job", "why", "enabled", "every_seconds", *readonly_fields[2:])
    actions = ("run_now", "switch_on", "switch_off")
    ordering = ("job",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: JobSetting | None = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if JobSetting.objects.count() != len(all_jobs()):
            sync_schedules()  # a site that was never started, or jobs that came and went with an upgrade
        if request.method == "GET":
            for name, since in overdue_since().items():
                messages.warning(request, f"{name} has not run although it was due at {since:%Y-%m-%d %H:%M} UTC.")
        return super().changelist_view(request, extra_context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobSetting]:
        runs = JobRun.objects.filter(job=OuterRef("job")).order_by("-started_at")
        schedules = Schedule.objects.filter(name=OuterRef("job"))
        known = super().get_queryset(request).filter(job__in=[job.name for job in all_jobs()])
        return known.annotate(
            ran_at=Subquery(runs.values("started_at")[:1]),
            ran_with=Subquery(runs.values("outcome")[:1]),
            runs_at=Subquery(schedules.values("next_run")[:1]),
        )

    @admin.display(description="What for")
    def why(self, setting: JobSetting) -> str:
        return get_job(setting.job).why

    @admin.display(description="Every")
    def cadence(self, setting: JobSetting) -> str:
        seconds = every_seconds(get_job(setting.job), setting)
        for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
            if seconds % size == 0:
                return f"{seconds // size} {unit}"
        return f"{seconds} s"

    @admin.display(description="Cluster")
    def cluster(self, setting: JobSetting) -> str:
        return get_job(setting.job).cluster

    @admin.display(description="Last run (UTC)", ordering="ran_at")
    def last_run(self, setting: JobSetting) -> str:
        if setting.ran_at is None:
            return "never"
        return f"{setting.ran_at:%Y-%m-%d %H:%M:%S}, {RunOutcome(setting.ran_with).label}"

    @admin.display(description="Next run (UTC)", ordering="runs_at")
    def next_run(self, setting: JobSetting) -> str:
        return f"{setting.runs_at:%Y-%m-%d %H:%M:%S}" if setting.enabled and setting.runs_at else "by hand only"

    def save_model(self, request: HttpRequest, obj: JobSetting, form: forms.ModelForm, change: bool) -> None:
        change_job(
            job=obj.job,
            enabled=obj.enabled,
            every_seconds=obj.every_seconds,
            actor=request.user,
            address=client_address(request) or "",
        )

    @admin.action(description="Run now")
    def run_now(self, request: HttpRequest, queryset: QuerySet[JobSetting]) -> None:
        with transaction.atomic():
            for setting in queryset:
                run_job_now(name=setting.job, actor=request.user, address=client_address(request) or "")
        messages.success(request, "Queued: each runs as soon as a worker of its cluster is free.")

    @admin.action(description="Switch on")
    def switch_on(self, request: HttpRequest, queryset: QuerySet[JobSetting]) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(description="Switch off")
    def switch_off(self, request: HttpRequest, queryset: QuerySet[JobSetting]) -> None:
        self._switch(request, queryset, enabled=False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[JobSetting], *, enabled: bool) -> None:
        for setting in queryset:
            change_job(
                job=setting.job,
                enabled=enabled,
                every_seconds=setting.every_seconds,
                actor=request.user,
                address=client_address(request) or "",
            )
        messages.success(request, "Switched on." if enabled else "Switched off: they run when asked for, not by clock.")


@admin.register(JobRun)
class JobRunAdmin(ReadOnlyAdmin):
    """What ran, when, where, how it ended."""

    list_display = ("started_at", "job", "target", "outcome", "trigger", "asked_by", "cluster", "finished_at", "worker")
    list_filter = ("outcome", "trigger", "cluster", "job")
    search_fields = ("job", "target", "asked_by")


@admin.register(JobLease)
class JobLeaseAdmin(ReadOnlyAdmin):
    """Who is at which job."""

    list_display = ("job", "target", "holder", "fencing", "expires_at")
    ordering = ("job", "target")


@admin.register(ErrorRecord)
class ErrorRecordAdmin(ReadOnlyAdmin):
    """The error inbox. Clearing says: seen to; the next occurrence opens a new line."""

    list_display = ("last_raised_at", "severity", "code", "message", "remedy", "count", "cleared_at")
    list_filter = (("cleared_at", admin.EmptyFieldListFilter), "severity", "category", "code")
    search_fields = ("message", "code", "caller")
    actions = ("clear",)

    @admin.action(description="Clear")
    def clear(self, request: HttpRequest, queryset: QuerySet[ErrorRecord]) -> None:
        for error in queryset.filter(cleared_at__isnull=True):
            clear_trouble(error=error, actor=request.user, address=client_address(request) or "")
        messages.success(request, "Cleared.")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """What staff did."""

    list_display = ("at", "actor_name", "action", "subject", "address")
    list_filter = ("action",)
    search_fields = ("actor_name", "subject")
