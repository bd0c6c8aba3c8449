"""What version 3 says of the running of the site. Times are ISO 8601 in UTC."""

from typing import Any

from rest_framework import serializers

from librarian.common.models import AuditEntry, Category, ErrorRecord, JobRun, RunOutcome, Severity


class ErrorRecordSerializer(serializers.ModelSerializer):
    """One trouble; repeats of an open one raise its count."""

    id = serializers.IntegerField(help_text="Id of the error, as on the wire.")
    severity = serializers.ChoiceField(Severity.choices, help_text="How much it matters.")
    category = serializers.ChoiceField(Category.choices, help_text="What kind of trouble.")
    code = serializers.CharField(help_text="Stable name of the trouble, as in docs/errors.md.")
    message = serializers.CharField(help_text="What happened, as met last.")
    remedy = serializers.CharField(help_text="What mends it.")
    caller = serializers.CharField(help_text="Job, command or endpoint that met it; may be empty.")
    count = serializers.IntegerField(help_text="How often it was met since it was last cleared.")
    raised_at = serializers.DateTimeField(help_text="When it was first met.")
    last_raised_at = serializers.DateTimeField(help_text="When it was last met.")
    cleared_at = serializers.DateTimeField(allow_null=True, help_text="When it was cleared; null while it is open.")
    cleared_by = serializers.CharField(help_text="Who or what cleared it; empty while it is open.")

    class Meta:
        model = ErrorRecord
        fields = [
            "id",
            "severity",
            "category",
            "code",
            "message",
            "remedy",
            "caller",
            "count",
            "raised_at",
            "last_raised_at",
            "cleared_at",
            "cleared_by",
        ]
        read_only_fields = fields


class ErrorCountSerializer(serializers.Serializer):
    """Open troubles of one severity and category."""

    severity = serializers.ChoiceField(Severity.choices, help_text="How much they matter.")
    category = serializers.ChoiceField(Category.choices, help_text="What kind of trouble.")
    open_count = serializers.IntegerField(help_text="Number of open troubles.")
    last_raised_at = serializers.DateTimeField(help_text="When one of them was last met.")


class ErrorSummarySerializer(serializers.Serializer):
    """Open troubles, counted."""

    open_count = serializers.IntegerField(help_text="Number of open troubles in all.")
    results = ErrorCountSerializer(many=True, help_text="The same by severity and category, worst first.")


class JobRunSerializer(serializers.ModelSerializer):
    """One run of a job."""

    id = serializers.IntegerField(help_text="Id of the run.")
    job = serializers.CharField(help_text="Name of the job.")
    target = serializers.CharField(help_text="What it worked on; empty for a job without targets.")
    cluster = serializers.CharField(help_text="Cluster whose worker ran it; empty for a command.")
    trigger = serializers.CharField(help_text="schedule, person or command.")
    asked_by = serializers.CharField(help_text="Who wanted it, when a person did.")
    worker = serializers.CharField(help_text="Host and process that ran it.")
    outcome = serializers.ChoiceField(RunOutcome.choices, help_text="How it ended.")
    started_at = serializers.DateTimeField(help_text="When it began.")
    finished_at = serializers.DateTimeField(allow_null=True, help_text="When it ended; null while it runs.")
    duration_seconds = serializers.SerializerMethodField(help_text="How long it took, seconds; null while it runs.")
    summary = serializers.JSONField(help_text="What it did, in numbers that the job chooses.")
    error = serializers.CharField(help_text="Why it failed, with the traceback; empty if it did not.")

    class Meta:
        model = JobRun
        fields = [
            "id",
            "job",
            "target",
            "cluster",
            "trigger",
            "asked_by",
            "worker",
            "outcome",
            "started_at",
            "finished_at",
            "duration_seconds",
            "summary",
            "error",
        ]
        read_only_fields = fields

    def get_duration_seconds(self, run: JobRun) -> float | None:
        return (run.finished_at - run.started_at).total_seconds() if run.finished_at else None


class LastRunSerializer(serializers.Serializer):
    """How a job's latest run went, without particulars."""

    outcome = serializers.ChoiceField(RunOutcome.choices, help_text="How it ended.")
    started_at = serializers.DateTimeField(help_text="When it began.")
    finished_at = serializers.DateTimeField(allow_null=True, help_text="When it ended; null while it runs.")


class JobSerializer(serializers.Serializer):
    """One row of the table of periodic jobs, with what staff changed of it."""

    name = serializers.CharField(source="job.name", help_text="Name of the job.")
    why = serializers.CharField(source="job.why", help_text="What it is there for.")
    cluster = serializers.CharField(source="job.cluster", help_text="Cluster that runs it.")
    enabled = serializers.BooleanField(help_text="Whether it runs by itself.")
    every_seconds = serializers.IntegerField(help_text="Cadence in force, seconds.")
    time_box_seconds = serializers.IntegerField(
        source="job.time_box_seconds", help_text="When a run is ended, done or not, seconds."
    )
    last_run = LastRunSerializer(allow_null=True, help_text="Its latest run; null if it never ran.")
    next_run = serializers.DateTimeField(allow_null=True, help_text="When it is wanted next; null if switched off.")
    overdue_since = serializers.DateTimeField(
        allow_null=True, help_text="Since when it should have run and did not; null if it runs as it should."
    )


class JobTableSerializer(serializers.Serializer):
    """Every periodic job, in the order of the table."""

    results = JobSerializer(many=True, help_text="The jobs.")


class RunNowSerializer(serializers.Serializer):
    """A wish to run a job."""

    target = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=128,
        help_text="What it is to work on, if it has targets.",
    )
    options = serializers.DictField(
        required=False,
        default=dict,
        help_text="Options of the job, such as an age limit; names and units are the job's.",
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        values = super().to_internal_value(data)
        if unknown := sorted(set(data) - set(self.fields)):
            raise serializers.ValidationError({unknown[0]: "There is no such field; known are target and options."})
        return values


class QueuedSerializer(serializers.Serializer):
    """The answer to a wish: its run appears among the runs as soon as a worker is free."""

    job = serializers.CharField(help_text="Name of the job.")
    target = serializers.CharField(help_text="What it will work on; may be empty.")
    queued_at = serializers.DateTimeField(help_text="When the wish was queued.")


class AuditEntrySerializer(serializers.ModelSerializer):
    """One act of a person or program with rights over others."""

    id = serializers.IntegerField(help_text="Id of the entry.")
    at = serializers.DateTimeField(help_text="When it was done.")
    actor = serializers.CharField(source="actor_name", help_text="Account that did it, or user@host for a command.")
    address = serializers.CharField(help_text="Where the request came from; empty for a command.")
    action = serializers.CharField(help_text="What was done.")
    subject = serializers.CharField(help_text="What it was done to.")
    facts = serializers.JSONField(help_text="Particulars; names and units depend on the action.")

    class Meta:
        model = AuditEntry
        fields = ["id", "at", "actor", "address", "action", "subject", "facts"]
        read_only_fields = fields
