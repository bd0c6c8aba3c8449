"""The machine API's one answer to errors. Paging and ordering live in `librarian.common.paging`, re-exported here."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    DisallowedHost,
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.db import DataError, IntegrityError, OperationalError
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions
from rest_framework.response import Response

from librarian.common.errors import (
    ArchiveError,
    AuthenticationRequired,
    Busy,
    Conflict,
    InvalidRequest,
    LevelTooLow,
    LockedOut,
    NotFound,
    TooLarge,
)
from librarian.common.middleware import current_request_id
from librarian.common.paging import CursorPages, StableOrdering
from librarian.common.parsers import InvalidJson, UnsupportedMedia

__all__ = ["CursorPages", "InternalError", "MethodNotAllowed", "StableOrdering", "answer_error", "as_archive_error"]

logger = logging.getLogger(__name__)

BASIC_CHALLENGE = 'Basic realm="Librarian", charset="UTF-8"'
PORTAL_CHALLENGE = 'Portal realm="Librarian"'  # one that no browser answers with a dialog of its own
BUSY_RETRY_SECONDS = 5


class MethodNotAllowed(ArchiveError):
    code = "method_not_allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED
    remedy = "Use one of the methods that the Allow header names."


class NotAcceptable(ArchiveError):
    code = "not_acceptable"
    status = HTTPStatus.NOT_ACCEPTABLE
    remedy = "Ask for application/json, or leave the Accept header out."


class InternalError(ArchiveError):
    """Our own mistake. The caller learns only the id by which an operator finds the details."""

    code = "internal_error"
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    remedy = "Your request is not to blame. Tell an operator of this site the request_id; the log has the details."


def answer_error(problem: Exception, context: Mapping[str, Any]) -> Response:
    """Turn whatever a view raised into `{code, reason, suggested_remedy, ...}` (DRF's EXCEPTION_HANDLER)."""
    error = as_archive_error(problem)
    if error is None:
        record_unexpected(problem, caller=_caller(context))
        error = InternalError("Something went wrong inside this server.", request_id=current_request_id())
    headers = error_headers(error)
    if challenge := getattr(problem, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if "WWW-Authenticate" in headers and _is_of_a_page(context):
        headers["WWW-Authenticate"] = PORTAL_CHALLENGE
    return Response(error.as_answer(), status=error.status, headers=headers)


def as_archive_error(problem: Exception) -> ArchiveError | None:
    """The ArchiveError that says the same as `problem`, None if it is not one that the caller could understand."""
    if isinstance(problem, ArchiveError):
        return problem
    if isinstance(problem, exceptions.APIException):
        return _from_framework(problem)
    if isinstance(problem, ValidationError):
        return _invalid(problem.message_dict if hasattr(problem, "error_dict") else {"request": problem.messages})
    for kind, error in _PLAIN:
        if isinstance(problem, kind):
            return error()
    if isinstance(problem, IntegrityError):
        return Conflict("This contradicts what the catalogue already holds.", constraint=_constraint(problem))
    return None


_PLAIN: tuple[tuple[type[Exception], Any], ...] = (
    (Http404, lambda: NotFound("There is nothing here.")),
    (ObjectDoesNotExist, lambda: NotFound("There is nothing here.")),
    (PermissionDenied, lambda: LevelTooLow("This account may not do that.")),
    (RequestDataTooBig, lambda: TooLarge("The request is too large.", remedy="Split it into several smaller ones.")),
    (
        DisallowedHost,
        lambda: InvalidRequest(
            "This site does not answer to the host name of the request.",
            remedy="Use a name that the site knows; its operator lists them in LIBRARIAN_ALLOWED_HOSTS.",
        ),
    ),
    (SuspiciousOperation, lambda: InvalidRequest("The request is malformed.")),
    (UnreadablePostError, lambda: InvalidRequest("The body ended before it was complete.")),
    (DataError, lambda: InvalidRequest("A value does not fit into the catalogue.")),
    (
        OperationalError,
        lambda: Busy("The database cannot answer at present.", retry_after_seconds=BUSY_RETRY_SECONDS),
    ),
)


def error_headers(error: ArchiveError) -> dict[str, str]:
    """Headers that belong to an error: when to come back, how to log in.

    A service says when to come back by `retry_after_seconds` among the error's extra fields.
    """
    headers = {}
    seconds = error.extra.get("retry_after_seconds")
    if seconds is None and isinstance(error, Busy | LockedOut):
        seconds = BUSY_RETRY_SECONDS
    if seconds is not None:
        headers["Retry-After"] = str(max(1, round(seconds)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = BASIC_CHALLENGE
    return headers


def record_unexpected(problem: Exception, *, caller: str) -> None:
    """Log an exception that nobody expected and put it into the error inbox. Never raises itself."""
    logger.error("unexpected exception in %s", caller, exc_info=problem)
    try:
        from librarian.common.inbox import report_error

        report_error(
            severity="error",
            category="programming",
            code=InternalError.code,
            message=f"{type(problem).__name__} in {caller}: {str(problem)[:500]} (request {current_request_id()})",
            remedy="Look for the request id in the log and report the traceback to the developers.",
            caller=caller[:128],
            target=type(problem).__name__,
        )
    except Exception:  # the inbox shares the database that may be the trouble; the log has it already
        logger.exception("the error inbox did not take the error above")


def _from_framework(problem: exceptions.APIException) -> ArchiveError:
    """Errors of the REST framework, in our words."""
    if isinstance(problem, exceptions.ValidationError):
        return _invalid(problem.detail)
    text = str(problem.detail)
    if isinstance(problem, exceptions.NotAuthenticated):
        return AuthenticationRequired("This needs an account or token.")
    if isinstance(problem, exceptions.AuthenticationFailed):
        return AuthenticationRequired(text)
    if isinstance(problem, exceptions.Throttled):
        return LockedOut("Too many requests.", retry_after_seconds=problem.wait)
    made = {
        exceptions.PermissionDenied: LevelTooLow,
        exceptions.NotFound: NotFound,
        exceptions.MethodNotAllowed: MethodNotAllowed,
        exceptions.NotAcceptable: NotAcceptable,
        exceptions.UnsupportedMediaType: UnsupportedMedia,
        exceptions.ParseError: InvalidJson,
    }.get(type(problem))
    if made is not None:
        return made(text)
    error = ArchiveError(text)
    error.code, error.status = str(problem.default_code), HTTPStatus(problem.status_code)
    return error


def _invalid(fields: Any) -> InvalidRequest:
    """A refusal that names the first field in its reason and all of them under `fields`."""
    found = dict(_flatten(fields))
    name, text = next(iter(found.items()), ("request", "is not valid"))
    return InvalidRequest(f"{name}: {text}", fields=found)


def _flatten(fields: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(fields, Mapping):
        pairs = ((f"{prefix}.{key}" if prefix else str(key), value) for key, value in fields.items())
        return [entry for name, value in pairs for entry in _flatten(value, name)]
    if isinstance(fields, list | tuple):
        if all(isinstance(item, str) for item in fields):
            return [(prefix or "request", " ".join(str(item) for item in fields))]
        nested = ((f"{prefix}.{number}", item) for number, item in enumerate(fields) if item)
        return [entry for name, item in nested for entry in _flatten(item, name)]
    return [(prefix or "request", str(fields))]


def _constraint(problem: IntegrityError) -> str:
    """Name of the constraint that refused, empty when the database does not say (SQLite names only checks)."""
    diagnosis = getattr(problem.__cause__, "diag", None)
    if diagnosis is not None:
        return diagnosis.constraint_name or ""
    return str(problem).rpartition("constraint failed: ")[2]


def _is_of_a_page(context: Mapping[str, Any]) -> bool:
    """True if a script of the portal asks, which tells its reader by itself that the login has ended."""
    request = context.get("request")
    return request is not None and request.headers.get("X-Requested-With") == "XMLHttpRequest"


def _caller(context: Mapping[str, Any]) -> str:
    request, view = context.get("request"), context.get("view")
    path = request.path_info if request is not None else ""
    route = getattr(getattr(request, "resolver_match", None), "route", "") or path
    return f"{request.method} /{str(route).lstrip('/')}" if request is not None else type(view).__name__
