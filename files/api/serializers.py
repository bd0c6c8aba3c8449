"""What version 3 says of files, their members, copies and histories. Times are ISO 8601 in UTC, sizes in bytes."""

import json
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from files.copies import CopyState, copy_state
from files.models import Condition, File, FileEvent, FileMember, Instance, Presence, RemoteInstance
from files.models.file import FileKind
from librarian.common.errors import ArchiveError


class InstanceSerializer(serializers.ModelSerializer):
    """A copy of a file on one of this site's stores."""

    id = serializers.IntegerField(help_text="Id of the copy, as on the wire.")
    file = serializers.CharField(source="file.name", help_text="Name of the file.")
    store = serializers.CharField(source="store.name", help_text="Name of the store.")
    path = serializers.CharField(help_text="Place on the store, relative to its root.")
    location = serializers.SerializerMethodField(
        help_text="Address for people and other programs: the absolute path on a store that is a directory of the "
        "server, host:/path on one reached by SSH, s3://bucket/key in a bucket; empty if it has none."
    )
    size_bytes = serializers.IntegerField(source="file.size_bytes", help_text="Size of the file, bytes.")
    presence = serializers.ChoiceField(Presence.choices, help_text="Where the copy stands; only present ones are read.")
    condition = serializers.ChoiceField(
        Condition.choices, help_text="What the latest look at the bytes found; unknown: could not look."
    )
    condition_at = serializers.DateTimeField(allow_null=True, help_text="Time of that look, null if there was none.")
    deletion_policy = serializers.IntegerField(
        help_text="Whether the copy may ever be erased: 0 disallowed, 1 allowed, as on the wire."
    )
    created_at = serializers.DateTimeField(help_text="When the copy was made.")

    class Meta:
        model = Instance
        fields = [
            "id",
            "file",
            "store",
            "path",
            "location",
            "size_bytes",
            "presence",
            "condition",
            "condition_at",
            "deletion_policy",
            "created_at",
        ]
        read_only_fields = fields

    def get_location(self, instance: Instance) -> str:
        try:
            return str(instance.store.backend.locate(instance.path))
        except ArchiveError:  # a kind of store that this version cannot hold: the row is still told
            return ""


class RemoteInstanceSerializer(serializers.ModelSerializer):
    """A copy that a directly connected site has confirmed."""

    peer = serializers.CharField(source="peer_name", help_text="Name of the site that holds it.")
    peer_store_id = serializers.IntegerField(help_text="Id of the store at that site.")
    sender = serializers.CharField(help_text="Name of the site that sent it; empty if not known.")
    copied_at = serializers.DateTimeField(help_text="When the copy was confirmed.")

    class Meta:
        model = RemoteInstance
        fields = ["peer", "peer_store_id", "sender", "copied_at"]
        read_only_fields = fields


class FileSerializer(serializers.ModelSerializer):
    """A file and how many copies of it are known."""

    name = serializers.CharField(help_text="Name as filed here; for ever.")
    kind = serializers.ChoiceField(FileKind.choices, help_text="Flat file or directory product.")
    size_bytes = serializers.IntegerField(help_text="Size, bytes; of a directory the sum of its files.")
    checksum = serializers.CharField(help_text="As its uploader declared it: <algorithm>:::<hex>.")
    digest = serializers.CharField(help_text="SHA-256 of a flat file, tree digest of a directory; lower-case hex.")
    uploader = serializers.CharField(help_text="Who uploaded it.")
    source = serializers.CharField(help_text="Who or what brought it to this site.")
    obsid = serializers.IntegerField(
        allow_null=True, help_text="Start of its observation in whole GPS seconds; null if not known."
    )
    registered_at = serializers.DateTimeField(help_text="When this site learned of it.")
    first_registered_at = serializers.DateTimeField(help_text="When the first of our sites learned of it.")
    copies = serializers.SerializerMethodField(help_text="Where copies are known to be.")
    local_count = serializers.IntegerField(help_text="Number of present copies at this site.")
    remote_count = serializers.IntegerField(help_text="Number of copies that directly connected sites confirmed.")

    class Meta:
        model = File
        fields = [
            "name",
            "kind",
            "size_bytes",
            "checksum",
            "digest",
            "uploader",
            "source",
            "obsid",
            "registered_at",
            "first_registered_at",
            "copies",
            "local_count",
            "remote_count",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(CopyState.choices, help_text="Where copies are known to be."))
    def get_copies(self, file: File) -> str:
        return copy_state(local_count=file.local_count, remote_count=file.remote_count).value


class FileDetailSerializer(FileSerializer):
    """A file with every copy that is known of it."""

    instances = InstanceSerializer(many=True, help_text="Every copy at this site, also those that are gone.")
    remote_instances = RemoteInstanceSerializer(many=True, help_text="Every copy that other sites confirmed.")
    event_count = serializers.SerializerMethodField(help_text="Number of lines in its history.")

    class Meta(FileSerializer.Meta):
        fields = [*FileSerializer.Meta.fields, "instances", "remote_instances", "event_count"]
        read_only_fields = fields

    def get_event_count(self, file: File) -> int:
        return file.head.count if hasattr(file, "head") else 0


class MemberSerializer(serializers.ModelSerializer):
    """One entry of a directory product."""

    kind = serializers.ChoiceField(FileMember.Kind.choices, help_text="A file, or a directory with nothing in it.")
    path = serializers.CharField(help_text="Path below the product, with / between components.")
    size_bytes = serializers.IntegerField(help_text="Size, bytes; 0 for an empty directory.")
    sha256 = serializers.CharField(help_text="SHA-256 of its bytes, lower-case hex; empty for an empty directory.")

    class Meta:
        model = FileMember
        fields = ["kind", "path", "size_bytes", "sha256"]
        read_only_fields = fields


class EventSerializer(serializers.ModelSerializer):
    """One line of a file's history. Its digest is SHA-256 over the previous line's digest and `text`."""

    file = serializers.CharField(source="file.name", help_text="Name of the file.")
    number = serializers.IntegerField(help_text="Number of the line in the file's history, from 1.")
    type = serializers.CharField(help_text="What happened.")
    at = serializers.DateTimeField(help_text="When it happened.")
    actor = serializers.CharField(help_text="Who or what did it.")
    facts = serializers.SerializerMethodField(help_text="Particulars; names and units depend on the type.")
    text = serializers.CharField(help_text="The line as it is stored and digested: canonical JSON.")
    digest = serializers.CharField(help_text="Digest of the line, lower-case hex.")

    class Meta:
        model = FileEvent
        fields = ["file", "number", "type", "at", "actor", "facts", "text", "digest"]
        read_only_fields = fields

    def get_facts(self, event: FileEvent) -> dict[str, Any]:
        try:
            return json.loads(event.text).get("facts", {})
        except (ValueError, AttributeError):  # a line somebody tampered with is told as it is; verify_events names it
            return {}
