"""`/api/v3/errors/`, `jobs/`, `audit/`: how the site is doing.

Counts and the table of jobs are for everybody who may read. Particulars name paths, hosts and accounts, so they need
READWRITE, as does clearing an error (ADMIN on the wire, as its protocol says); running a job and the audit need ADMIN.
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import Count, Max, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.addresses import client_address
from accounts.levels import Level
from accounts.permissions import level_required
from librarian.common.errors import InvalidRequest, NotFound
from librarian.common.filters import refuse_unknown_parameters
from librarian.common.jobtable import get_job
from librarian.common.models import AuditEntry, ErrorRecord, JobRun, Severity
from librarian.operations.filters import AuditFilterSet, ErrorFilterSet, RunFilterSet
from librarian.operations.queries import jobs, open_errors
from librarian.operations.serializers import (
    AuditEntrySerializer,
    ErrorRecordSerializer,
    ErrorSummarySerializer,
    JobRunSerializer,
    JobTableSerializer,
    QueuedSerializer,
    RunNowSerializer,
)
from librarian.operations.services import clear_trouble, run_job_now


@extend_schema_view(get=extend_schema(operation_id="errors_list", summary="The error inbox", tags=["errors"]))
class ErrorList(generics.ListAPIView):
    """Troubles, those met last first. Needs READWRITE; `open=true` leaves out what is cleared."""

    queryset = ErrorRecord.objects.all()
    serializer_class = ErrorRecordSerializer
    permission_classes = [level_required(Level.READWRITE)]
    filterset_class = ErrorFilterSet
    ordering_fields = ["last_raised_at", "raised_at", "severity", "category", "count", "id"]
    ordering = ["-last_raised_at"]


class ErrorSummary(APIView):
    """How many troubles are open."""

    @extend_schema(
        operation_id="errors_summary",
        summary="Open troubles, counted",
        tags=["errors"],
        responses=ErrorSummarySerializer,
    )
    def get(self, request: Request) -> Response:
        """Numbers of open troubles by severity and category, for everybody who may read."""
        refuse_unknown_parameters(request.query_params, ["format"])
        return Response(ErrorSummarySerializer(_open_counts()).data)


class ErrorDetail(APIView):
    """One trouble."""

    permission_classes = [level_required(Level.READWRITE)]

    @extend_schema(
        operation_id="errors_retrieve", summary="One trouble", tags=["errors"], responses=ErrorRecordSerializer
    )
    def get(self, request: Request, pk: int) -> Response:
        """The trouble of this id. Needs READWRITE."""
        refuse_unknown_parameters(request.query_params, ["format"])
        return Response(ErrorRecordSerializer(_error(pk)).data)


class ErrorClear(APIView):
    """Saying that a trouble is dealt with."""

    permission_classes = [level_required(Level.READWRITE)]

    @extend_schema(
        operation_id="errors_clear",
        summary="Clear a trouble",
        tags=["errors"],
        request=None,
        responses=ErrorRecordSerializer,
    )
    def post(self, request: Request, pk: int) -> Response:
        """Close a trouble; harmless when it is closed already. Its next occurrence opens a new one. Needs READWRITE.

        Takes no fields: a body, if there is one, must be an empty object.
        """
        _refuse_fields(request.data)
        error = _error(pk)
        clear_trouble(error=error, actor=request.user, address=client_address(request) or "")
        return Response(ErrorRecordSerializer(error).data)


class JobTable(APIView):
    """The periodic jobs."""

    @extend_schema(operation_id="jobs_list", summary="Every periodic job", tags=["jobs"], responses=JobTableSerializer)
    def get(self, request: Request) -> Response:
        """Every periodic job with its cadence, what staff changed of it, and how its latest run ended."""
        refuse_unknown_parameters(request.query_params, ["format"])
        return Response(JobTableSerializer({"results": jobs()}).data)


@extend_schema_view(get=extend_schema(operation_id="jobs_runs", summary="Runs of jobs", tags=["jobs"]))
class RunList(generics.ListAPIView):
    """Runs of jobs, newest first. Needs READWRITE."""

    queryset = JobRun.objects.all()
    serializer_class = JobRunSerializer
    permission_classes = [level_required(Level.READWRITE)]
    filterset_class = RunFilterSet
    ordering_fields = ["started_at", "finished_at", "job", "outcome", "id"]
    ordering = ["-id"]


class JobRunNow(APIView):
    """Running a job out of its turn."""

    permission_classes = [level_required(Level.ADMIN)]

    @extend_schema(
        operation_id="jobs_run_now",
        summary="Run a job now",
        tags=["jobs"],
        request=RunNowSerializer,
        responses={202: QueuedSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Queue a run of the job for the next free worker of its cluster. Needs ADMIN."""
        get_job(name)
        wish = RunNowSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        target, options = wish.validated_data["target"], wish.validated_data["options"]
        address = client_address(request) or ""
        run_job_now(name=name, actor=request.user, target=target, options=options, address=address)
        queued = {"job": name, "target": target, "queued_at": timezone.now()}
        return Response(QueuedSerializer(queued).data, status=202)


@extend_schema_view(get=extend_schema(operation_id="audit_list", summary="What staff did", tags=["audit"]))
class AuditList(generics.ListAPIView):
    """Acts of people and programs with rights over others, newest first. Needs ADMIN."""

    queryset: QuerySet[AuditEntry] = AuditEntry.objects.all()
    serializer_class = AuditEntrySerializer
    permission_classes: list[type[BasePermission]] = [level_required(Level.ADMIN)]
    filterset_class = AuditFilterSet
    ordering_fields = ["at", "actor_name", "action", "id"]
    ordering = ["-id"]


def _open_counts() -> dict[str, Any]:
    """Open troubles counted by severity and category, worst first."""
    kinds = open_errors().order_by().values("severity", "category")
    rows = list(kinds.annotate(open_count=Count("pk"), last_raised_at=Max("last_raised_at")))
    rows.sort(key=lambda row: (Severity.values.index(row["severity"]), row["category"]))
    return {"open_count": sum(row["open_count"] for row in rows), "results": rows}


def _refuse_fields(body: Any) -> None:
    if not isinstance(body, Mapping) or body:
        raise InvalidRequest("This takes no fields.", remedy="Send no body, or an empty JSON object.")


def _error(pk: int) -> ErrorRecord:
    error = ErrorRecord.objects.filter(pk=pk).first()
    if error is None:
        raise NotFound(f"There is no error with id {pk}.", remedy="List the errors to learn their ids.")
    return error
