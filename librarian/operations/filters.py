"""What errors, runs of jobs and audit entries can be searched by."""

from django.db.models import QuerySet

from files.lookups import escape_like
from librarian.common.filters import ArchiveFilterSet, OneOfFilter, TextFilter, TimeFilter, YesNoFilter
from librarian.common.models import AuditEntry, Category, ErrorRecord, JobRun, RunOutcome, Severity

_TIME = "(ISO 8601 or Julian Date, UTC)."


class ErrorFilterSet(ArchiveFilterSet):
    """Troubles by how bad they are, what they are, and whether they are still open."""

    open = YesNoFilter("cleared_at", "isnull", help_text="Whether nobody and nothing has cleared it yet.")
    severity = OneOfFilter(field_name="severity", choices=Severity.choices, help_text="How much it matters.")
    category = OneOfFilter(field_name="category", choices=Category.choices, help_text="What kind of trouble.")
    code = TextFilter("code", max_length=64, help_text="Stable name of the trouble, as in docs/errors.md.")
    caller = TextFilter("caller", max_length=128, help_text="Job, command or endpoint that met it.")
    raised_after = TimeFilter("last_raised_at", "gte", help_text=f"Last met at or after this time {_TIME}")
    raised_before = TimeFilter("raised_at", "lt", help_text=f"First met before this time {_TIME}")

    class Meta:
        model = ErrorRecord
        fields: list[str] = []


class RunFilterSet(ArchiveFilterSet):
    """Runs of jobs by job, outcome and time."""

    job = TextFilter("job", max_length=64, help_text="Runs of this job.")
    target = TextFilter("target", max_length=128, help_text="Runs on this target.")
    outcome = OneOfFilter(field_name="outcome", choices=RunOutcome.choices, help_text="How the run ended.")
    trigger = TextFilter("trigger", max_length=16, help_text="What started it: schedule, person or command.")
    started_after = TimeFilter("started_at", "gte", help_text=f"Started at or after this time {_TIME}")
    started_before = TimeFilter("started_at", "lt", help_text=f"Started before this time {_TIME}")

    class Meta:
        model = JobRun
        fields: list[str] = []


class AuditFilterSet(ArchiveFilterSet):
    """Acts of staff by who did what to whom, and when."""

    actor = TextFilter("actor_name", max_length=64, help_text="Done by the account of this name.")
    action = TextFilter("action", max_length=64, help_text="What was done, such as issue_token.")
    subject_contains = TextFilter(
        method="with_subject", max_length=300, help_text="Done to something with this text in its name; case counts."
    )
    after = TimeFilter("at", "gte", help_text=f"At or after this time {_TIME}")
    before = TimeFilter("at", "lt", help_text=f"Before this time {_TIME}")

    class Meta:
        model = AuditEntry
        fields: list[str] = []

    def with_subject(self, queryset: QuerySet[AuditEntry], name: str, value: str) -> QuerySet[AuditEntry]:
        return queryset.filter(subject__like=f"%{escape_like(value)}%")
