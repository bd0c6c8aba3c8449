"""Wire protocol: `ping/...`, `search/error`, `error/clear`."""

from django.conf import settings
from django.db.models import QuerySet
from rest_framework.request import Request

from accounts.addresses import client_address
from accounts.authentication import PingAuthentication
from accounts.levels import Level
from accounts.permissions import wire_level_required
from hera_librarian.models.errors import (
    ErrorClearRequest,
    ErrorClearResponse,
    ErrorSearchRequest,
    ErrorSearchResponse,
    ErrorSearchResponses,
)
from hera_librarian.models.ping import PingRequest, PingResponse
from librarian.common.models import ErrorRecord
from librarian.common.wire import WireFailure, WireView, aware, result_limit
from librarian.operations.services import clear_trouble


class Ping(WireView):
    """`ping/`: answers whoever sends credentials, right or wrong; none are checked, so it costs no password hash."""

    request_model = PingRequest
    authentication_classes = [PingAuthentication]
    permission_classes = []

    def answer(self, request: Request, message: PingRequest) -> PingResponse:
        name, description = settings.LIBRARIAN_DISPLAYED_NAME, settings.LIBRARIAN_DESCRIPTION
        # The name is the one that accounts and peers go by; what the site calls itself starts the description.
        return PingResponse(name=settings.LIBRARIAN_NAME, description=f"{name}: {description}" if description else name)


class PingLogged(Ping):
    """`ping/logged`: the credentials are right."""

    authentication_classes = WireView.authentication_classes
    permission_classes = [wire_level_required(Level.READONLY)]


class PingAdmin(Ping):
    """`ping/admin`: the credentials are an administrator's."""

    authentication_classes = WireView.authentication_classes
    permission_classes = [wire_level_required(Level.ADMIN)]


class SearchErrors(WireView):
    """`search/error`: the error inbox, newest first."""

    request_model = ErrorSearchRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: ErrorSearchRequest) -> ErrorSearchResponses:
        found = list(find_errors(message)[: result_limit(message.max_results, is_admin=True)])
        if not found:
            raise WireFailure(
                404, "No errors found.", "Widen the search, or ask for resolved errors too.", code="not_found"
            )
        return ErrorSearchResponses([describe_error(error) for error in found])


class ClearError(WireView):
    """`error/clear`: a person says that a trouble is dealt with."""

    request_model = ErrorClearRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: ErrorClearRequest) -> ErrorClearResponse:
        error = ErrorRecord.objects.filter(pk=message.id).first()
        if error is None:
            raise WireFailure(
                404,
                f"No error found with ID {message.id} to clear.",
                "Search for errors to learn their ids.",
                code="not_found",
            )
        if error.cleared_at is not None:
            raise WireFailure(
                400,
                f"Error with ID {message.id} has already been cleared.",
                "Nothing needs to be done.",
                code="already_cleared",
                cleared_by=error.cleared_by,
            )
        clear_trouble(error=error, actor=request.user, address=client_address(request) or "")
        return ErrorClearResponse(id=error.pk, cleared_time=error.cleared_at, cleared=True)


def find_errors(message: ErrorSearchRequest) -> QuerySet[ErrorRecord]:
    """Errors that meet every condition of the message, newest first."""
    errors = ErrorRecord.objects.order_by("-raised_at", "-pk")
    for field, value in (("pk", message.id), ("category", message.category), ("severity", message.severity)):
        if value is not None:
            errors = errors.filter(**{field: value})
    if message.create_time_window is not None:
        start, end = message.create_time_window
        errors = errors.filter(raised_at__gte=aware(start), raised_at__lte=aware(end))
    return errors if message.include_resolved else errors.filter(cleared_at__isnull=True)


def describe_error(error: ErrorRecord) -> ErrorSearchResponse:
    """One trouble as the wire shows it; the remedy ends the message, since the wire has no field of its own."""
    return ErrorSearchResponse(
        id=error.pk,
        severity=error.severity,
        category=error.category,
        message=f"{error.message} {error.remedy}".strip(),
        raised_time=error.raised_at,
        cleared_time=error.cleared_at,
        cleared=error.cleared_at is not None,
        caller=error.caller or None,
    )
