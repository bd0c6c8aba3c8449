"""`/api/v3/files/`, `instances/`, `events/`: what is archived, to be read.

A file's own address ends in a slash and what belongs to it does not (`files/a/` and `files/a/members`), since names
may have slashes themselves: `files/a/members/` is the file `a/members`. Where no such file exists, the address with
a slash leads to the one without.
"""

from django.db.models import QuerySet
from django.http import HttpResponseRedirect
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from files.api.serializers import (
    EventSerializer,
    FileDetailSerializer,
    FileSerializer,
    InstanceSerializer,
    MemberSerializer,
)
from files.filters import EventFilterSet, FileEventFilterSet, FileFilterSet, InstanceFilterSet
from files.models import File, FileEvent, FileMember, Instance
from files.queries import events_for_list, file_named, files_for_list, files_in_detail, instances_for_list
from librarian.common.errors import NotFound
from librarian.common.filters import refuse_unknown_parameters

PARTS = ("members", "events", "content")


@extend_schema_view(get=extend_schema(operation_id="files_list", summary="Search files", tags=["files"]))
class FileList(generics.ListAPIView):
    """Files, newest first, by name, time, size, origin and copies."""

    queryset = File.objects.none()
    serializer_class = FileSerializer
    filterset_class = FileFilterSet
    ordering_fields = ["registered_at", "name", "size_bytes", "obsid", "uploader", "source", "id"]
    ordering = ["-registered_at", "-id"]

    def get_queryset(self) -> QuerySet[File]:
        return files_for_list()


class FileDetail(generics.GenericAPIView):
    """One file."""

    queryset = File.objects.none()
    serializer_class = FileDetailSerializer
    pagination_class = None
    filter_backends = []

    @extend_schema(operation_id="files_retrieve", summary="One file with all its copies", tags=["files"])
    def get(self, request: Request, name: str) -> Response | HttpResponseRedirect:
        """The file of this name, normalised as on filing, with every copy that is known of it."""
        try:
            file = file_named(name, files_in_detail())
        except NotFound:
            whole, _, part = name.rpartition("/")
            if part in PARTS and whole and request.path.endswith("/"):
                query = request.META.get("QUERY_STRING", "")
                return HttpResponseRedirect(f"../{part}" + (f"?{query}" if query else ""))
            raise
        refuse_unknown_parameters(request.query_params, ["format"])
        return Response(self.get_serializer(file).data)


@extend_schema_view(
    get=extend_schema(operation_id="files_members", summary="Entries of a directory product", tags=["files"])
)
class FileMembers(generics.ListAPIView):
    """Entries of a directory product in the order of its tree digest; none for a flat file."""

    queryset = FileMember.objects.none()
    serializer_class = MemberSerializer
    ordering = ["id"]

    def get_queryset(self) -> QuerySet[FileMember]:
        if getattr(self, "swagger_fake_view", False):
            return self.queryset
        return file_named(self.kwargs["name"]).members.order_by("id")


@extend_schema_view(get=extend_schema(operation_id="files_events", summary="History of a file", tags=["files"]))
class FileEvents(generics.ListAPIView):
    """Lines of one file's history, oldest first."""

    queryset = FileEvent.objects.none()
    serializer_class = EventSerializer
    filterset_class = FileEventFilterSet
    ordering_fields = ["number"]
    ordering = ["number"]

    def get_queryset(self) -> QuerySet[FileEvent]:
        if getattr(self, "swagger_fake_view", False):
            return self.queryset
        return events_for_list().filter(file=file_named(self.kwargs["name"]))


@extend_schema_view(get=extend_schema(operation_id="instances_list", summary="Search copies", tags=["instances"]))
class InstanceList(generics.ListAPIView):
    """Copies on this site's stores, newest first."""

    queryset = Instance.objects.none()
    serializer_class = InstanceSerializer
    filterset_class = InstanceFilterSet
    ordering_fields = ["created_at", "condition_at", "file__name", "id"]
    ordering = ["-id"]

    def get_queryset(self) -> QuerySet[Instance]:
        return instances_for_list()


@extend_schema_view(get=extend_schema(operation_id="events_list", summary="Search histories", tags=["events"]))
class EventList(generics.ListAPIView):
    """Lines of all histories, newest first."""

    queryset = FileEvent.objects.none()
    serializer_class = EventSerializer
    filterset_class = EventFilterSet
    ordering_fields = ["at", "id"]
    ordering = ["-id"]

    def get_queryset(self) -> QuerySet[FileEvent]:
        return events_for_list()
