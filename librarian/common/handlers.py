"""Answers to errors outside of any view: JSON below `/api/`, pages elsewhere."""

import sys
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from librarian.common.api import InternalError, as_archive_error, error_headers, record_unexpected
from librarian.common.errors import ArchiveError, InvalidRequest, LevelTooLow, NotFound
from librarian.common.middleware import current_request_id


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not for_programs(request):
        return defaults.bad_request(request, exception)
    return as_json(as_archive_error(exception) or InvalidRequest("The request is malformed."))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not for_programs(request):
        return defaults.permission_denied(request, exception)
    return as_json(LevelTooLow("This account may not do that."))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not for_programs(request):
        return defaults.page_not_found(request, exception)
    return as_json(
        NotFound(
            f"There is no endpoint {request.path_info[:200]}.",
            remedy="Check the path, its trailing slash and the version; docs/api.md lists every endpoint.",
        )
    )


def server_error(request: HttpRequest, *args: Any) -> HttpResponse:
    problem = sys.exc_info()[1]
    if isinstance(problem, Exception):
        record_unexpected(problem, caller=f"{request.method} {request.path_info[:100]}")
    if not for_programs(request):
        return defaults.server_error(request)
    return as_json(InternalError("Something went wrong inside this server.", request_id=current_request_id()))


def for_programs(request: HttpRequest) -> bool:
    """True if the caller is one who reads JSON and not pages."""
    return request.path_info.startswith(("/api/", "/health/"))


def as_json(error: ArchiveError) -> JsonResponse:
    """The JSON answer of an error that arose outside of the REST framework."""
    return JsonResponse(error.as_answer(), status=error.status, headers=error_headers(error))
