"""`GET /api/v3/`: which site this is and what it can do, for clients that have to choose a way in."""

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.levels import Level
from accounts.permissions import level_required
from hera_librarian.version import VERSION
from librarian.common.filters import refuse_unknown_parameters

FEATURES = ["tus", "tar_batch", "archive"]


class SiteSerializer(serializers.Serializer):
    """This site."""

    name = serializers.CharField(help_text="Name by which accounts and peers know it.")
    displayed_name = serializers.CharField(help_text="What it calls itself.")
    description = serializers.CharField(help_text="What it is for.")
    version = serializers.CharField(help_text="Version of the software.")
    features = serializers.ListField(
        child=serializers.CharField(),
        help_text="tus: resumable uploads; tar_batch: many products in one tar; archive: many files as one download.",
    )
    max_upload_size_bytes = serializers.IntegerField(help_text="Largest product or stream that is taken, bytes.")
    directory_products = serializers.ListField(
        child=serializers.CharField(), help_text="Patterns of directories that are one product each."
    )
    host_name = serializers.CharField(help_text="Host on which it runs.")


class SiteFacts(APIView):
    """What a client asks first, also another Librarian."""

    permission_classes = [level_required(Level.READONLY)]

    @extend_schema(operation_id="site", summary="This site", tags=["site"], responses=SiteSerializer)
    def get(self, request: Request) -> Response:
        refuse_unknown_parameters(request.query_params, ["format"])
        return Response(
            {
                "name": settings.LIBRARIAN_NAME,
                "displayed_name": settings.LIBRARIAN_DISPLAYED_NAME,
                "description": settings.LIBRARIAN_DESCRIPTION,
                "version": VERSION,
                "features": FEATURES,
                "max_upload_size_bytes": settings.LIBRARIAN_MAX_UPLOAD_SIZE_BYTES,
                "directory_products": settings.LIBRARIAN_DIRECTORY_PRODUCTS,
                "host_name": settings.LIBRARIAN_HOST_NAME,
            }
        )
