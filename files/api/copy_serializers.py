"""What version 3 says of copies between our stores and of offloads. Times are ISO 8601 in UTC."""

from typing import Any

from rest_framework import serializers

from files.copy_queries import CopyRow, offload_rows
from files.models import CopyState, Offload, OffloadState, StoreCopy
from librarian.common.resources import StrictSerializer
from stores.queries import named, store_names

LARGEST_PRIORITY = 2**31 - 1


class StoreCopySerializer(serializers.Serializer):
    """One file that is to have a copy on the first of some stores that takes it."""

    id = serializers.IntegerField(source="copy.pk", help_text="Id of the row.")
    file = serializers.CharField(source="copy.file.name", help_text="Name of the file.")
    state = serializers.ChoiceField(CopyState.choices, source="copy.state", help_text="Where the copy stands.")
    targets = serializers.ListField(
        child=serializers.CharField(), help_text="Names of stores, in the order in which they are filled."
    )
    store = serializers.CharField(
        source="copy.store.name", default=None, help_text="Store that took it, or takes it; null: none yet."
    )
    source_store = serializers.CharField(
        source="copy.source.store.name", default=None, help_text="Store that it is read from; null: not chosen."
    )
    group = serializers.CharField(
        source="copy.group", help_text="What wants it: order:<id>, offload:<id> or person:<name>."
    )
    asked_by = serializers.CharField(source="copy.asked_by", help_text="Who wanted it, when a person did.")
    priority = serializers.IntegerField(source="copy.priority", help_text="Higher numbers are copied first.")
    size_bytes = serializers.IntegerField(source="copy.size_bytes", help_text="Size of the file, bytes.")
    copied_bytes = serializers.IntegerField(source="copy.copied_bytes", help_text="Bytes that are there, bytes.")
    attempts = serializers.IntegerField(source="copy.attempts", help_text="How often it was tried.")
    code = serializers.CharField(source="copy.code", help_text="Stable name of why it waits or failed; may be empty.")
    reason = serializers.CharField(source="copy.reason", help_text="Why it waits or failed; may be empty.")
    remedy = serializers.CharField(source="copy.remedy", help_text="What mends that; may be empty.")
    standing = serializers.CharField(source="standing.sentence", help_text="What it waits for, in a sentence.")
    next_at = serializers.DateTimeField(
        source="standing.next_at", allow_null=True, help_text="When it goes on by itself; null: with the next event."
    )
    mended_by = serializers.CharField(source="standing.who", help_text="Who can make it go on.")
    created_at = serializers.DateTimeField(source="copy.created_at", help_text="When it was wanted.")
    changed_at = serializers.DateTimeField(source="copy.changed_at", help_text="In this state since.")
    finished_at = serializers.DateTimeField(
        source="copy.finished_at", allow_null=True, help_text="When it ended; null while it goes on."
    )

    def to_representation(self, instance: StoreCopy) -> dict[str, Any]:
        if "store_names" not in self.context:  # read once for a whole list
            self.context["store_names"] = store_names()
        return super().to_representation(CopyRow(instance, named(instance.targets, self.context["store_names"])))


class WantedCopiesSerializer(StrictSerializer):
    """Files that a person wants on stores of this site."""

    files = serializers.ListField(
        child=serializers.CharField(max_length=4096),
        min_length=1,
        max_length=10_000,
        help_text="Names of the files, 1 to 10000.",
    )
    targets = serializers.ListField(
        child=serializers.CharField(max_length=64),
        min_length=1,
        max_length=100,
        help_text="Names of stores, in the order in which they are filled.",
    )
    priority = serializers.IntegerField(
        default=0,
        min_value=-LARGEST_PRIORITY,
        max_value=LARGEST_PRIORITY,
        help_text="Files of a higher number are copied first.",
    )


class QueuedCopiesSerializer(serializers.Serializer):
    """How many of the files are copied."""

    targets = serializers.ListField(child=serializers.CharField(), help_text="Names of the stores.")
    count = serializers.IntegerField(
        help_text="Copies that are to be made; files that are on one of the stores, or on their way, are left out."
    )


class OffloadSerializer(serializers.Serializer):
    """A store that is emptied: every file of it gets a verified copy elsewhere."""

    id = serializers.IntegerField(source="offload.pk", help_text="Id of the offload.")
    store = serializers.CharField(source="offload.store.name", help_text="Name of the store that is emptied.")
    targets = serializers.ListField(
        child=serializers.CharField(), help_text="Names of stores, in the order in which they are filled."
    )
    drains = serializers.BooleanField(source="offload.drains", help_text="The store is to be taken out of service.")
    search = serializers.CharField(
        source="offload.search", help_text="Only files that match, in the JSON search language; empty: all."
    )
    state = serializers.ChoiceField(OffloadState.choices, source="offload.state", help_text="Where it stands.")
    problem = serializers.CharField(source="offload.problem", help_text="What keeps it from going on; may be empty.")
    files_total = serializers.IntegerField(source="progress.files_total", help_text="Files that it is about.")
    files_safe = serializers.IntegerField(
        source="progress.files_safe", help_text="Of these, files with a verified copy elsewhere."
    )
    files_left = serializers.IntegerField(source="progress.files_left", help_text="Files without one.")
    bytes_left = serializers.IntegerField(source="progress.bytes_left", help_text="Size of those, bytes.")
    files_failed = serializers.IntegerField(
        source="progress.files_failed", help_text="Files that are not tried again before a person wants it."
    )
    created_by = serializers.CharField(source="offload.created_by", help_text="Who began it; empty for a command.")
    created_at = serializers.DateTimeField(source="offload.created_at", help_text="When it was begun.")
    changed_at = serializers.DateTimeField(source="offload.changed_at", help_text="In this state since.")
    finished_at = serializers.DateTimeField(
        source="offload.finished_at", allow_null=True, help_text="When it ended; null while it goes on."
    )

    def to_representation(self, instance: Offload) -> dict[str, Any]:
        return super().to_representation(offload_rows([instance])[0])


class NewOffloadSerializer(StrictSerializer):
    """A store that is to be emptied."""

    store = serializers.CharField(max_length=64, help_text="Name of the store that is emptied.")
    targets = serializers.ListField(
        child=serializers.CharField(max_length=64),
        min_length=1,
        max_length=100,
        help_text="Names of stores, in the order in which they are filled.",
    )
    drains = serializers.BooleanField(
        default=False, help_text="The store is to be taken out of service: it takes no new files from now on."
    )
    search = serializers.CharField(
        default="",
        allow_blank=True,
        trim_whitespace=False,
        help_text="Only files that match, in the JSON search language, as text; all files if left out.",
    )
