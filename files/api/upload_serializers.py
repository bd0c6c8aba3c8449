"""What version 3 says of resumable uploads. Sizes in bytes, times ISO 8601 in UTC."""

import json
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from files.models import Upload, UploadContent, UploadState
from files.names import normalise_name
from files.services.arrivals import arrived_bytes
from librarian.common.errors import ArchiveError, rebuild_error


class UploadSerializer(serializers.ModelSerializer):
    """One upload."""

    id = serializers.IntegerField(help_text="Id of the upload, the last part of its address.")
    content = serializers.ChoiceField(UploadContent.choices, help_text="What its bytes are.")
    state = serializers.ChoiceField(UploadState.choices, help_text="Where it stands.")
    destination = serializers.CharField(help_text="What the client called it.")
    name = serializers.SerializerMethodField(help_text="How that is filed here; empty for a batch.")
    length_bytes = serializers.IntegerField(help_text="Length of the stream, bytes.")
    offset_bytes = serializers.SerializerMethodField(help_text="How much of the stream has arrived, bytes.")
    size_bytes = serializers.IntegerField(
        help_text="Size of the product, bytes; of a tar stream its length until then."
    )
    checksum = serializers.SerializerMethodField(
        help_text="Checksum of the product, <algorithm>:::<hex>, as declared or as kept; empty while neither is known."
    )
    created_at = serializers.DateTimeField(help_text="When it began.")
    expires_at = serializers.DateTimeField(allow_null=True, help_text="When it is given up unless more comes.")
    outcome = serializers.CharField(help_text="Of a committed one: new, already here, restored.")
    file = serializers.CharField(source="file.name", default=None, help_text="Name of the file it became, or null.")
    code = serializers.CharField(source="failure_code", help_text="Of a failed one: code of the error.")
    reason = serializers.CharField(source="failure_reason", help_text="Of a failed one: why.")
    suggested_remedy = serializers.SerializerMethodField(help_text="Of a failed one: what to do.")

    class Meta:
        model = Upload
        fields = [
            "id",
            "content",
            "state",
            "destination",
            "name",
            "length_bytes",
            "offset_bytes",
            "size_bytes",
            "checksum",
            "created_at",
            "expires_at",
            "outcome",
            "file",
            "code",
            "reason",
            "suggested_remedy",
        ]
        read_only_fields = fields

    def get_name(self, upload: Upload) -> str:
        return "" if upload.content == UploadContent.BATCH else normalise_name(upload.destination).name

    def get_offset_bytes(self, upload: Upload) -> int:
        return upload.offset_bytes

    def get_checksum(self, upload: Upload) -> str:
        return upload.file.checksum if upload.file else upload.checksum

    def get_suggested_remedy(self, upload: Upload) -> str:
        if not upload.failure_code:
            return ""
        error: ArchiveError = rebuild_error(upload.failure_code, upload.failure_reason)
        return error.suggested_remedy


class ProductSerializer(serializers.Serializer):
    """How one product of a batch fared."""

    path = serializers.CharField(help_text="Its path in the tar.")
    name = serializers.CharField(help_text="Its name as filed.")
    outcome = serializers.CharField(help_text="new, already here, restored or failed.")
    size_bytes = serializers.IntegerField(help_text="Size, bytes.")
    checksum = serializers.CharField(help_text="Checksum as kept, <algorithm>:::<hex>.")
    code = serializers.CharField(required=False, help_text="Of a failed one: code of the error.")
    reason = serializers.CharField(required=False, help_text="Of a failed one: why.")
    suggested_remedy = serializers.CharField(required=False, help_text="Of a failed one: what to do.")


class UploadDetailSerializer(UploadSerializer):
    """One upload with how each of its products fared."""

    products = serializers.SerializerMethodField(help_text="Of a committed batch: each product in the stream's order.")

    class Meta(UploadSerializer.Meta):
        fields = [*UploadSerializer.Meta.fields, "products"]
        read_only_fields = fields

    def get_offset_bytes(self, upload: Upload) -> int:
        return arrived_bytes(upload)

    @extend_schema_field(ProductSerializer(many=True))
    def get_products(self, upload: Upload) -> list[dict[str, Any]]:
        return [json.loads(line) for line in upload.products.splitlines()]


class CommitSerializer(serializers.Serializer):
    """What the bytes must be."""

    checksum = serializers.CharField(
        required=False,
        max_length=140,
        help_text="Of the product, <algorithm>:::<hex>; for a directory the wire's rule.",
    )
    stream_checksum = serializers.CharField(
        required=False, max_length=140, help_text="Of the bytes as they were sent, <algorithm>:::<hex>."
    )
