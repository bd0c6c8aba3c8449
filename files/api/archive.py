"""`GET` and `POST /api/v3/files/archive`: many files as one tar stream."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request

from files.api.content import TAR, AnyAccept
from files.filters import FileFilterSet
from files.models import File
from files.services.archive_stream import Selection, begin_archive, select_matching, select_named
from librarian.common.filters import StrictFilters

_DESCRIPTION = """\
Every file that the filters of `files/` find, or that is named, as one tar stream (POSIX pax) in the order in which the
files were registered: each flat file under its name, each directory product as its tree. At the end stand
`manifest.json`, which lists every file that was asked for, with size, digest, checksum and obsid, and says of each one
that could not be delivered why, and `SHA256SUMS`, for `sha256sum --check` after unpacking.

A file that cannot be read is left out, as long as that is known before it is begun. A read that fails on the way closes
the connection in the midst of the body, which then has no end: neither the transfer nor the tar looks whole.

LIBRARIAN_MAX_ARCHIVE_FILES bounds the number of files (`too_many_files`); a selection without any is `not_found`."""
_ANSWERS = {
    (200, TAR): OpenApiResponse(OpenApiTypes.BINARY, description="The archive; its length is not known before.")
}


class NamedFiles(serializers.Serializer):
    """Which files to put into one archive."""

    names = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False),
        allow_empty=False,
        help_text="Names of files, normalised as on filing. Those that mean no file are listed in the manifest.",
    )


class NamesBeside(StrictFilters):
    """The filters of `files/`, but `name` may be given many times."""

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        request._request.GET = request.query_params.copy()
        request._request.GET.pop("name", None)
        return super().filter_queryset(request, queryset, view)


class FileArchive(generics.GenericAPIView):
    """Downloads of many files at once."""

    queryset = File.objects.none()
    serializer_class = NamedFiles
    filterset_class = FileFilterSet
    filter_backends = [NamesBeside]
    pagination_class = None
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="files_archive",
        summary="Download many files",
        description=_DESCRIPTION,
        tags=["files"],
        filters=True,
        responses=_ANSWERS,
    )
    def get(self, request: Request) -> HttpResponseBase:
        return answer_archive(self._selection(request))

    @extend_schema(exclude=True)
    def head(self, request: Request) -> HttpResponseBase:
        self._selection(request)
        return HttpResponse(headers=_headers())

    @extend_schema(
        operation_id="files_archive_named",
        summary="Download many files by their names",
        description=_DESCRIPTION,
        tags=["files"],
        request=NamedFiles,
        responses=_ANSWERS,
    )
    def post(self, request: Request) -> HttpResponseBase:
        wanted = self.get_serializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        return answer_archive(select_named(File.objects.all(), wanted.validated_data["names"]))

    def _selection(self, request: Request) -> Selection:
        names = request.query_params.getlist("name")
        files = self.filter_queryset(File.objects.all())
        return select_named(files, names) if names else select_matching(files)


def answer_archive(selection: Selection) -> StreamingHttpResponse:
    """The answer that streams an archive. Raises Unavailable when none of its files can be read."""
    blocks: Iterator[bytes] = begin_archive(selection)
    return StreamingHttpResponse(blocks, headers=_headers())


def _headers() -> dict[str, str]:
    filename = f"{settings.LIBRARIAN_NAME}-{timezone.now():%Y%m%dT%H%M%SZ}.tar"
    return {
        "Content-Type": TAR,
        "Cache-Control": "no-store",  # each is made anew, and may hold what its reader may soon not see
        "Content-Disposition": content_disposition_header(True, filename) or "attachment",
        "Accept-Ranges": "none",
        "X-Content-Type-Options": "nosniff",
    }
